"""A plan made final before the first byte is encoded: headroom for coding, and a limiter's cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pipeline.analyze import Analysis
from pipeline.ladder import Ladder
from pipeline.level import settle
from pipeline.media import Block
from pipeline.normalize import MAX_LIMITING_DB, GainPlan
from pipeline.trial import with_headroom


def final(
    plan: GainPlan, analysis: Analysis, ladder: Ladder, track: Callable[[], Iterable[Block]]
) -> GainPlan:
    """The plan with headroom for coding and, where it has a limiter, settled behind it.

    Args:
        track: starts a pass over the source's 48 kHz Blocks; only a limiter needs any.
    """
    plan = with_headroom(plan, analysis.true_peak_dbtp, analysis.excerpt, ladder)
    if plan.limit_dbtp is None or analysis.true_peak_dbtp is None:
        return plan
    most_gain_db = plan.ceiling_dbtp - analysis.true_peak_dbtp + MAX_LIMITING_DB
    plan = settle(plan, track, analysis.channels, most_gain_db)
    tried = with_headroom(plan, analysis.true_peak_dbtp, analysis.excerpt, ladder)
    # with more gain, coding may need more headroom, which in turn costs some loudness
    return plan if tried == plan else settle(tried, track, analysis.channels, most_gain_db)
