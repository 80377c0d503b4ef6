"""The second meter: the EBU's cases, the first meter beside it, and what has no level."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pytest
import signals

from pipeline.loudness import LoudnessMeter
from pipeline.media import Block
from pipeline.power import Levels, PowerMeter

RATE_HZ = 48_000
NOTHING = Levels(integrated_lufs=None, momentary_max_lufs=None, short_term_max_lufs=None)


def measured(pcm: signals.Pcm, size: int = 16_384) -> Levels:
    meter = PowerMeter(len(pcm))
    for block in signals.blocks(pcm, size):
        meter.push(block)
    return meter.result()


def tone(level_dbfs: float, duration_s: float) -> signals.Pcm:
    return signals.sine(1_000, duration_s, amplitude=10 ** (level_dbfs / 20))


def joined(parts: Iterable[signals.Pcm]) -> signals.Pcm:
    return np.concatenate(list(parts), axis=1)


@pytest.mark.parametrize(
    ("levels", "expected_lufs"),
    [
        ([(-23, 20)], -23.0),
        ([(-33, 20)], -33.0),
        ([(-36, 10), (-23, 60), (-36, 10)], -23.0),
        ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23.0),
        ([(-26, 20), (-20, 20.1), (-26, 20)], -23.0),
    ],
    ids=["case 1", "case 2", "case 3", "case 4", "case 5"],
)
def test_integrated_loudness_of_ebu_tech_3341(
    levels: list[tuple[float, float]], expected_lufs: float
) -> None:
    """Tech 3341 cases 1 to 5: within 0.1 LU. Case 6 has five channels; renditions have at most two."""
    assert measured(signals.steps(levels)).integrated_lufs == pytest.approx(expected_lufs, abs=0.1)


@pytest.mark.parametrize("level", [-23.0, -33.0])
def test_all_three_scales_agree_on_a_steady_tone(level: float) -> None:
    """Tech 3341 cases 1 and 2: M, S and I alike, within 0.1 LU."""
    levels = measured(tone(level, 20))
    assert levels.momentary_max_lufs == pytest.approx(level, abs=0.1)
    assert levels.short_term_max_lufs == pytest.approx(level, abs=0.1)


def test_short_term_is_the_power_of_three_seconds() -> None:
    """Tech 3341 case 9: S is -23.0 LUFS, within 0.1 LU, wherever the window lies."""
    pcm = signals.steps([(-20, 1.34), (-30, 1.66)] * 5)
    assert measured(pcm).short_term_max_lufs == pytest.approx(-23.0, abs=0.1)
    for start in range(0, 12 * RATE_HZ, RATE_HZ // 3):  # windows one by one: it is the lowest too
        window = measured(pcm[:, start : start + 3 * RATE_HZ])
        assert window.short_term_max_lufs == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize("place", range(20))
def test_the_highest_short_term_level_wherever_a_tone_of_three_seconds_lies(place: int) -> None:
    """Tech 3341 case 10: max S of each of 20 files is -23.0 LUFS, within 0.1 LU."""
    pcm = joined([signals.silence(place * 0.15), tone(-23, 3), signals.silence(1)])
    assert measured(pcm).short_term_max_lufs == pytest.approx(-23.0, abs=0.1)


def test_the_highest_short_term_level_rises_with_each_louder_tone() -> None:
    """Tech 3341 case 11: max S is -38.0, -37.0, ... -19.0 LUFS successively, within 0.1 LU."""
    meter, at = PowerMeter(2), 0
    for place in range(20):
        before, after = signals.silence(place * 0.15), signals.silence(3 - place * 0.15)
        pcm = joined([before, tone(-38 + place, 3), after])
        meter.push(Block(pts=at, pcm=pcm))
        at += pcm.shape[1]
        assert meter.result().short_term_max_lufs == pytest.approx(-38 + place, abs=0.1)


def test_momentary_is_the_power_of_four_tenths_of_a_second() -> None:
    """Tech 3341 case 12: M is -23.0 LUFS, within 0.1 LU, wherever the window lies."""
    pcm = signals.steps([(-20, 0.18), (-30, 0.22)] * 25)
    assert measured(pcm).momentary_max_lufs == pytest.approx(-23.0, abs=0.1)
    for start in range(0, 2 * RATE_HZ, RATE_HZ // 30):
        window = measured(pcm[:, start : start + 2 * RATE_HZ // 5])
        assert window.momentary_max_lufs == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize("place", range(20))
def test_the_highest_momentary_level_wherever_a_short_tone_lies(place: int) -> None:
    """Tech 3341 case 13: max M of each of 20 files is -23.0 LUFS, within 0.1 LU."""
    pcm = joined([signals.silence(place * 0.02), tone(-23, 0.4), signals.silence(1)])
    assert measured(pcm).momentary_max_lufs == pytest.approx(-23.0, abs=0.1)


def test_the_highest_momentary_level_rises_with_each_louder_tone() -> None:
    """Tech 3341 case 14: max M is -38.0, -37.0, ... -19.0 LUFS successively, within 0.1 LU."""
    meter, at = PowerMeter(2), 0
    for place in range(20):
        before, after = signals.silence(place * 0.02), signals.silence(0.4 - place * 0.02)
        pcm = joined([before, tone(-38 + place, 0.4), after])
        meter.push(Block(pts=at, pcm=pcm))
        at += pcm.shape[1]
        assert meter.result().momentary_max_lufs == pytest.approx(-38 + place, abs=0.1)


@pytest.mark.parametrize(
    "pcm",
    [
        signals.music(8.0),
        signals.music(8.0, channels=1),
        signals.pink(5.0),
        signals.sine(60, 5.0),
        signals.square(48, 5 * RATE_HZ),
        signals.steps([(-30, 4), (-12, 4), (-60, 4)]),
        np.concatenate([signals.silence(4), signals.pink(4), signals.silence(4)], axis=1),
        signals.pink(0.5),
    ],
    ids=["music", "mono", "pink", "bass", "square", "steps", "pauses", "half a second"],
)
def test_the_two_meters_agree(pcm: signals.Pcm) -> None:
    """libavfilter's `ebur128` shares no code with this one: within 0.05 LU."""
    other = LoudnessMeter(len(pcm))
    other.push(Block(pts=0, pcm=pcm))
    assert measured(pcm).integrated_lufs == pytest.approx(other.result().integrated_lufs, abs=0.05)


@pytest.mark.parametrize("size", [31, 479, 480, 4_801, 200_000])
def test_blocks_of_any_size_measure_the_same(size: int) -> None:
    pcm = signals.pink(0.5) if size == 31 else signals.music(4.0)
    one, other = measured(pcm, size), measured(pcm)
    assert one.integrated_lufs == pytest.approx(other.integrated_lufs, abs=1e-9)
    assert one.momentary_max_lufs == pytest.approx(other.momentary_max_lufs, abs=1e-9)
    assert one.short_term_max_lufs == (
        other.short_term_max_lufs and pytest.approx(other.short_term_max_lufs, abs=1e-9)
    )


@pytest.mark.parametrize(
    "pcm", [signals.silence(4.0), tone(-75, 4.0), tone(-10, 0.39), tone(-10, 1 / RATE_HZ)]
)
def test_silence_and_less_than_a_window_have_no_level(pcm: signals.Pcm) -> None:
    """BS.1770-5: the absolute gate at -70 LKFS; a gating block is 400 ms."""
    assert measured(pcm) == NOTHING


def test_nothing_pushed_has_no_level() -> None:
    meter = PowerMeter(1)
    meter.push(Block(pts=0, pcm=np.zeros((1, 0), np.float32)))
    assert meter.result() == NOTHING


def test_a_gain_moves_every_level_alike() -> None:
    pcm = signals.music(4.0)
    quiet, loud = measured(pcm), measured(pcm * np.float32(2))
    for name in ("integrated_lufs", "momentary_max_lufs", "short_term_max_lufs"):
        assert getattr(loud, name) - getattr(quiet, name) == pytest.approx(6.02, abs=0.02)


def test_a_longer_window_never_has_the_higher_maximum() -> None:
    levels = measured(signals.music(6.0))
    found = [levels.momentary_max_lufs, levels.short_term_max_lufs, levels.integrated_lufs]
    assert all(a is not None and b is not None and a >= b for a, b in pairwise(found))


@pytest.mark.parametrize("channels", [0, 3, 6])
def test_other_than_one_or_two_channels_are_refused(channels: int) -> None:
    with pytest.raises(ValueError, match=f"{channels} channels"):
        PowerMeter(channels)
