"""A waveform as a picture: which pixels are painted, and in which colours."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
import signals

from pipeline.waveform import Waveform, WaveformMeter
from pipeline.waveform_image import Colour, Look, png, svg

INK, PAPER = [0x3F, 0x4D, 0x9B, 255], [255, 255, 255, 128]


def look(width: int, height: int) -> Look:
    return Look(
        width=width, height=height, waveform=Colour.parse("3f4d9b"), background=Colour.parse("FFFFFF80")
    )


def of(*pixels: list[int]) -> Waveform:
    """Each pixel as its lanes' lowest and highest, in their order."""
    return Waveform(levels=np.array(pixels, np.int16).reshape(len(pixels), -1, 2))


def painted(waveform: Waveform, size: Look) -> list[str]:
    """The rows of the PNG; anything but the two colours would be a `?`."""
    letters = {tuple(INK): "#", tuple(PAPER): "."}
    return [
        "".join(letters.get(tuple(p), "?") for p in row)
        for row in signals.pixels(png(waveform, size)).tolist()
    ]


def test_a_column_reaches_from_its_lowest_to_its_highest_level() -> None:
    """Full scale is the whole height, the zero line is in its middle, silence one pixel."""
    waveform = of([-32_768, 32_767], [0, 32_767], [-32_768, -1], [0, 0])
    assert painted(waveform, look(4, 4)) == ["##..", "##.#", "#.#.", "#.#."]


def test_split_channels_have_a_row_each() -> None:
    """Of seven lines the first channel gets four, as audiowaveform shares them."""
    waveform = of([-32_768, 32_767, 0, 0], [0, 0, -32_768, 32_767])
    assert painted(waveform, look(2, 7)) == ["#.", "##", "#.", "#.", ".#", "##", ".#"]


def test_the_whole_track_goes_across_the_width() -> None:
    loud_at_the_end = of(*[[0, 0]] * 99, [-32_768, 32_767])
    assert painted(loud_at_the_end, look(10, 2)) == ["##########", ".........#"]
    assert painted(of([-32_768, 32_767], [0, 0]), look(4, 2)) == ["####", "##.."]


def test_a_track_without_samples_is_an_empty_picture() -> None:
    empty = WaveformMeter(1).result()
    assert painted(empty, look(3, 2)) == ["...", "..."]
    assert b'd=""' in svg(empty, look(3, 2))


def test_both_pictures_paint_the_same() -> None:
    meter = WaveformMeter(2)
    for block in signals.blocks(signals.music(1.0)):
        meter.push(block)
    size = look(90, 41)
    for view in (meter.result().mix(), meter.result().split()):
        root = ElementTree.fromstring(svg(view, size))  # noqa: S314 - made a line above
        paper, path = root.findall("{*}rect")[0], root.findall("{*}path")[0]
        assert (paper.get("fill"), path.get("fill")) == ("#ffffff80", "#3f4d9bff")
        rows = np.full((41, 90), ".")
        for x, y, run, height in re.findall(r"M(\d+) (\d+)h(\d+)v(\d+)h-\d+z", path.get("d", "")):
            rows[int(y) : int(y) + int(height), int(x) : int(x) + int(run)] = "#"
        assert ["".join(row) for row in rows] == painted(view, size)


def test_the_same_waveform_is_the_same_file() -> None:
    waveform = of([-3_000, 4_000], [-9_000, 100])
    assert png(waveform, look(50, 20)) == png(waveform, look(50, 20))


@pytest.mark.parametrize(("width", "height"), [(0, 1), (1, 0), (4097, 1), (1, 1025)])
def test_a_picture_has_bounds(width: int, height: int) -> None:
    with pytest.raises(ValueError, match=f"picture of {width} x {height} pixels"):
        look(width, height)


@pytest.mark.parametrize("text", ["", "fff", "#ffffff", "fffffff", "ffffffg0", "red", "ffffff\n", '"/><a'])
def test_what_is_no_colour_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="rrggbb or rrggbbaa"):
        Colour.parse(text)
