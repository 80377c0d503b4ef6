"""The loudest ten seconds, and what coding them tells before the plan is final."""

from __future__ import annotations

import numpy as np
import pyloudnorm
import pytest
import signals

from pipeline.analyze import Analysis, Analyzer
from pipeline.audit import Audit
from pipeline.encode import Encoder
from pipeline.ladder import ladder_for
from pipeline.level import Level
from pipeline.media import Block
from pipeline.normalize import GainPlan, plan_gain
from pipeline.trial import LoudestExcerpt, with_headroom

RATE_HZ = 48_000
LADDER = ladder_for(2)


def excerpt(pcm: signals.Pcm, size: int = 16_384) -> signals.Pcm:
    meter = LoudestExcerpt(len(pcm))
    for block in signals.blocks(pcm, size):
        meter.push(block)
    return meter.result()


def analysed(pcm: signals.Pcm) -> Analysis:
    analyzer = Analyzer(len(pcm))
    for block in signals.blocks(pcm):
        analyzer.push(block)
    return analyzer.result()


def tried(pcm: signals.Pcm, target_lufs: float, mode: str = "track") -> tuple[GainPlan, GainPlan]:
    analysis = analysed(pcm)
    plan = plan_gain(analysis.loudness, analysis.true_peak_dbtp, target_lufs=target_lufs, mode=mode)
    return plan, with_headroom(plan, analysis.true_peak_dbtp, analysis.excerpt, LADDER)


@pytest.mark.parametrize("size", [5_000, 48_000, 1_000_000])
def test_the_excerpt_is_where_the_peak_is(size: int) -> None:
    """Ten whole seconds of 25, on the grid of a second, whatever the Blocks."""
    pcm = signals.noise(25.0, rms=0.01)
    pcm[:, 14 * RATE_HZ + 17] = 0.9
    got = excerpt(pcm, size)
    assert got.shape == (2, 10 * RATE_HZ)
    assert np.abs(got).max() == np.float32(0.9)


def test_of_equal_peaks_the_loudest_ten_seconds_count() -> None:
    """A clipped master has its peak everywhere."""
    pcm = signals.noise(25.0, rms=0.01)
    pcm[:, 13 * RATE_HZ : 23 * RATE_HZ] *= 3
    pcm[:, :: RATE_HZ // 2] = 0.9
    np.testing.assert_array_equal(excerpt(pcm), pcm[:, 13 * RATE_HZ : 23 * RATE_HZ])


@pytest.mark.parametrize("duration_s", [1 / RATE_HZ, 0.7, 3.0, 3.5])
def test_a_short_track_is_its_own_excerpt(duration_s: float) -> None:
    pcm = signals.noise(duration_s)
    np.testing.assert_array_equal(excerpt(pcm), pcm)


def test_nothing_has_an_empty_excerpt() -> None:
    assert LoudestExcerpt(2).result().shape == (2, 0)


def clipped() -> signals.Pcm:
    """Flat tops that coding cannot keep flat: 1.6 dB over in AAC at 128k, 2.2 dB in Opus."""
    return signals.pink(3.0).clip(-0.15, 0.15)


@pytest.mark.parametrize("mode", ["track", "limit"])
def test_the_coded_excerpt_stays_under_the_ceiling(mode: str) -> None:
    """What is planned to just touch it is lowered by what coding adds; every rung then holds."""
    pcm = clipped()
    plan, lowered = tried(pcm, -3.0, mode)
    level = Level(lowered, 2)
    blocks = [*level.push(Block(pts=0, pcm=pcm)), *level.flush()]
    for rung in (LADDER[0], LADDER[-1]):
        encoder = Encoder(rung)
        packets = [packet for block in blocks for packet in encoder.push(block)] + encoder.flush()
        audit = Audit(rung, encoder.codec_config)
        audit.push(packets)
        true_peak_dbtp = audit.result().true_peak_dbtp
        assert true_peak_dbtp is not None
        assert true_peak_dbtp <= -1.0
    if mode == "track":
        assert lowered.gain_db < plan.gain_db
        assert lowered.reason == "ceiling"
        assert lowered.planned_lufs - lowered.gain_db == pytest.approx(plan.planned_lufs - plan.gain_db)
    else:
        assert lowered.gain_db == plan.gain_db
        assert lowered.limit_dbtp < plan.limit_dbtp


def test_an_independent_meter_agrees_on_the_excerpt() -> None:
    """pyloudnorm judges the loudness that the plan gives the excerpt of a short track: within 0.1 LU."""
    pcm = signals.music(4.0)
    plan, lowered = tried(pcm, -16.0)
    [block] = Level(lowered, 2).push(Block(pts=0, pcm=excerpt(pcm)))
    heard = pyloudnorm.Meter(RATE_HZ).integrated_loudness(block.pcm.T.astype(np.float64))
    assert lowered.planned_lufs == pytest.approx(heard, abs=0.1)
    assert plan.reason == "target"


def test_with_room_to_spare_the_plan_stays_as_it_is() -> None:
    plan, same = tried(signals.music(1.0), -25.0)
    assert same is plan


def test_what_is_to_stay_as_it_is_is_not_tried() -> None:
    plan, same = tried(signals.music(1.0, peak=1.0), -14.0, "off")
    assert same is plan


def test_silence_needs_no_trial() -> None:
    plan, same = tried(signals.silence(1.0), -14.0)
    assert same is plan
