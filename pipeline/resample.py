"""Any rate to 48 kHz (or another), exactly as long as arithmetic says.

Source: libswresample through libavfilter's `aresample`. Its output is off by a sample or a few at the end;
the stage cuts or pads it to round(n * to / rate), so that every rendition has one length.
"""

from __future__ import annotations

from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.filter import Graph

from pipeline.decode import INTERLEAVED
from pipeline.grid import RATE_HZ, at_rate
from pipeline.media import Block, Pcm

QUALITY = "filter_size=64:cutoff=0.98"
"""Sines, 44.1 to 48 kHz: residue -96 dB up to 19.5 kHz; swresample's defaults leave -33 dB there."""


class Resampler:
    """A stage: Blocks of one or two channels at `rate_hz` in, Blocks at `to_hz` out.

    Source sample 0 is output sample 0.
    """

    def __init__(self, rate_hz: int, channels: int, to_hz: int = RATE_HZ) -> None:
        self._rate_hz = rate_hz
        self._to_hz = to_hz
        self._channels = channels
        self._taken = 0
        self._given = 0
        self._pipe = None if self._is_identity else _Pipe(rate_hz, channels, to_hz)

    @property
    def _is_identity(self) -> bool:
        return self._rate_hz == self._to_hz

    def push(self, block: Block) -> list[Block]:
        self._taken += block.samples
        if self._pipe is None:
            return self._give(block.pcm)
        return [out for pcm in self._pipe.push(block) for out in self._give(pcm)]

    def flush(self) -> list[Block]:
        """The filter's tail, cut or padded to the exact length."""
        out = [b for pcm in (self._pipe.flush() if self._pipe else []) for b in self._give(pcm)]
        missing = at_rate(self._taken, self._rate_hz, self._to_hz) - self._given
        if missing > 0:
            out += self._give(np.zeros((self._channels, missing), np.float32))
        return out

    def _give(self, pcm: Pcm) -> list[Block]:
        room = at_rate(self._taken, self._rate_hz, self._to_hz) - self._given
        pcm = pcm[:, :room]
        block = Block(pts=self._given, pcm=pcm)
        self._given += block.samples
        return [block] if block.samples else []


class _Pipe:
    """libavfilter's `aresample` as push and flush."""

    def __init__(self, rate_hz: int, channels: int, to_hz: int) -> None:
        self._rate_hz = rate_hz
        self._layout = "mono" if channels == 1 else "stereo"
        graph = Graph()
        self._source = graph.add_abuffer(
            sample_rate=rate_hz, format=INTERLEAVED, layout=self._layout, time_base=Fraction(1, rate_hz)
        )
        resample = graph.add("aresample", f"{to_hz}:{QUALITY}:osf=fltp")
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
