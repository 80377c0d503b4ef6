"""BBC audiowaveform itself beside ours, where `make oracle` has built it: hashes, random sound, pictures."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import signals
from oracles import audiowaveform

from pipeline.waveform import Waveform, WaveformMeter
from pipeline.waveform_image import Colour, Look, png

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def program() -> Path:
    found = audiowaveform.program()
    if found is None:
        pytest.skip("no audiowaveform: make oracle builds it")
    return found


def test_the_table_of_hashes_is_what_the_program_makes(program: Path) -> None:
    assert audiowaveform.vectors(program) == audiowaveform.golden()


@pytest.mark.parametrize("seed", range(40))
def test_random_sound_is_drawn_byte_for_byte(program: Path, seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    case = replace(
        audiowaveform.CASES[int(rng.integers(len(audiowaveform.CASES)))], zoom=256 * int(rng.integers(1, 9))
    )
    pcm = rng.integers(-32_768, 32_768, (case.channels, int(rng.integers(1, 30_000)))).astype(np.int16)
    meter = WaveformMeter(case.channels)
    for block in signals.blocks(signals.as_float(pcm), int(rng.integers(1, 5_000))):
        meter.push(block)
    view = (meter.result().split() if case.split else meter.result().mix()).rescaled(case.zoom)
    assert view.to_dat(case.bits) == audiowaveform.make(program, case, pcm, tmp_path)[0]


@pytest.mark.parametrize("seed", range(20))
def test_pictures_are_painted_pixel_by_pixel(program: Path, seed: int, tmp_path: Path) -> None:
    """Without axis labels, one pixel a column, from a .dat; at every other seed rescaled by the program."""
    rng = np.random.default_rng(seed)
    shape = int(rng.integers(1, 300)), int(rng.integers(1, 3)), 2
    levels = np.sort(rng.integers(-32_768, 32_768, shape).astype(np.int16), axis=2)
    whole = Waveform(levels=levels)
    view = whole.rescaled(256 if seed % 2 else int(rng.integers(257, 3_000)))
    (tmp_path / "in.dat").write_bytes(whole.to_dat(16))
    look = Look(
        width=len(view),
        height=int(rng.integers(2, 300)),
        waveform=Colour.parse("3f4d9b"),
        background=Colour.parse("ffffff"),
    )
    size = ["-w", str(look.width), "-h", str(look.height), "-z", str(view.samples_per_pixel)]
    colours = ["--waveform-color", "3f4d9b", "--background-color", "ffffff", "--no-axis-labels"]
    files = ["-i", tmp_path / "in.dat", "-o", tmp_path / "out.png"]
    subprocess.run([program, "-q", *files, *size, *colours], check=True)
    theirs = signals.pixels((tmp_path / "out.png").read_bytes())
    assert signals.pixels(png(view, look)).tolist() == theirs.tolist()
