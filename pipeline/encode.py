"""PCM to coded packets: one encoder a rendition, run once and continuously over the whole track.

Every rendition of a codec is cut at the same packets because it is fed the same samples. An encoder that
restarted at a segment would leave a hole of its priming at each boundary (hls.md 1.6).
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np

from pipeline.ladder import Codec, Rendition
from pipeline.media import Block, Packet

if TYPE_CHECKING:
    from av.audio.stream import AudioStream


CODER_OPTIONS = {
    # a third to a seventh of the default coder's CPU time at these bit rates, with less noise in the worst
    # bands; FFmpeg's manual calls it better and faster at higher bit rates
    Codec.AAC: {"aac_coder": "fast", "aac_pns": "0", "aac_is": "0"},
    # constrained: the rung keeps the bit rate of its name, and packets stay small; what free VBR gains in
    # noise is what its extra bits buy. 7: the first with the analysis that tonal music needs; a quarter less
    # CPU time than 10 at the same noise
    Codec.OPUS: {
        "application": "audio",
        "frame_duration": "20",
        "vbr": "constrained",
        "compression_level": "7",
    },
}
"""Measured on music (benchmarks/README.md)."""

SAMPLE_FORMATS = {Codec.AAC: "fltp", Codec.OPUS: "flt"}
"""What FFmpeg's wrapper of the coder takes; PyAV interleaves where it must."""


class Encoder:
    """A stage: Blocks at the rendition's rate in, Packets out.

    The first packets carry the encoder's delay as `trim_start`, the last its padding as `trim_end`; the
    presented durations add up to the samples that were pushed.
    """

    def __init__(self, rendition: Rendition) -> None:
        self.rendition = rendition
        self._layout = "mono" if rendition.channels == 1 else "stereo"
        self._time_base = Fraction(1, rendition.rate_hz)
        self._pushed = 0
        self._context = self._open()

    def _open(self) -> av.AudioCodecContext:
        context = av.CodecContext.create(self.rendition.codec.value, "w")
        assert isinstance(context, av.AudioCodecContext)
        context.bit_rate = self.rendition.bitrate_bps
        context.sample_rate = self.rendition.rate_hz
        context.layout = self._layout
        context.format = SAMPLE_FORMATS[self.rendition.codec]
        context.time_base = self._time_base
        context.options = dict(CODER_OPTIONS[self.rendition.codec])
        context.flags |= av.codec.context.Flags.global_header | av.codec.context.Flags.bitexact
        context.open()
        return context

    @property
    def codec_config(self) -> bytes:
        """The decoder's configuration: for AAC the AudioSpecificConfig (ISO 14496-3 1.6.2.1).

        For Opus the identification header, OpusHead (RFC 7845 5.1).
        """
        return bytes(self._context.extradata or b"")

    def push(self, block: Block) -> list[Packet]:
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(block.pcm), format="fltp", layout=self._layout
        )
        frame.sample_rate = self.rendition.rate_hz
        frame.pts = block.pts
        frame.time_base = self._time_base
        self._pushed += block.samples
        return self._packets(self._context.encode(frame))

    def flush(self) -> list[Packet]:
        return self._packets(self._context.encode(None)) if self._pushed else []

    def _packets(self, coded: list[av.Packet[AudioStream]]) -> list[Packet]:
        return [p for c in coded if (p := self._packet(c)) is not None]

    def _packet(self, coded: av.Packet[AudioStream]) -> Packet | None:
        """FFmpeg counts the priming as time before zero; here it is a trim."""
        assert coded.pts is not None
        frame_samples = self.rendition.codec.frame_samples
        start, end = max(coded.pts, 0), min(coded.pts + frame_samples, self._pushed)
        if coded.pts >= self._pushed:
            return None  # nothing but padding
        trim_start = start - coded.pts
        duration = max(end - start, 0)
        return Packet(
            pts=start,
            duration=duration,
            data=bytes(coded),
            trim_start=min(trim_start, frame_samples),
            trim_end=frame_samples - trim_start - duration,
        )
