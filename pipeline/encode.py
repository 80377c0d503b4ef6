"""PCM to coded packets: one encoder a rendition, run once and continuously over the whole track.

Every rendition of a codec is cut at the same packets because it is fed the same samples. An encoder that
restarted at a segment would leave a hole of its priming at each boundary (hls.md 1.6).
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.ladder import Codec, Rendition
from pipeline.media import Block, Packet, Pcm

if TYPE_CHECKING:
    from av.audio.stream import AudioStream


CODER_OPTIONS = {
    # a third to a seventh of the default coder's CPU time at these bit rates, with less noise in the worst
    # bands; FFmpeg's manual calls it better and faster at higher bit rates
    Codec.AAC: {"aac_coder": "fast", "aac_pns": "0", "aac_is": "0"},
    # lowdelay: never the speech coder, which libopus with `audio` gives to mono under 64 kbit/s where it
    # takes music for speech: up to 2.4 LU quieter and 7 dB noisier. constrained: the rung keeps the bit rate
    # of its name, and packets stay small; what free VBR gains in noise is what its extra bits buy. 7: the
    # first with the analysis that tonal music needs; a quarter less CPU time than 10 at the same noise
    Codec.OPUS: {
        "application": "lowdelay",
        "frame_duration": "20",
        "vbr": "constrained",
        "compression_level": "7",
    },
    # 0.3 to 6 % smaller than 5 for twice its CPU time, which still is a small part of a job's; 10 and 12 take
    # 2 and 7 times as long for another 0 to 9 %
    Codec.FLAC: {"compression_level": "8"},
}
"""Measured on music (benchmarks/README.md)."""

THOROUGH_OPTIONS = {**CODER_OPTIONS[Codec.AAC], "aac_coder": "twoloop"}
"""Of AAC, for what the fast coder cuts: a loud tone with nothing beside it (`pipeline.fidelity`)."""

SAMPLE_FORMATS = {Codec.AAC: "fltp", Codec.OPUS: "flt"}
"""What FFmpeg's wrapper of the coder takes; PyAV interleaves where it must."""

INTEGER_FORMATS = {16: "s16", 24: "s32"}
"""By bit depth, what FFmpeg's FLAC coder takes; 24 bits stand at the upper end of 32."""


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
        depth = rendition.bit_depth
        self._format = INTEGER_FORMATS[depth] if depth else SAMPLE_FORMATS[rendition.codec]
        self._context = self._open()

    def _open(self) -> av.AudioCodecContext:
        context = av.CodecContext.create(self.rendition.codec.value, "w")
        assert isinstance(context, av.AudioCodecContext)
        if self.rendition.bitrate_bps:
            context.bit_rate = self.rendition.bitrate_bps
        context.sample_rate = self.rendition.rate_hz
        context.layout = self._layout
        context.format = self._format
        context.time_base = self._time_base
        is_searched = self.rendition.is_thorough and self.rendition.codec is Codec.AAC
        context.options = dict(THOROUGH_OPTIONS if is_searched else CODER_OPTIONS[self.rendition.codec])
        if self.rendition.codec.is_lossless:  # the others have a frame of their own
            context.options["frame_size"] = str(self.rendition.frame_samples)
        context.flags |= av.codec.context.Flags.global_header | av.codec.context.Flags.bitexact
        context.open()
        return context

    @property
    def codec_config(self) -> bytes:
        """The decoder's configuration: for AAC the AudioSpecificConfig (ISO 14496-3 1.6.2.1).

        For Opus the identification header, OpusHead (RFC 7845 5.1); for FLAC the STREAMINFO block without its
        header (RFC 9639 8.2), which knows neither the length nor the hash of what is yet to come: both are 0.
        """
        return bytes(self._context.extradata or b"")

    def push(self, block: Block) -> list[Packet]:
        frame = self._frame(block.pcm)
        frame.sample_rate = self.rendition.rate_hz
        frame.pts = block.pts
        frame.time_base = self._time_base
        self._pushed += block.samples
        return self._packets(self._context.encode(frame))

    def flush(self) -> list[Packet]:
        return self._packets(self._context.encode(None)) if self._pushed else []

    def _frame(self, pcm: Pcm) -> av.AudioFrame:
        depth = self.rendition.bit_depth
        if depth is None:
            return av.AudioFrame.from_ndarray(np.ascontiguousarray(pcm), format="fltp", layout=self._layout)
        interleaved = np.ascontiguousarray(quantised(pcm, depth).T).reshape(1, -1)
        placed = interleaved.astype(np.int16) if depth == 16 else interleaved << 8
        return av.AudioFrame.from_ndarray(placed, format=self._format, layout=self._layout)

    def _packets(self, coded: list[av.Packet[AudioStream]]) -> list[Packet]:
        return [p for c in coded if (p := self._packet(c)) is not None]

    def _packet(self, coded: av.Packet[AudioStream]) -> Packet | None:
        """FFmpeg counts the priming as time before zero; here it is a trim."""
        if not coded.size:
            return None  # with FLAC's flush comes a header, and no sound
        assert coded.pts is not None
        frame_samples = self.rendition.frame_samples
        start, end = max(coded.pts, 0), min(coded.pts + frame_samples, self._pushed)
        if coded.pts >= self._pushed:
            return None  # nothing but padding
        trim_start = start - coded.pts
        duration = max(end - start, 0)
        if self.rendition.codec.is_lossless:  # neither delay nor padding: the last frame is as short as it is
            return Packet(pts=start, duration=duration, data=bytes(coded))
        return Packet(
            pts=start,
            duration=duration,
            data=bytes(coded),
            trim_start=min(trim_start, frame_samples),
            trim_end=frame_samples - trim_start - duration,
        )


def quantised(pcm: Pcm, bit_depth: int) -> NDArray[np.int32]:
    """Samples as the integers that FLAC codes.

    Integers of up to 24 bits come through float32 exactly. What has more is rounded to the nearest, and what
    is over full scale is cut: a float source may be, an integer one cannot.

    Args:
        pcm: (channels, samples), full scale +-1.0.
        bit_depth: 16 or 24.
    """
    full_scale = 1 << (bit_depth - 1)
    scaled = np.rint(pcm * np.float32(full_scale))
    integers: NDArray[np.int32] = np.clip(scaled, -full_scale, full_scale - 1).astype(np.int32)
    return integers
