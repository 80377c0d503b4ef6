"""The one gain of a track: target, ceiling, silence and off; and its application."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import signals
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analyze import Analysis, Analyzer
from pipeline.loudness import Loudness
from pipeline.media import Block
from pipeline.normalize import (
    MARGIN_DB,
    MAX_LIMITING_DB,
    STEP_DB,
    CodedLoudness,
    Gain,
    GainPlan,
    corrected,
    lowered,
    misses,
    plan_gain,
    stepped,
)

SILENCE = Loudness(integrated_lufs=None, range_lu=None)


def at(integrated_lufs: float) -> Loudness:
    return Loudness(integrated_lufs=integrated_lufs, range_lu=5.0)


def analysed(pcm: signals.Pcm) -> Analysis:
    analyzer = Analyzer(len(pcm))
    for block in signals.blocks(pcm):
        analyzer.push(block)
    return analyzer.result()


def amplified(pcm: signals.Pcm, gain_db: float) -> signals.Pcm:
    stage = Gain(gain_db)
    out = [got.pcm for block in signals.blocks(pcm) for got in stage.push(block)]
    return np.concatenate([*out, *(got.pcm for got in stage.flush())], axis=1)


@pytest.mark.parametrize(
    ("loudness", "true_peak_dbtp", "gain_db", "reason"),
    [
        (at(-9.8), -0.1, -4.2, "target"),  # a loud master comes down
        (at(-20.0), -8.0, 6.0, "target"),  # a quiet one goes up while there is room
        (at(-14.0), -3.0, 0.0, "target"),
        (at(-20.0), -3.0, 2.0, "ceiling"),  # and only as far as there is room
        (at(-20.0), -1.0, 0.0, "ceiling"),
        (at(-20.0), 0.5, -1.5, "ceiling"),  # an over that is already there is taken down
        (at(-14.0), 2.0, -3.0, "ceiling"),
        (at(-69.0), -60.0, 55.0, "target"),
        (SILENCE, None, 0.0, "silence"),
        (SILENCE, -80.0, 0.0, "silence"),
        (SILENCE, -1.0, 0.0, "silence"),
        (SILENCE, 0.0, -1.0, "ceiling"),  # under 400 ms, or a constant: no loudness, but a peak
    ],
)
def test_the_target_is_met_unless_the_ceiling_is_lower(
    loudness: Loudness, true_peak_dbtp: float | None, gain_db: float, reason: str
) -> None:
    plan = plan_gain(loudness, true_peak_dbtp)
    assert (plan.gain_db, plan.reason) == (pytest.approx(gain_db, abs=1e-9), reason)
    assert (plan.target_lufs, plan.ceiling_dbtp) == (-14.0, -1.0)


@pytest.mark.parametrize("loudness", [SILENCE, at(-3.0)])
def test_switched_off_it_leaves_the_track_alone(loudness: Loudness) -> None:
    plan = plan_gain(loudness, 3.0, target_lufs=-16.0, mode="off")
    assert (plan.gain_db, plan.reason, plan.target_lufs) == (0.0, "off", -16.0)


@given(
    integrated=st.none() | st.floats(-70, 20),
    true_peak=st.none() | st.floats(-120, 20),
    target=st.floats(-70, 0),
    ceiling=st.floats(-20, 0),
)
def test_no_gain_lifts_a_peak_over_the_ceiling_or_a_track_over_the_target(
    integrated: float | None, true_peak: float | None, target: float, ceiling: float
) -> None:
    loudness = Loudness(integrated_lufs=integrated, range_lu=None)
    plan = plan_gain(loudness, true_peak, target_lufs=target, ceiling_dbtp=ceiling)
    assert np.isfinite(plan.gain_db)
    if true_peak is not None:
        assert true_peak + plan.gain_db <= ceiling + 1e-9 or plan.gain_db == 0 <= ceiling - true_peak
    if integrated is None:
        assert plan.gain_db <= 0
    else:
        assert integrated + plan.gain_db <= target + 1e-9
        assert (plan.reason == "target") == (plan.gain_db == target - integrated)


@pytest.mark.parametrize(
    ("target_lufs", "ceiling_dbtp", "named"),
    [
        (0.1, -1.0, "target_lufs"),
        (-70.1, -1.0, "target_lufs"),
        (float("nan"), -1.0, "target_lufs"),
        (-14.0, 0.1, "ceiling_dbtp"),
        (-14.0, -20.1, "ceiling_dbtp"),
        (-14.0, float("nan"), "ceiling_dbtp"),
    ],
)
def test_a_target_or_ceiling_out_of_range_is_refused(
    target_lufs: float, ceiling_dbtp: float, named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        plan_gain(SILENCE, None, target_lufs=target_lufs, ceiling_dbtp=ceiling_dbtp)


@pytest.mark.parametrize(
    ("loudness", "true_peak_dbtp", "gain_db", "reason", "limit_dbtp"),
    [
        (at(-9.8), -0.1, -4.2, "target", None),  # where gain suffices there is no limiter
        (at(-20.0), -3.0, 6.0, "limited", -1.0),
        (at(-30.0), -3.0, 2.0 + MAX_LIMITING_DB, "limited", -1.0),  # as far as a limiter may go
        (SILENCE, 0.0, -1.0, "ceiling", None),
    ],
)
def test_a_limiter_makes_room_for_the_gain(
    loudness: Loudness, true_peak_dbtp: float, gain_db: float, reason: str, limit_dbtp: float | None
) -> None:
    plan = plan_gain(loudness, true_peak_dbtp, mode="limit")
    assert (plan.gain_db, plan.reason, plan.limit_dbtp) == (pytest.approx(gain_db), reason, limit_dbtp)


def test_a_plan_says_how_loud_the_track_comes_out() -> None:
    assert plan_gain(at(-9.8), -0.1).planned_lufs == pytest.approx(-14.0)
    assert plan_gain(at(-20.0), -3.0).planned_lufs == pytest.approx(-18.0)
    assert plan_gain(at(-20.0), -3.0, mode="off").planned_lufs == -20.0
    assert plan_gain(SILENCE, None).planned_lufs is None


PLAIN, LIMITED = plan_gain(at(-16.0), -4.0), plan_gain(at(-20.0), -3.0, mode="limit")


def test_peaks_are_lowered_by_the_gain_or_by_the_limiter() -> None:
    plain, limited = lowered(PLAIN, 0.5), lowered(LIMITED, 0.5)
    assert (plain.gain_db, plain.planned_lufs, plain.reason) == (pytest.approx(1.5), -14.5, "ceiling")
    assert (limited.gain_db, limited.limit_dbtp, limited.reason) == (6.0, -1.5, "limited")


def coded(off_lu: float, true_peak_dbtp: float | None = -2.0) -> CodedLoudness:
    return CodedLoudness(integrated_lufs=-14.0 + off_lu, true_peak_dbtp=true_peak_dbtp)


@pytest.mark.parametrize(
    ("measured", "gain_db", "planned_lufs"),
    [
        ([coded(0.0), coded(-0.19), coded(0.19)], None, None),  # within the tolerance
        ([coded(0.0, -1.0)], None, None),  # at the ceiling
        ([coded(0.0, -0.8), coded(0.0)], 2.0 - 0.2 - MARGIN_DB, -14.3),  # over it: everything comes down
        ([coded(-0.3), coded(-0.1)], 2.2, -14.0),  # too quiet: half-way between the two
        ([coded(0.5), coded(0.3)], 1.6, -14.0),
        ([coded(-0.3, -1.1), coded(-0.3)], 2.3 - 0.2 - MARGIN_DB, -14.3),  # louder, but not over the ceiling
        ([coded(-0.5), coded(0.1)], None, None),  # no gain brings both within the tolerance
        ([CodedLoudness(integrated_lufs=None, true_peak_dbtp=None)], None, None),
        ([], None, None),
    ],
)
def test_a_plan_is_corrected_by_what_its_renditions_measure(
    measured: list[CodedLoudness], gain_db: float | None, planned_lufs: float | None
) -> None:
    better = corrected(PLAIN, measured)
    assert (better and better.gain_db) == (gain_db and pytest.approx(gain_db))
    assert (better and better.planned_lufs) == (planned_lufs and pytest.approx(planned_lufs))


def test_behind_a_limiter_the_peaks_are_corrected_apart_from_the_gain() -> None:
    better = corrected(LIMITED, [coded(-0.4, -0.5)])
    assert better is not None
    assert (better.gain_db, better.compensation_db) == (pytest.approx(6.4), pytest.approx(0.4))
    assert better.limit_dbtp == pytest.approx(-1.5 - MARGIN_DB)


@given(
    off=st.lists(st.floats(-3, 3), min_size=1, max_size=4),
    peaks=st.lists(st.floats(-6, 3), min_size=1, max_size=4),
)
def test_a_correction_would_not_be_corrected_again(off: list[float], peaks: list[float]) -> None:
    """If renditions follow the gain, the second round meets its plan, or misses only what no gain meets."""
    measured = [coded(lu, peak) for lu, peak in zip(off, peaks, strict=False)]
    better = corrected(PLAIN, measured)
    if better is None:
        return
    moved = better.gain_db - PLAIN.gain_db
    again = [
        CodedLoudness(integrated_lufs=m.integrated_lufs + moved, true_peak_dbtp=m.true_peak_dbtp + moved)
        for m in measured
    ]
    assert all(m.true_peak_dbtp <= -1.0 + 1e-9 for m in again)
    if max(off[: len(measured)]) - min(off[: len(measured)]) <= 0.39:
        assert not any(abs(m.integrated_lufs - better.planned_lufs) > 0.2 + 1e-9 for m in again)


def test_what_stays_as_it_is_has_nothing_to_miss() -> None:
    plan: GainPlan = plan_gain(at(-16.0), 2.0, mode="off")
    assert not misses(plan, coded(5.0, 2.5))
    assert corrected(plan, [coded(5.0, 2.5)]) is None


def test_music_ends_at_the_target() -> None:
    """EBU R 128: within 0.1 LU, measured again after the gain."""
    pcm = signals.music(6.0, peak=0.9)
    before = analysed(pcm)
    plan = plan_gain(before.loudness, before.true_peak_dbtp, target_lufs=-20.0)
    after = analysed(amplified(pcm, plan.gain_db))
    assert plan.reason == "target"
    assert after.loudness.integrated_lufs == pytest.approx(-20.0, abs=0.1)


@pytest.mark.parametrize(
    ("pcm", "reason"),
    [
        (signals.square(24, 96_000), "target"),  # louder than 0 LUFS as it is
        (np.ones((2, 96_000), np.float32), "ceiling"),
        (signals.music(2.0, peak=0.3), "ceiling"),
        (signals.impulses([24_000], 96_000), "ceiling"),
        (signals.square(3, 4_800), "ceiling"),
    ],
    ids=["clipped square", "full-scale constant", "quiet music", "lone sample", "short burst"],
)
def test_what_comes_out_stays_under_the_ceiling(pcm: signals.Pcm, reason: str) -> None:
    """Reliability, bad input 40: at most -1 dBTP, measured again (0.01 dB)."""
    before = analysed(pcm)
    plan = plan_gain(before.loudness, before.true_peak_dbtp, target_lufs=0.0)
    after = analysed(amplified(pcm, plan.gain_db)).true_peak_dbtp
    assert plan.reason == reason
    assert after is not None
    assert after <= -1.0 + 0.01


def test_digital_silence_gets_no_gain() -> None:
    """Reliability, bad input 39: loudness null, gain 0 dB."""
    before = analysed(signals.silence(1.0))
    assert before.loudness == SILENCE
    assert plan_gain(before.loudness, before.true_peak_dbtp).gain_db == 0.0


def test_no_gain_passes_the_block_itself_through() -> None:
    block = Block(pts=7, pcm=signals.music(0.01))
    [got] = Gain(0.0).push(block)
    assert got is block
    assert Gain(0.0).flush() == []


def test_gain_multiplies_and_keeps_place_and_precision() -> None:
    block = Block(pts=7, pcm=signals.music(0.01))
    original = block.pcm.copy()
    [got] = Gain(-6.0).push(block)
    assert (got.pts, got.pcm.dtype) == (7, np.float32)
    np.testing.assert_allclose(got.pcm, original * 10 ** (-6 / 20), rtol=1e-6)
    np.testing.assert_array_equal(block.pcm, original)


def test_nothing_is_clipped() -> None:
    """What passes full scale stays as it is: encoders take float, and a limiter is no part of a gain."""
    assert amplified(signals.square(10, 100), 12.0).max() == pytest.approx(10 ** (12 / 20))


SHARED = replace(PLAIN, is_shared=True)


@pytest.mark.parametrize(
    ("measured", "gain_db"),
    [
        ([coded(-0.5), coded(-0.4)], None),  # too quiet: it stays as far from the other tracks as it is
        ([coded(0.9)], None),
        ([coded(0.0, -0.8)], 1.7),  # 0.2 dB over the ceiling, and the margin
        ([coded(0.0, -0.82)], 1.7),  # the step below
        ([coded(-0.5, -0.8)], 1.7),
    ],
)
def test_a_shared_gain_is_only_lowered_and_by_whole_steps(
    measured: list[CodedLoudness], gain_db: float | None
) -> None:
    better = corrected(SHARED, measured)
    assert (better and better.gain_db) == gain_db
    if better is not None:
        assert better.planned_lufs == pytest.approx(-14.0 + better.gain_db - SHARED.gain_db)
        assert (better.reason, better.compensation_db, better.is_shared) == ("ceiling", 0.0, True)


@given(st.floats(-60, 60))
def test_a_step_is_at_most_its_length_below_and_is_itself(gain_db: float) -> None:
    step_db = stepped(gain_db)
    assert gain_db - STEP_DB - 1e-6 <= step_db <= gain_db + 1e-6
    assert stepped(step_db) == step_db
