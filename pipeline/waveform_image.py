"""A waveform as a picture: PNG and SVG.

Owns: which pixels are painted. The whole track goes across the width; within a column the geometry is that of
audiowaveform's images without axis labels: a row for each lane, full scale its whole height.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.waveform import Waveform

MAX_WIDTH = 4096
MAX_HEIGHT = 1024

_LEVELS = 65_536
_HALF = 32_768
_COLOUR = re.compile(r"[0-9A-Fa-f]{6}([0-9A-Fa-f]{2})?")

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Colour:
    """Red, green, blue and opacity, 0 to 255 each."""

    red: int
    green: int
    blue: int
    alpha: int = 255

    @classmethod
    def parse(cls, text: str) -> Colour:
        """Read `rrggbb` or `rrggbbaa`, as audiowaveform's options have them.

        Raises:
            ValueError: it is neither.
        """
        if not _COLOUR.fullmatch(text):
            raise ValueError("a colour is rrggbb or rrggbbaa, in hexadecimal digits")
        return cls(*bytes.fromhex(text))

    @property
    def hex(self) -> str:
        """`#rrggbbaa`, as CSS has it."""
        return f"#{bytes([self.red, self.green, self.blue, self.alpha]).hex()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The size in pixels and the two colours of a picture.

    Raises:
        ValueError: the width is not 1 to 4096, or the height not 1 to 1024.
    """

    width: int
    height: int
    waveform: Colour
    background: Colour

    def __post_init__(self) -> None:
        if not (1 <= self.width <= MAX_WIDTH and 1 <= self.height <= MAX_HEIGHT):
            size = f"picture of {self.width} x {self.height} pixels"
            raise ValueError(f"{size}, allowed are 1 x 1 to {MAX_WIDTH} x {MAX_HEIGHT}")


def png(waveform: Waveform, look: Look) -> bytes:
    """The picture as a PNG of two palette colours."""
    painted = np.zeros((look.height, look.width), np.uint8)
    y = np.arange(look.height)[:, None]
    for top, bottom in _lanes(waveform, look):
        painted |= (y >= top) & (y <= bottom)
    # the order of FFmpeg's pal8 is alpha, red, green, blue
    palette = np.zeros((256, 4), np.uint8)
    for index, colour in enumerate((look.background, look.waveform)):
        palette[index] = colour.alpha, colour.red, colour.green, colour.blue
    encoder = av.CodecContext.create("png", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = look.width, look.height, "pal8"
    encoder.time_base = Fraction(1, 1)
    # PyAV takes pixels and palette for pal8, its annotation knows arrays alone
    frame = av.VideoFrame.from_ndarray((painted, palette), format="pal8")  # type: ignore[arg-type]
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def svg(waveform: Waveform, look: Look) -> bytes:
    """The picture as an SVG that takes any size it is given; a path of one rectangle for each run of equal
    columns."""
    width, height = look.width, look.height
    path = "".join(
        f"M{x} {top}h{run}v{bottom - top + 1}h-{run}z"
        for lane in _lanes(waveform, look)
        for x, run, top, bottom in _runs(*lane)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" aria-label="Waveform">'
        f'<rect width="{width}" height="{height}" fill="{look.background.hex}"/>'
        f'<path fill="{look.waveform.hex}" shape-rendering="crispEdges" d="{path}"/></svg>\n'
    ).encode()


def _lanes(waveform: Waveform, look: Look) -> list[tuple[Rows, Rows]]:
    """The first and the last painted row of each column, for each lane; none where there is no pixel."""
    if not len(waveform):
        return []
    levels = waveform.across(look.width).astype(np.int64) + _HALF
    lanes, free, top = [], look.height, 0
    row = look.height // waveform.lanes
    for lane in range(waveform.lanes):
        # as the program shares them out: each row but the last has one line more than its part
        height = free if lane == waveform.lanes - 1 else row + 1
        base = top + height - 1
        lowest, highest = levels[:, lane, 0], levels[:, lane, 1]
        lanes.append((base - highest * height // _LEVELS, base - lowest * height // _LEVELS))
        free -= row + 1
        top += row + 1
    return lanes


def _runs(top: Rows, bottom: Rows) -> list[tuple[int, int, int, int]]:
    """Column, how many, top and bottom of each run of columns that are alike."""
    changes = (np.diff(top) != 0) | (np.diff(bottom) != 0)
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
    lengths = np.diff(np.concatenate([starts, [len(top)]]))
    rows = zip(starts, lengths, top[starts], bottom[starts], strict=True)
    return [(int(x), int(run), int(first), int(last)) for x, run, first, last in rows]
