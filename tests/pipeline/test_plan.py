"""The final plan: headroom for coding, a limiter settled behind it, and no pass that is not needed."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import signals

from pipeline.analyze import Analysis, Analyzer
from pipeline.ladder import ladder_for
from pipeline.media import Block
from pipeline.normalize import TOLERANCE_LU, Mode, plan_gain
from pipeline.plan import final

LADDER = ladder_for(2, ("128k", "opus-128"))


def analysed(pcm: signals.Pcm) -> Analysis:
    analyzer = Analyzer(len(pcm))
    for block in signals.blocks(pcm):
        analyzer.push(block)
    return analyzer.result()


@pytest.mark.parametrize(("mode", "needs_a_pass"), [("track", False), ("off", False), ("limit", True)])
def test_only_a_limiter_needs_another_pass_over_the_source(mode: Mode, needs_a_pass: bool) -> None:
    pcm = signals.pink(2.0).clip(-0.15, 0.15)
    passes: list[int] = []

    def track() -> Iterable[Block]:
        passes.append(1)
        return signals.blocks(pcm)

    analysis = analysed(pcm)
    plan = plan_gain(analysis.loudness, analysis.true_peak_dbtp, target_lufs=-4.0, mode=mode)
    got = final(plan, analysis, LADDER, track)
    assert bool(passes) == needs_a_pass
    if mode == "track":
        assert (got.gain_db < plan.gain_db, got.reason) == (True, "ceiling")
    if mode == "off":
        assert got is plan
    if mode == "limit":  # noise has no crests to give: the plan tells how loud it comes out, not the wish
        assert got.limit_dbtp < -1.0
        assert (got.reason, got.planned_lufs < plan.planned_lufs - TOLERANCE_LU) == ("ceiling", True)


def test_silence_stays_silence_in_every_mode() -> None:
    analysis = analysed(signals.silence(1.0))
    plan = plan_gain(analysis.loudness, analysis.true_peak_dbtp, mode="limit")
    assert final(plan, analysis, LADDER, lambda: ()) is plan
