"""What a rendition measures once it is decoded again.

Owns: the way back from Packets to sound, and the meters behind it: `power` and `truepeak`, not the meter
that the gain was planned with. Each rendition has a lane, a thread of its own, so that measuring does not
hold up its encoder; memory stays bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType

import av
import numpy as np

from pipeline.encode import Encoder
from pipeline.fidelity import largest_loss_lu
from pipeline.grid import RATE_HZ
from pipeline.ladder import Codec, Rendition
from pipeline.media import Block, Packet, Pcm
from pipeline.normalize import CodedLoudness
from pipeline.power import PowerMeter
from pipeline.programme import Powers
from pipeline.truepeak import TruePeakMeter, dbtp

DECODERS: Mapping[Codec, str] = {Codec.AAC: "aac", Codec.OPUS: "opus"}
"""FFmpeg's own of the lossy codecs; its Opus decoder takes half the time of libopus."""

FAITHFUL_BPS = {Codec.AAC: 64_000, Codec.OPUS: 48_000}
"""A channel's. From here up a rendition is held to the plan; below, coding costs what no gain brings back."""

PACKETS_A_PUSH = 128
"""Measured at once: 2.7 s of AAC or 2.6 s of Opus. Fewer cost more in Python than in arithmetic."""

PUSHES_IN_FLIGHT = 2


def is_audited(rendition: Rendition) -> bool:
    """True if it is lossy and at the meters' rate: what is lossless is what was put in."""
    return rendition.codec in DECODERS and rendition.rate_hz == RATE_HZ


def is_faithful(rendition: Rendition) -> bool:
    """True if the plan must hold for what it decodes to."""
    least_bps = FAITHFUL_BPS.get(rendition.codec, 0) * rendition.channels
    return is_audited(rendition) and rendition.bitrate_bps >= least_bps


class Audit:
    """A meter over all Packets of one rendition, in order; made once its encoder has its `codec_config`."""

    def __init__(self, rendition: Rendition, codec_config: bytes) -> None:
        decoder = av.CodecContext.create(DECODERS[rendition.codec], "r")
        assert isinstance(decoder, av.AudioCodecContext)
        self._decoder = decoder
        self._decoder.extradata = codec_config
        # what is presented is for the Packets to say; this decoder's own count starts behind the priming
        self._decoder.flags2 |= av.codec.context.Flags2.skip_manual
        self._channels = rendition.channels
        self._samples = 0
        self._power = PowerMeter(rendition.channels)
        self._true_peak = TruePeakMeter(rendition.channels)

    def push(self, packets: list[Packet]) -> None:
        block = Block(pts=self._samples, pcm=self._decoded(packets))
        self._samples += block.samples
        self._power.push(block)
        self._true_peak.push(block)

    def result(self, given: Powers | None = None) -> CodedLoudness:
        """What was measured.

        Args:
            given: the gating blocks of what was encoded; without them no loss is known.
        """
        return CodedLoudness(
            integrated_lufs=self._power.result().integrated_lufs,
            true_peak_dbtp=dbtp(self._true_peak.result()),
            loss_lu=0.0 if given is None else largest_loss_lu(given, self._power.blocks),
        )

    def _decoded(self, packets: list[Packet]) -> Pcm:
        """What is presented of the packets: shape (channels, samples)."""
        pcm = np.empty((self._channels, sum(packet.duration for packet in packets)), np.float32)
        at = 0
        for packet in packets:
            [frame] = self._decoder.decode(av.Packet(packet.data))
            presented = slice(packet.trim_start, packet.trim_start + packet.duration)
            for channel, plane in zip(pcm, frame.planes, strict=True):  # to_ndarray takes three times as long
                channel[at : at + packet.duration] = np.frombuffer(memoryview(plane), np.float32)[presented]
            at += packet.duration
        return pcm


class Given:
    """A stage that passes Blocks on as they are, and knows their loudness."""

    def __init__(self, channels: int) -> None:
        self._power = PowerMeter(channels)

    def push(self, block: Block) -> list[Block]:
        self._power.push(block)
        return [block]

    def flush(self) -> list[Block]:
        return []

    @property
    def blocks(self) -> Powers:
        """As `PowerMeter.blocks`."""
        return self._power.blocks


class Audits:
    """Audits of a ladder, each in its lane; a context that ends the lanes."""

    def __init__(self) -> None:
        self._lanes = ExitStack()
        self._audits: dict[str, _Lane] = {}

    def __enter__(self) -> Audits:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lanes.close()

    def push(self, encoder: Encoder, packets: list[Packet]) -> None:
        """The next Packets of that encoder's rendition."""
        rendition = encoder.rendition
        if not is_audited(rendition):
            return
        if rendition.name not in self._audits:
            pool = self._lanes.enter_context(ThreadPoolExecutor(1, f"audit-{rendition.name}"))
            self._audits[rendition.name] = _Lane(Audit(rendition, encoder.codec_config), pool)
        self._audits[rendition.name].push(packets)

    def results(self, given: Powers | None = None) -> dict[str, CodedLoudness]:
        """By rendition, in the order their first Packets came; waits for the lanes."""
        return {name: lane.result(given) for name, lane in self._audits.items()}


class _Lane:
    """An audit in its thread, as far behind as is bounded."""

    def __init__(self, audit: Audit, pool: ThreadPoolExecutor) -> None:
        self._audit = audit
        self._pool = pool
        self._gathered: list[Packet] = []
        self._pending: deque[Future[None]] = deque()

    def push(self, packets: list[Packet]) -> None:
        self._gathered += packets
        if len(self._gathered) >= PACKETS_A_PUSH:
            self._submit()
        while len(self._pending) > PUSHES_IN_FLIGHT:
            self._pending.popleft().result()

    def result(self, given: Powers | None) -> CodedLoudness:
        self._submit()
        while self._pending:
            self._pending.popleft().result()
        return self._audit.result(given)

    def _submit(self) -> None:
        packets, self._gathered = self._gathered, []
        self._pending.append(self._pool.submit(self._audit.push, packets))
