"""A source file as Blocks of mono or stereo PCM, exactly as long as it really is.

Headers lie (reliability: three in a hundred by more than a fifth), so length, truncation and damage are told
from what was decoded. FFmpeg trims the encoder's delay and padding where the file states them (LAME tag,
iTunSMPB, edit list, Opus pre-skip, Vorbis granules).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av
import numpy as np

from pipeline.bitrate import BitRateMeter
from pipeline.carried import Carried
from pipeline.checksum import Checksum
from pipeline.downmix import stereo_matrix
from pipeline.errors import LimitExceeded, Malformed, Unsupported
from pipeline.extent import declared_samples, is_cut_off
from pipeline.gapless import Gapless, stated_length
from pipeline.grid import at_rate
from pipeline.media import Block, MediaInfo, Pcm
from pipeline.probe import audio_stream, describe, open_source

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.packet import Packet

BLOCK_SAMPLES = 16_384
"""About a third of a second: long enough that Python's share of the work is small."""

INTERLEAVED = "flt"
"""Not planar: PyAV 18 reads past the end of a planar frame with eight channels and the process dies."""

HELD_BLOCKS = 2
MAX_SAMPLES = 1 << 31
MAX_BAD_SHARE = 0.10
"""More undecodable packets than this, and the file is noise that happens to start like audio."""

SOUND_S = 1.0
"""With so much before them, packets at the end that cannot be decoded are no part of it."""

FULL_SCALE_LIMIT = 8.0
"""Float sources may legally pass full scale; beyond +18 dBFS it is a broken file, not music."""


class Decoder:
    """A stage: coded packets of one stream in, Blocks at the stream's first rate out, stereo at most.

    A packet that cannot be decoded is counted and left out. A stream that changes its format on the way
    is brought to the format it started with.
    """

    def __init__(self, stream: AudioStream, max_samples: int, gapless: Gapless | None = None) -> None:
        self.samples = 0
        self.trimmed_samples = 0
        self.packets = 0
        self.bad_packets = 0
        self.bad_at_the_end = 0
        self.sanitised = False
        self.channels = 0
        self.sample_bits = 0
        self.is_uniform = True
        self.bit_rate = BitRateMeter()
        self.has_numbers = False
        self.passes_full_scale = False
        self.checksum = Checksum.of(stream)
        self._stream = stream
        self._max_samples = max_samples
        self._converter: av.AudioResampler | None = None
        self._incoming: tuple[str, int, str] | None = None
        self._first: tuple[int, str] | None = None
        self._held: deque[Block] = deque()
        self._excess = 0
        self._taken = self._begun = 0
        self._to_stereo: Pcm | None = None
        self._gapless = gapless
        self._priming = gapless.priming if gapless else 0
        if gapless is not None and gapless.is_all:
            stream.codec_context.flags2 |= av.codec.context.Flags2.skip_manual
        in_mp4 = stream.container.format.name.startswith("mov")
        self._states_its_end = in_mp4 and stream.codec_context.name in {"aac", "opus"}

    @property
    def rate_hz(self) -> int:
        """Of the Blocks; known once the first frame was decoded, the header's claim until then."""
        return self._first[0] if self._first else self._stream.codec_context.sample_rate

    def push(self, packet: Packet[AudioStream]) -> list[Block]:
        """Decode one packet.

        Raises:
            LimitExceeded: `too_long`.
        """
        self.packets += 1 if packet.size else 0
        try:
            frames = packet.decode()
        except MemoryError:
            raise LimitExceeded("limit_memory", "the file asks for more memory than a job may use") from None
        except Exception:  # noqa: BLE001 - inside decoding whatever FFmpeg raises is a fault of the input
            self.bad_packets += 1
            self.bad_at_the_end += 1
            return []
        if self.packets == 1 and self._gapless is not None and self._gapless.is_all:
            frames = []
        if packet.size:
            self.bad_at_the_end = 0
            self._excess = self._beyond_the_end(packet, frames)
            for frame in frames:
                self.sample_bits = max(self.sample_bits, frame.format.bits)
            rate_hz = frames[0].sample_rate if frames else self.rate_hz
            self.bit_rate.push(packet.size, sum(frame.samples for frame in frames), rate_hz)
        if self.checksum is not None:
            for frame in frames:
                self.checksum.push(frame)
        return self._hold([block for frame in frames for block in self._convert(frame)])

    def flush(self) -> list[Block]:
        """What is left, without the padding that the last packet or the file states."""
        left = [block for block in (*self._held, *self._drain()) if block.samples]
        if self._gapless is not None and not self._excess:
            self._excess = self._gapless.excess(self.samples)
        return self._without(self._excess, left)

    def _without(self, excess: int, blocks: list[Block]) -> list[Block]:
        """The last Blocks there are, that many samples shorter."""
        while excess and blocks:
            last = blocks.pop()
            kept = max(last.samples - excess, 0)
            excess -= last.samples - kept
            self.samples -= last.samples - kept
            self.trimmed_samples += last.samples - kept
            blocks += [Block(pts=last.pts, pcm=last.pcm[:, :kept])] if kept else []
        return blocks

    def _hold(self, blocks: list[Block]) -> list[Block]:
        """Stay some blocks behind: a frame's padding may reach over the last boundary between two."""
        self._held.extend(block for block in blocks if block.samples)
        return [self._held.popleft() for _ in range(len(self._held) - HELD_BLOCKS)]

    def _beyond_the_end(self, packet: Packet[AudioStream], frames: list[AudioFrame]) -> int:
        """Samples of a frame past its packet's duration: FFmpeg does not cut them off in MP4."""
        if not self._states_its_end or not packet.duration or not frames:
            return 0
        presented = round(packet.duration * packet.time_base * frames[-1].sample_rate)
        return max(sum(frame.samples for frame in frames) - presented, 0)

    def _convert(self, frame: AudioFrame) -> list[Block]:
        incoming = (frame.format.name, frame.sample_rate, frame.layout.name)
        drained: list[Block] = []
        if incoming != self._incoming:
            drained = self._drain()
            if self._first is None:
                self._first = (frame.sample_rate, frame.layout.name)
                self._to_stereo = stereo_matrix([channel.name for channel in frame.layout.channels])
                self.channels = frame.layout.nb_channels
            self.is_uniform = self.is_uniform and self._first == incoming[1:]
            rate_hz, layout = self._first
            self._converter = av.AudioResampler(INTERLEAVED, layout, rate_hz, BLOCK_SAMPLES)
            self._incoming = incoming
            self._taken, self._begun = 0, self._converted
        assert self._converter is not None
        frame.pts = None
        self._taken += frame.samples
        return drained + [self._block(f) for f in self._converter.resample(frame)]

    def _drain(self) -> list[Block]:
        """What the converter holds; with it, what came in one format is as long as arithmetic says."""
        if self._converter is None or self._incoming is None:
            return []
        blocks = [self._block(frame) for frame in self._converter.resample(None)]
        # between two rates swresample gives a sample more or less
        missing = at_rate(self._taken, self._incoming[1], self.rate_hz) - (self._converted - self._begun)
        self._converter, self._incoming = None, None
        if missing > 0:
            channels = self.channels if self._to_stereo is None else len(self._to_stereo)
            blocks.append(Block(pts=self.samples, pcm=np.zeros((channels, missing), np.float32)))
            self.samples += missing
        return self._without(max(-missing, 0), blocks)

    @property
    def _converted(self) -> int:
        """Samples that came out of converters, whether they were given on or trimmed."""
        return self.samples + self.trimmed_samples

    def _block(self, frame: AudioFrame) -> Block:
        pcm = np.ascontiguousarray(cast("Pcm", frame.to_ndarray()).reshape(frame.samples, -1).T)
        largest = float(np.abs(pcm).max(initial=0.0))
        if not largest <= FULL_SCALE_LIMIT:
            self.has_numbers |= bool(np.isfinite(pcm).any())
            pcm = np.nan_to_num(pcm, nan=0.0, posinf=1.0, neginf=-1.0).clip(-1.0, 1.0)
            self.sanitised = True
        else:
            self.has_numbers = True
            self.passes_full_scale |= largest > 1.0
        if self._to_stereo is not None:
            pcm = self._to_stereo @ pcm
        if self._priming:
            early = min(self._priming, pcm.shape[1])
            self._priming -= early
            self.trimmed_samples += early
            pcm = pcm[:, early:]
        block = Block(pts=self.samples, pcm=pcm)
        self.samples += block.samples
        if self.samples > min(self._max_samples, MAX_SAMPLES):
            limit_s = self._max_samples / self.rate_hz
            raise LimitExceeded(
                "too_long",
                f"the audio is longer than {limit_s:.0f} s (MAX_DURATION_S)",
                {"MAX_DURATION_S": limit_s},
            )
        return block


class Reader:
    """One pass over a source file.

    Iterate it once for its Blocks; afterwards `samples`, `rate_hz`, `carried` and `warnings` are the truth
    about it.

    Raises (while iterating):
        MediaError: the file is no audio, breaks on the way (`corrupt`, `no_audio_data`, `unsupported_change`)
            or is `too_long`.
    """

    def __init__(self, path: Path, max_duration_s: float) -> None:
        self.info: MediaInfo | None = None
        self.carried: Carried | None = None
        self.warnings: tuple[str, ...] = ()
        self.samples = 0
        self.rate_hz = 0
        self._path = path
        self._max_duration_s = max_duration_s

    def __iter__(self) -> Iterator[Block]:
        with open_source(self._path) as container:
            self.info = describe(container)
            stream = audio_stream(container)
            self.rate_hz = self.info.rate_hz
            longest = int(self._max_duration_s * self.info.rate_hz)
            decoder = Decoder(stream, longest, stated_length(stream, self._path))
            try:
                for packet in container.demux(stream):
                    yield from decoder.push(packet)
                    self.rate_hz = decoder.rate_hz
                cut_short = False
            except (av.error.FFmpegError, OSError, ValueError) as error:
                if isinstance(error, av.error.PatchWelcomeError) and self.info.container == "ogg":
                    changed = "the stream is followed by one of another rate or with other channels"
                    raise Unsupported("unsupported_change", f"{changed}, which is not read here") from error
                cut_short = True  # the demuxer gave up; what came before it is kept
            yield from decoder.flush()
            self.samples, self.rate_hz = decoder.samples, decoder.rate_hz
            self.carried = Carried(
                codec=self.info.codec,
                rate_hz=decoder.rate_hz,
                channels=decoder.channels,
                sample_bits=decoder.sample_bits,
                bit_rate_bps=decoder.bit_rate.result(),
                is_uniform=decoder.is_uniform,
                profile=stream.codec_context.profile,
                passes_full_scale=decoder.passes_full_scale,
            )
            self._judge(decoder, declared_samples(stream, self._path), cut_short)

    def _judge(self, decoder: Decoder, declared: int | None, cut_short: bool) -> None:
        assert self.info is not None
        if not decoder.samples:
            if decoder.bad_packets or cut_short:
                raise Malformed("corrupt", "no part of the audio can be decoded")
            if declared is not None and declared > 0:
                raise Malformed("corrupt", "nothing of the audio that the header states is there")
            raise Malformed("no_audio_data", "the file has a header but no audio in it")
        if not decoder.has_numbers:
            raise Malformed("corrupt", "no sample of the audio is a number")
        # what stops inside its last frame, or has something behind its sound, is cut short, not damaged
        is_sound = decoder.samples >= SOUND_S * decoder.rate_hz
        beyond = decoder.bad_at_the_end if is_sound else min(decoder.bad_at_the_end, 1)
        damaged, packets = decoder.bad_packets - beyond, decoder.packets - beyond
        if damaged > MAX_BAD_SHARE * packets:
            share = f"{damaged} of {packets} packets cannot be decoded"
            raise Malformed("corrupt", f"{share}, at most {MAX_BAD_SHARE:.0%} may be broken")
        warnings = list(self.info.warnings)
        missing = declared is not None and decoder.samples + decoder.trimmed_samples < declared
        if cut_short or missing or decoder.bad_at_the_end or is_cut_off(self._path, self.info.container):
            warnings.append("truncated")
        if damaged:
            warnings.append("damaged")
        explained = {"truncated", "damaged"} & set(warnings)
        if not explained and decoder.checksum is not None and decoder.checksum.is_wrong:
            warnings.append("checksum_mismatch")
        if decoder.sanitised:
            warnings.append("sanitised")
        self.warnings = tuple(warnings)
