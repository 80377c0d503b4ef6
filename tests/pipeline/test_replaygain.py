"""Loudness as players read it."""

from __future__ import annotations

import pytest

from pipeline.normalize import GainPlan
from pipeline.replaygain import FileLoudness, r128_tags, replaygain_tags


def loudness(integrated_lufs: float | None, true_peak_dbtp: float | None = -1.0) -> FileLoudness:
    return FileLoudness(integrated_lufs=integrated_lufs, true_peak_dbtp=true_peak_dbtp)


def test_the_gain_brings_the_file_to_the_reference() -> None:
    """ReplayGain 2.0: -18 LUFS; the peak is linear."""
    assert replaygain_tags(loudness(-14.0)) == {
        "replaygain_track_gain": "-4.00 dB",
        "replaygain_track_peak": "0.891251",
    }
    assert replaygain_tags(loudness(-23.456, 1.0))["replaygain_track_gain"] == "5.46 dB"
    assert replaygain_tags(loudness(-10.0, 1.0))["replaygain_track_peak"] == "1.122018"


@pytest.mark.parametrize(
    ("lufs", "steps"), [(-23.0, "0"), (-14.0, "-2304"), (-30.0, "1792"), (-999.0, "32767")]
)
def test_the_gain_of_opus_is_in_steps_of_a_256th_to_23_lufs_below(lufs: float, steps: str) -> None:
    """RFC 7845 5.2.1: R128_TRACK_GAIN, Q7.8, on top of the header's gain, at most 16 bits."""
    assert r128_tags(loudness(lufs)) == {"R128_TRACK_GAIN": steps}


def test_silence_has_no_gain() -> None:
    assert replaygain_tags(loudness(None, None)) == {}
    assert r128_tags(loudness(None, None)) == {}


def test_an_album_has_its_own_gain_beside_the_track_s() -> None:
    """ReplayGain 2.0; RFC 7845 5.2.1: R128_ALBUM_GAIN."""
    track, album = loudness(-20.0, -9.0), loudness(-14.0, 0.0)
    assert replaygain_tags(track, album) == {
        "replaygain_track_gain": "2.00 dB",
        "replaygain_track_peak": "0.354813",
        "replaygain_album_gain": "-4.00 dB",
        "replaygain_album_peak": "1.000000",
    }
    assert r128_tags(track, album) == {"R128_TRACK_GAIN": "-768", "R128_ALBUM_GAIN": "-2304"}
    silent = loudness(None, None)
    assert replaygain_tags(silent, album).keys() == {"replaygain_album_gain", "replaygain_album_peak"}
    assert r128_tags(silent, silent) == {}


def test_each_track_of_an_album_has_the_album_s_gain() -> None:
    assert loudness(-20.0, -6.0).amplified(3.5) == loudness(-16.5, -2.5)
    assert loudness(None, None).amplified(3.5) == loudness(None, None)


def plan(gain_db: float, planned_lufs: float | None, limit_dbtp: float | None = None) -> GainPlan:
    return GainPlan(
        gain_db=gain_db,
        target_lufs=-14.0,
        ceiling_dbtp=-1.0,
        reason="target",
        planned_lufs=planned_lufs,
        limit_dbtp=limit_dbtp,
    )


def test_a_sound_with_a_gain_is_as_much_louder() -> None:
    assert loudness(-20.0, -6.0).planned(plan(3.5, -16.5)) == loudness(-16.5, -2.5)
    assert loudness(None, None).planned(plan(0.0, None)) == loudness(None, None)


def test_behind_a_limiter_a_sound_is_as_loud_as_was_planned_with_it() -> None:
    """What the limiter takes is missing in the loudness too; it leaves a peak that is low enough."""
    assert loudness(-20.0, -3.0).planned(plan(7.0, -14.1, -1.2)) == loudness(-14.1, -1.2)
    assert loudness(-20.0, -9.0).planned(plan(7.0, -13.0, -1.2)) == loudness(-13.0, -2.0)
