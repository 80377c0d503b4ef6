"""Any rate and layout to 48 kHz mono or stereo, exactly as long as arithmetic says.

Source: libswresample through libavfilter's `aresample`. Its output is off by a sample or a few at the end;
the stage cuts or pads it to round(n * 48000 / rate), so that every rendition has one length.
"""

from __future__ import annotations

from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.filter import Graph

from pipeline.decode import INTERLEAVED
from pipeline.grid import RATE_HZ, at_grid_rate
from pipeline.media import Block, Pcm

QUALITY = "filter_size=64:cutoff=0.98"
"""Sines, 44.1 to 48 kHz: residue -96 dB up to 19.5 kHz; swresample's defaults leave -33 dB there."""


def channels_out(channels: int) -> int:
    """Mono stays mono; everything else becomes stereo."""
    return 1 if channels == 1 else 2


class Resampler:
    """A stage: Blocks at `rate_hz` in, Blocks at 48 kHz with one or two channels out.

    Source sample 0 is output sample 0. More than two channels are mixed down with the coefficients of
    ITU-R BS.775 (centre and surrounds at -3 dB), in float and without lowering the rest.
    """

    def __init__(self, rate_hz: int, channels: int) -> None:
        self._rate_hz = rate_hz
        self._channels = channels
        self._taken = 0
        self._given = 0
        self._pipe = None if self._is_identity else _Pipe(rate_hz, channels)

    @property
    def _is_identity(self) -> bool:
        return self._rate_hz == RATE_HZ and self._channels == channels_out(self._channels)

    def push(self, block: Block) -> list[Block]:
        self._taken += block.samples
        if self._pipe is None:
            return self._give(block.pcm)
        return [out for pcm in self._pipe.push(block) for out in self._give(pcm)]

    def flush(self) -> list[Block]:
        """The filter's tail, cut or padded to the exact length."""
        out = [b for pcm in (self._pipe.flush() if self._pipe else []) for b in self._give(pcm)]
        missing = at_grid_rate(self._taken, self._rate_hz) - self._given
        if missing > 0:
            out += self._give(np.zeros((channels_out(self._channels), missing), np.float32))
        return out

    def _give(self, pcm: Pcm) -> list[Block]:
        room = at_grid_rate(self._taken, self._rate_hz) - self._given
        pcm = pcm[:, :room]
        block = Block(pts=self._given, pcm=pcm)
        self._given += block.samples
        return [block] if block.samples else []


class _Pipe:
    """libavfilter's `aresample` as push and flush."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        self._rate_hz = rate_hz
        self._layout = _LAYOUTS[channels]
        graph = Graph()
        self._source = graph.add_abuffer(
            sample_rate=rate_hz, format=INTERLEAVED, layout=self._layout, time_base=Fraction(1, rate_hz)
        )
        out = "mono" if channels == 1 else "stereo"
        resample = graph.add("aresample", f"{RATE_HZ}:{QUALITY}:ochl={out}:osf=fltp")
        self._sink = graph.add("abuffersink")
        self._source.link_to(resample)
        resample.link_to(self._sink)
        graph.configure()
        self._graph = graph

    def push(self, block: Block) -> list[Pcm]:
        interleaved = np.ascontiguousarray(block.pcm.T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(interleaved, format=INTERLEAVED, layout=self._layout)
        frame.sample_rate = self._rate_hz
        frame.pts = block.pts
        frame.time_base = Fraction(1, self._rate_hz)
        self._source.push(frame)
        return self._pull()

    def flush(self) -> list[Pcm]:
        self._source.push(None)
        return self._pull()

    def _pull(self) -> list[Pcm]:
        out: list[Pcm] = []
        while True:
            try:
                frame = self._sink.pull()
                assert isinstance(frame, av.AudioFrame)
                out.append(cast("Pcm", frame.to_ndarray()))
            except (av.error.BlockingIOError, av.error.EOFError):
                return out


_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
"""The layout a channel count stands for (the usual order of WAVE and FLAC)."""
