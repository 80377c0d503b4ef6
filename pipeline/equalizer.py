"""Equalizer: parametric bands, one after the other, over the whole track.

Owns: what a band is, the named presets, and the coefficients; libavfilter's `biquad` does the filtering, in
double precision. Source: R. Bristow-Johnson, Cookbook formulae for audio EQ biquad filter coefficients
(W3C Audio EQ Cookbook).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeAlias, get_args

import av
import numpy as np
from av.filter import Graph

from pipeline.grid import RATE_HZ
from pipeline.media import Block

BandType = Literal["peaking", "low_shelf", "high_shelf", "low_pass", "high_pass", "notch"]
WITH_GAIN: frozenset[BandType] = frozenset({"peaking", "low_shelf", "high_shelf"})
"""Those that lift or lower; the others only let through."""

MAX_BANDS = 16
FREQUENCY_HZ = (20.0, 20_000.0)
GAIN_DB = (-24.0, 24.0)
Q = (0.1, 10.0)
BUTTERWORTH_Q = 0.7071
"""Of a pass without a peak and of a shelf that rises without a bend."""

Coefficients: TypeAlias = tuple[float, float, float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """One second-order filter.

    `frequency_hz` is the centre, the corner of a pass (-3 dB at q 0.7071), or half the gain of a shelf.

    Raises:
        ValueError: a number is out of its range (`FREQUENCY_HZ`, `GAIN_DB`, `Q`), the type is none, or a gain
            is given to a type that has none.
    """

    type: BandType
    frequency_hz: float
    gain_db: float = 0.0
    q: float = BUTTERWORTH_Q

    def __post_init__(self) -> None:
        if self.type not in get_args(BandType):
            raise ValueError(f"type is {self.type}, known are {', '.join(get_args(BandType))}")
        for name, (least, most) in (("frequency_hz", FREQUENCY_HZ), ("gain_db", GAIN_DB), ("q", Q)):
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name} is {value}, allowed are {least:g} to {most:g}")
        if self.gain_db and self.type not in WITH_GAIN:
            raise ValueError(f"gain_db is {self.gain_db}, a {self.type} band has none")

    @property
    def changes_nothing(self) -> bool:
        """Without a gain those that have one are exactly 1 at every frequency."""
        return self.type in WITH_GAIN and self.gain_db == 0


def _band(type_: BandType, frequency_hz: float, gain_db: float = 0.0, q: float = BUTTERWORTH_Q) -> Band:
    return Band(type=type_, frequency_hz=frequency_hz, gain_db=gain_db, q=q)


PRESETS: Mapping[str, tuple[Band, ...]] = {
    "flat": (),
    "warm": (_band("low_shelf", 250, 2.5), _band("high_shelf", 6_000, -2)),
    "bright": (_band("peaking", 3_500, 1, 0.8), _band("high_shelf", 8_000, 3)),
    "bass_boost": (_band("high_pass", 25), _band("low_shelf", 100, 6)),
    "vocal": (_band("high_pass", 80), _band("peaking", 300, -2, 1), _band("peaking", 3_000, 3, 1)),
}
"""To change one changes what a version of a track is made of."""


class Equalizer:
    """A stage over Blocks of one or two channels: as long as what it is given, sample for sample, and late by
    nothing. Without a band that changes something it passes Blocks through untouched.

    It neither clips nor lowers: what follows (meters, the planned gain) takes what passes full scale.

    Raises:
        ValueError: over 16 bands, another number of channels, or a frequency not below half the rate.
    """

    def __init__(self, bands: tuple[Band, ...], channels: int, rate_hz: int = RATE_HZ) -> None:
        if len(bands) > MAX_BANDS:
            raise ValueError(f"{len(bands)} bands, at most {MAX_BANDS}")
        if channels not in (1, 2):
            raise ValueError(f"{channels} channels to equalize, allowed are 1 or 2")
        active = [band for band in bands if not band.changes_nothing]
        self._pipe = _Pipe([coefficients(b, rate_hz) for b in active], channels, rate_hz) if active else None

    def push(self, block: Block) -> list[Block]:
        return [block] if self._pipe is None or not block.samples else [self._pipe.filter(block)]

    def flush(self) -> list[Block]:
        """Nothing: a filter's ringing past the end of the track is not part of it."""
        return []


def coefficients(band: Band, rate_hz: int) -> Coefficients:
    """b0, b1, b2, a0, a1, a2 of the cookbook, not normalised.

    Raises:
        ValueError: the band's frequency is not below half the rate.
    """
    if band.frequency_hz >= rate_hz / 2:
        highest = f"under {rate_hz / 2:g} at a rate of {rate_hz} Hz"
        raise ValueError(f"frequency_hz is {band.frequency_hz}, {highest}")
    w0 = 2 * math.pi * band.frequency_hz / rate_hz
    cos, alpha, a = math.cos(w0), math.sin(w0) / (2 * band.q), 10 ** (band.gain_db / 40)
    match band.type:
        case "low_pass":
            return (1 - cos) / 2, 1 - cos, (1 - cos) / 2, 1 + alpha, -2 * cos, 1 - alpha
        case "high_pass":
            return (1 + cos) / 2, -(1 + cos), (1 + cos) / 2, 1 + alpha, -2 * cos, 1 - alpha
        case "notch":
            return 1, -2 * cos, 1, 1 + alpha, -2 * cos, 1 - alpha
        case "peaking":
            return 1 + alpha * a, -2 * cos, 1 - alpha * a, 1 + alpha / a, -2 * cos, 1 - alpha / a
        case "low_shelf":
            return _shelf(a, cos, alpha)
        case "high_shelf":
            b0, b1, b2, a0, a1, a2 = _shelf(a, -cos, alpha)
            return b0, -b1, b2, a0, -a1, a2


def _shelf(a: float, cos: float, alpha: float) -> Coefficients:
    """The low shelf; the high one is its mirror, cos and the odd coefficients negated."""
    slope = 2 * math.sqrt(a) * alpha
    return (
        a * ((a + 1) - (a - 1) * cos + slope),
        2 * a * ((a - 1) - (a + 1) * cos),
        a * ((a + 1) - (a - 1) * cos - slope),
        (a + 1) + (a - 1) * cos + slope,
        -2 * ((a - 1) + (a + 1) * cos),
        (a + 1) + (a - 1) * cos - slope,
    )


class _Pipe:
    """libavfilter's `biquad` for each band in turn; it gives back every frame at once."""

    def __init__(self, bands: list[Coefficients], channels: int, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._layout = "mono" if channels == 1 else "stereo"
        graph = Graph()
        graph.threads = 1  # two channels are not worth a thread each
        self._source = graph.add_abuffer(
            sample_rate=rate_hz, format="dblp", layout=self._layout, time_base=Fraction(1, rate_hz)
        )
        end = self._source
        for band in bands:
            named = zip(("b0", "b1", "b2", "a0", "a1", "a2"), band, strict=True)
            biquad = graph.add("biquad", ":".join(f"{name}={value!r}" for name, value in named))
            end.link_to(biquad)
            end = biquad
        self._sink = graph.add("abuffersink")
        end.link_to(self._sink)
        graph.configure()
        self._graph = graph

    def filter(self, block: Block) -> Block:
        doubled = np.ascontiguousarray(block.pcm, np.float64)
        frame = av.AudioFrame.from_ndarray(doubled, format="dblp", layout=self._layout)
        frame.sample_rate = self._rate_hz
        frame.pts = block.pts
        frame.time_base = Fraction(1, self._rate_hz)
        self._source.push(frame)
        filtered = self._sink.pull()
        assert isinstance(filtered, av.AudioFrame)
        return Block(pts=block.pts, pcm=filtered.to_ndarray().astype(np.float32))
