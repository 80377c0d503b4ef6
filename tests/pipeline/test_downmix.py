"""Surround becomes stereo by the table of BS.775, whatever order its channels come in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import signals
import sources

from pipeline.decode import Reader
from pipeline.downmix import stereo_matrix

LEFT, RIGHT, CENTRE, NOTHING = (1.0, 0.0), (0.0, 1.0), (0.7071, 0.7071), (0.0, 0.0)
BEHIND_LEFT, BEHIND_RIGHT, BEHIND = (0.7071, 0.0), (0.0, 0.7071), (0.5, 0.5)

FRONT = (LEFT, RIGHT, CENTRE)
SURROUNDS = (BEHIND_LEFT, BEHIND_RIGHT)

WAVES = {
    "3/0": (0x7, FRONT),
    "2.1": (0xB, (LEFT, RIGHT, NOTHING)),
    "2/1": (0x103, (LEFT, RIGHT, BEHIND)),
    "3/1": (0x107, (*FRONT, BEHIND)),
    "3.1": (0xF, (*FRONT, NOTHING)),
    "quad": (0x33, (LEFT, RIGHT, *SURROUNDS)),
    "5.0 side": (0x607, (*FRONT, *SURROUNDS)),
    "5.1 back": (0x3F, (*FRONT, NOTHING, *SURROUNDS)),
    "5.1 side": (0x60F, (*FRONT, NOTHING, *SURROUNDS)),
    "6.0": (0x707, (*FRONT, BEHIND, *SURROUNDS)),
    "6.1": (0x70F, (*FRONT, NOTHING, BEHIND, *SURROUNDS)),
    "7.1": (0x63F, (*FRONT, NOTHING, *SURROUNDS, *SURROUNDS)),
    "7.1 wide": (0xFF, (*FRONT, NOTHING, *SURROUNDS, LEFT, RIGHT)),
    "centre and effects": (0xC, (CENTRE, NOTHING)),
    "nothing named, 3": (0, FRONT),
    "nothing named, 4": (0, (LEFT, RIGHT, *SURROUNDS)),
    "nothing named, 6": (0, (*FRONT, NOTHING, *SURROUNDS)),
    "nothing named, 8": (0, (*FRONT, NOTHING, *SURROUNDS, *SURROUNDS)),
}
"""The mask of loudspeakers in a WAVE header, and what each channel in turn gives to left and right."""


@pytest.mark.parametrize(("mask", "gains"), WAVES.values(), ids=WAVES)
def test_an_impulse_in_each_channel_comes_out_where_its_loudspeaker_stands(
    tmp_path: Path, mask: int, gains: tuple[tuple[float, float], ...]
) -> None:
    """ITU-R BS.775-3 Annex 4 Table 2; nothing is lowered, nothing lands beside its place."""
    at = [100 * (channel + 1) for channel in range(len(gains))]
    pcm = np.zeros((len(gains), 1000), np.float32)
    pcm[range(len(gains)), at] = 0.5
    path = tmp_path / "x.wav"
    path.write_bytes(sources.wave_extensible(pcm, 48_000, mask))
    (block,) = Reader(path, 10.0)
    assert np.allclose(block.pcm[:, at].T, np.array(gains) / 2, atol=1e-4)
    assert np.count_nonzero(np.delete(block.pcm, at, axis=1)) == 0


def test_all_at_once_may_pass_full_scale_and_is_not_clipped(tmp_path: Path) -> None:
    """The gain is planned on the mixture; what were cut off here could not be brought back."""
    path = tmp_path / "x.wav"
    path.write_bytes(sources.wave_extensible(np.full((6, 100), 0.9, np.float32), 48_000, 0x3F))
    (block,) = Reader(path, 10.0)
    assert np.allclose(block.pcm, 0.9 * (1 + 2 * 0.7071), atol=1e-3)


def test_the_order_of_a_codec_is_the_codecs_own(tmp_path: Path) -> None:
    """Vorbis I 4.3.9: six channels are front left, centre, front right, rear left, rear right, effects."""
    tone = signals.sine(440, 0.2, 48_000, channels=1)[0]
    for channel, (left, right) in enumerate((LEFT, CENTRE, RIGHT, *SURROUNDS, NOTHING)):
        pcm = np.zeros((6, len(tone)), np.float32)
        pcm[channel] = tone
        path = tmp_path / "x.ogg"
        signals.write(path, pcm, 48_000, "ogg")
        got = np.concatenate([block.pcm for block in Reader(path, 10.0)], axis=1)
        level = np.sqrt((got**2).mean(axis=1) / (tone**2).mean())
        assert np.allclose(level, (left, right), atol=0.05), channel


@pytest.mark.parametrize(
    "positions", [["FC"], ["FL", "FR"], ["FR", "FL"], ["NONE"], ["NONE", "NONE"], ["DL", "DR"], ["LFE"]]
)
def test_mono_and_stereo_stay_as_they_are(positions: list[str]) -> None:
    assert stereo_matrix(positions) is None


@pytest.mark.parametrize("count", range(3, 9))
def test_places_that_nobody_knows_count_as_the_usual_ones(count: int) -> None:
    unknown = stereo_matrix(["FL", *["SSL"] * (count - 1)])
    assert unknown is not None
    assert unknown.shape == (2, count)
    assert np.array_equal(unknown, stereo_matrix(["NONE"] * count))
