"""A plan applied: gain alone, gain behind a limiter, and the gain that reaches the target behind one."""

from __future__ import annotations

import numpy as np
import pytest
import signals

from pipeline.level import Level, settle
from pipeline.loudness import Loudness, LoudnessMeter
from pipeline.media import Block
from pipeline.normalize import MAX_LIMITING_DB, TOLERANCE_LU, GainPlan, plan_gain
from pipeline.truepeak import TruePeakMeter, dbtp


def drummed(duration_s: float = 5.0) -> signals.Pcm:
    """Quiet music with a hit of 12 dB more each half second: crests that no gain has room for."""
    pcm = signals.music(duration_s, peak=0.1)
    hits = np.zeros(pcm.shape[1], np.float32)
    for start in range(0, pcm.shape[1] - 2_400, 24_000):
        hits[start : start + 2_400] = 0.5 * np.sin(np.arange(2_400) / 20) * np.exp(-np.arange(2_400) / 400)
    return pcm + hits


def measured(pcm: signals.Pcm) -> tuple[Loudness, float]:
    loudness, peak = LoudnessMeter(len(pcm)), TruePeakMeter(len(pcm))
    loudness.push(Block(pts=0, pcm=pcm))
    peak.push(Block(pts=0, pcm=pcm))
    return loudness.result(), dbtp(peak.result()) or 0.0


def levelled(pcm: signals.Pcm, plan: GainPlan) -> signals.Pcm:
    level = Level(plan, len(pcm))
    out = [got for block in signals.blocks(pcm) for got in level.push(block)] + level.flush()
    return np.concatenate([got.pcm for got in out], axis=1)


def settled(pcm: signals.Pcm, target_lufs: float) -> GainPlan:
    loudness, true_peak_dbtp = measured(pcm)
    plan = plan_gain(loudness, true_peak_dbtp, target_lufs=target_lufs, mode="limit")
    assert plan.limit_dbtp == -1.0
    return settle(plan, lambda: signals.blocks(pcm), len(pcm), -1.0 - true_peak_dbtp + MAX_LIMITING_DB)


def test_without_a_limiter_it_is_the_gain_alone() -> None:
    pcm = signals.music(0.5)
    loudness, true_peak_dbtp = measured(pcm)
    plan = plan_gain(loudness, true_peak_dbtp)
    np.testing.assert_array_equal(levelled(pcm, plan), pcm * np.float32(10 ** (plan.gain_db / 20)))


def test_behind_a_limiter_the_target_is_reached() -> None:
    """Within the tolerance, whatever the limiter takes; the ceiling holds; gain alone stays far below."""
    pcm = drummed()
    plan = settled(pcm, -18.0)
    loudness, true_peak_dbtp = measured(levelled(pcm, plan))
    assert plan.reason == "limited"
    assert loudness.integrated_lufs == plan.planned_lufs == pytest.approx(-18.0, abs=TOLERANCE_LU)
    assert true_peak_dbtp <= -1.0
    alone = plan_gain(*measured(pcm), target_lufs=-18.0).planned_lufs
    assert alone is not None
    assert alone < -19.0


def test_a_target_out_of_reach_is_told_as_the_ceiling() -> None:
    """0 LUFS under -1 dBTP: the gain stops at the most, and the plan says how loud that is."""
    pcm = drummed(3.0)
    plan = settled(pcm, 0.0)
    loudness, true_peak_dbtp = measured(levelled(pcm, plan))
    assert plan.reason == "ceiling"
    assert plan.gain_db <= -1.0 - measured(pcm)[1] + MAX_LIMITING_DB + 1e-9
    assert loudness.integrated_lufs == plan.planned_lufs
    assert true_peak_dbtp <= -1.0
