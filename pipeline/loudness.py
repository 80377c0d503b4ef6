"""Loudness meter.

Owns: gated integrated loudness and loudness range of a 48 kHz stream, in constant memory.
Source: ITU-R BS.1770-5 and EBU Tech 3342, as libavfilter's `ebur128` has them. One channel counts as one
channel: a mono track is not measured as if it were played by two loudspeakers (that would add 3 LU).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.filter import Graph

from pipeline.grid import RATE_HZ
from pipeline.media import Block

ABSOLUTE_GATE_LUFS = -70.0
"""BS.1770-5: blocks below it count as silence; the filter reports it when none is above."""

LAYOUTS = {1: "mono", 2: "stereo", 5: "5.0", 6: "5.1"}
"""What so many channels are; the filter weights the surrounds by 1.41 and leaves out the effects channel."""

RANGE_WINDOW_SAMPLES = 3 * RATE_HZ
"""Tech 3342: the range is one of 3 s windows; of a shorter track the filter says 0 LU, having seen none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loudness:
    """What a track has of each, finite.

    Integrated is None for silence and below one gating block of 400 ms; range also below 3 s.
    """

    integrated_lufs: float | None
    range_lu: float | None


class LoudnessMeter:
    """A meter over 48 kHz Blocks of mono, stereo, or left, right, centre, effects (of six) and two surrounds.

    Tracks are measured as they are heard, mixed down to two channels at most.

    Raises:
        ValueError: another number of channels.
    """

    def __init__(self, channels: int) -> None:
        if channels not in LAYOUTS:
            raise ValueError(f"loudness of {channels} channels, measured are 1, 2, 5 or 6")
        self._layout = LAYOUTS[channels]
        self._graph = Graph()
        time_base = Fraction(1, RATE_HZ)
        self._source = self._graph.add_abuffer(
            sample_rate=RATE_HZ, format="fltp", layout=self._layout, time_base=time_base
        )
        meter = self._graph.add("ebur128", "metadata=1:peak=none:dualmono=0:framelog=quiet")
        self._sink = self._graph.add("abuffersink")
        self._source.link_to(meter)
        meter.link_to(self._sink)
        self._graph.configure()
        self._last: dict[str, str] = {}
        self._samples = 0

    def push(self, block: Block) -> None:
        if not block.samples:
            return
        self._samples += block.samples
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(block.pcm), format="fltp", layout=self._layout
        )
        frame.sample_rate = RATE_HZ
        frame.pts = block.pts
        frame.time_base = Fraction(1, RATE_HZ)
        self._source.push(frame)
        self._drain()

    def result(self) -> Loudness:
        self._source.push(None)
        self._drain()
        integrated = self._read("lavfi.r128.I")
        if integrated is None or integrated <= ABSOLUTE_GATE_LUFS:
            return Loudness(integrated_lufs=None, range_lu=None)
        has_range = self._samples >= RANGE_WINDOW_SAMPLES
        return Loudness(
            integrated_lufs=integrated, range_lu=self._read("lavfi.r128.LRA") if has_range else None
        )

    def _read(self, key: str) -> float | None:
        value = float(self._last.get(key, "nan"))
        return value if math.isfinite(value) else None

    def _drain(self) -> None:
        while True:
            try:
                self._last = dict(self._sink.pull().metadata) or self._last
            except (av.error.BlockingIOError, av.error.EOFError):
                return
