"""A plan applied to a track: the gain, and behind it the limiter if the plan has one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from pipeline.limiter import Limiter
from pipeline.loudness import LoudnessMeter
from pipeline.media import Block
from pipeline.normalize import TOLERANCE_LU, Gain, GainPlan

SETTLING_PASSES = 3
"""Over the whole track, each with the gain raised by what the limiter took in the one before."""

SETTLED_LU = 0.05
"""Near enough to the target to encode: a quarter of what a rendition may be off."""

EXPECTED_SLOPE, LOWEST_SLOPE = 0.8, 0.25
"""LU for each dB of gain behind a limiter: assumed at first, and the least that is believed later."""


class Level:
    """A stage: 48 kHz Blocks of `channels` channels, as loud as planned."""

    def __init__(self, plan: GainPlan, channels: int) -> None:
        self._gain = Gain(plan.gain_db)
        self._limiter = None if plan.limit_dbtp is None else Limiter(channels, plan.limit_dbtp)

    def push(self, block: Block) -> list[Block]:
        amplified = self._gain.push(block)
        if self._limiter is None:
            return amplified
        return [out for one in amplified for out in self._limiter.push(one)]

    def flush(self) -> list[Block]:
        return self._limiter.flush() if self._limiter else []


def settle(
    plan: GainPlan, track: Callable[[], Iterable[Block]], channels: int, most_gain_db: float
) -> GainPlan:
    """Raise the gain of a plan with a limiter until the track comes out at its target.

    A limiter takes loudness with the peaks; how much only a pass over the whole track tells.

    Args:
        track: starts a pass over the source's 48 kHz Blocks.
        most_gain_db: not to be passed.
    Returns:
        the plan with `planned_lufs` as measured; its reason is `limited` if that is the target within the
        tolerance, `ceiling` if the target is out of the limiter's reach.
    """
    before, plan = None, _measured(plan, track(), channels)
    for _ in range(SETTLING_PASSES - 1):
        raised = _raised(plan, before, most_gain_db)
        if raised is None:
            break
        before, plan = plan, _measured(raised, track(), channels)
    assert plan.planned_lufs is not None
    reached = abs(plan.planned_lufs - plan.target_lufs) <= TOLERANCE_LU
    return replace(plan, reason="limited" if reached else "ceiling")


def _measured(plan: GainPlan, track: Iterable[Block], channels: int) -> GainPlan:
    level, meter = Level(plan, channels), LoudnessMeter(channels)
    for block in track:
        for out in level.push(block):
            meter.push(out)
    for out in level.flush():
        meter.push(out)
    lufs = meter.result().integrated_lufs
    return replace(plan, planned_lufs=None if lufs is None else lufs - plan.compensation_db)


def _raised(plan: GainPlan, before: GainPlan | None, most_gain_db: float) -> GainPlan | None:
    """The plan with the gain that should reach the target; None if it is reached or there is no more."""
    assert plan.planned_lufs is not None
    slope = EXPECTED_SLOPE
    if before is not None and before.planned_lufs is not None:
        slope = (plan.planned_lufs - before.planned_lufs) / (plan.gain_db - before.gain_db)
    missing_lu = plan.target_lufs - plan.planned_lufs
    raised_db = missing_lu / min(max(slope, LOWEST_SLOPE), 1.0)
    gain_db = min(plan.gain_db + raised_db, most_gain_db)
    if abs(missing_lu) <= SETTLED_LU or gain_db == plan.gain_db:
        return None
    return replace(plan, gain_db=gain_db)
