"""Blocks of several tracks as one programme: two judges beside it, and sums that no order changes."""

from __future__ import annotations

import numpy as np
import pyloudnorm
import pytest
import signals
from hypothesis import given
from hypothesis import strategies as st

from pipeline.loudness import LoudnessMeter
from pipeline.power import PowerMeter
from pipeline.programme import BINS, Programme, programme_of, together

RATE_HZ = 48_000

PROGRAMMES = st.dictionaries(st.integers(0, BINS - 1), st.integers(1, 10_000), max_size=30).map(
    lambda blocks: Programme(tuple(sorted(blocks.items())))
)


def measured(pcm: signals.Pcm) -> Programme:
    meter = PowerMeter(len(pcm))
    for block in signals.blocks(pcm):
        meter.push(block)
    return meter.programme


def scaled(pcm: signals.Pcm, gain_db: float) -> signals.Pcm:
    return (pcm * 10 ** (gain_db / 20)).astype(np.float32)


def track(pcm: signals.Pcm) -> signals.Pcm:
    """With silence around it, as most have: nothing but silence lies across a joint."""
    return np.concatenate([signals.silence(0.4), pcm, signals.silence(0.4)], axis=1)


ALBUM = (
    track(signals.music(12.0)),
    track(scaled(signals.music(20.0), -9.0)),
    track(signals.pink(6.0, rms=0.05)),
    track(scaled(signals.noise(15.0), -25.0)),  # under the gate of the album, not under its own
    signals.silence(3.0),
)


def test_an_album_is_gated_as_one_programme() -> None:
    """pyloudnorm and libavfilter's ebur128 over the concatenated album: within 0.1 and 0.02 LU."""
    whole = np.concatenate(ALBUM, axis=1)
    meter = LoudnessMeter(2)
    for block in signals.blocks(whole):
        meter.push(block)
    lufs = together(map(measured, ALBUM)).integrated_lufs
    assert lufs == pytest.approx(meter.result().integrated_lufs, abs=0.02)
    judged_lufs = pyloudnorm.Meter(RATE_HZ).integrated_loudness(whole.T.astype(np.float64))
    assert lufs == pytest.approx(judged_lufs, abs=0.1)


def test_an_album_is_not_the_mean_of_its_tracks() -> None:
    """BS.1770-5 (6): the relative gate leaves out what is 10 LU below the mean: a quiet track whole."""
    loud, quiet = measured(signals.sine(1_000, 5.0)), measured(signals.sine(1_000, 5.0, amplitude=0.05))
    assert together([loud, quiet]).integrated_lufs == pytest.approx(loud.integrated_lufs, abs=0.001)
    near = measured(signals.sine(1_000, 5.0, amplitude=0.25))
    power = np.mean([10 ** (one.integrated_lufs / 10) for one in (loud, near)])
    assert together([loud, near]).integrated_lufs == pytest.approx(10 * np.log10(power), abs=0.02)


@pytest.mark.parametrize("pcm", ALBUM[:4])
def test_alone_a_programme_is_as_loud_as_its_meter_says(pcm: signals.Pcm) -> None:
    """A block counts as the middle of its bin: within 0.005 LU, and as much again at the gate."""
    meter = PowerMeter(2)
    for block in signals.blocks(pcm):
        meter.push(block)
    assert meter.programme.integrated_lufs == pytest.approx(meter.result().integrated_lufs, abs=0.01)


def test_silence_has_no_loudness_and_adds_none() -> None:
    tone = measured(signals.sine(1_000, 2.0))
    assert measured(signals.silence(2.0)) == Programme()
    assert Programme().integrated_lufs is together([]).integrated_lufs is None
    assert together([tone, Programme()]) == tone


def test_what_is_stored_of_a_song_is_small() -> None:
    """At most a pair for each 0.1 s, and for each 0.01 LU that there is."""
    assert 0 < len(measured(ALBUM[0]).blocks) <= 130


@given(st.lists(PROGRAMMES, max_size=5), st.randoms())
def test_no_order_and_no_grouping_changes_a_sum(programmes: list[Programme], chance) -> None:
    """In whole numbers: not by a bit."""
    shuffled = list(programmes)
    chance.shuffle(shuffled)
    assert together(shuffled) == together(programmes)
    half = len(programmes) // 2
    assert together([together(programmes[:half]), together(programmes[half:])]) == together(programmes)


@given(PROGRAMMES, st.integers(2, 5))
def test_a_programme_that_is_repeated_is_as_loud_as_once(programme: Programme, times: int) -> None:
    repeated = together([programme] * times).integrated_lufs
    if programme.blocks:
        assert repeated == pytest.approx(programme.integrated_lufs, abs=1e-9)
    else:
        assert repeated is None


@given(PROGRAMMES)
def test_a_histogram_comes_back_from_its_pairs(programme: Programme) -> None:
    count = np.zeros(BINS, np.int64)
    for at, found in programme.blocks:
        count[at] = found
    assert programme_of(count) == programme
