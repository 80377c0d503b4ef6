"""The one gain of a track: decided from what was measured, applied to every rendition alike.

`track` is gain only: where the target would push the true peak over the ceiling, the ceiling lowers the gain.
`limit` puts a limiter where that would be, and the gain reaches the target. Nothing is ever clipped. A plan
says how loud the track comes out of it; what the renditions really measure may correct it.
Source: EBU R 128 (integrated loudness, maximum true peak).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pipeline.loudness import Loudness
from pipeline.media import Block

Mode = Literal["track", "limit", "off"]
Reason = Literal["target", "limited", "ceiling", "silence", "off"]

MAX_LIMITING_DB = 12.0
"""How far a limiter may take peaks down; beyond it the ceiling rules again: the sound would be squashed."""

TOLERANCE_LU = 0.2
"""How far a rendition may be from the plan's loudness."""

MARGIN_DB = 0.1
"""Aimed below the ceiling where coding comes up to it: a peak moves from one coding to the next."""

STEP_DB = 0.05
"""A gain that tracks share is one of these steps, so that it is the same for all, or heard to be another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GainPlan:
    """The gain and what decided it: `target`, `limited`, `ceiling`, `silence`, or nothing (`off`).

    `limit_dbtp` is where a limiter behind the gain holds the true peak, None where there is no limiter.
    `planned_lufs` is how loud the track comes out; None for what has no loudness. `compensation_db` is the
    part of the gain that makes up for what coding was seen to change. A gain that `is_shared` with other
    tracks makes up for nothing: it only ever gets lower, step by step.
    """

    gain_db: float
    target_lufs: float
    ceiling_dbtp: float
    reason: Reason
    planned_lufs: float | None
    limit_dbtp: float | None = None
    compensation_db: float = 0.0
    is_shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedLoudness:
    """What a rendition measures once it is decoded again; None as of a source.

    `loss_lu` is the most that a loud block of 400 ms has lost (`pipeline.fidelity`).
    """

    integrated_lufs: float | None
    true_peak_dbtp: float | None
    loss_lu: float = 0.0


def plan_gain(
    loudness: Loudness,
    true_peak_dbtp: float | None,
    *,
    target_lufs: float = -14.0,
    ceiling_dbtp: float = -1.0,
    mode: Mode = "track",
) -> GainPlan:
    """Decide the gain that brings a track to the target without passing the ceiling.

    What has no loudness (silence, or under 400 ms) gets none, unless its peak is over the ceiling. Of a plan
    with a limiter, neither what it costs nor whether the target is reached is known yet: `level` measures it.

    Args:
        true_peak_dbtp: of the source, None for digital silence.
        target_lufs: integrated, -70 to 0 LUFS.
        ceiling_dbtp: -20 to 0 dBTP.
        mode: `off` leaves the track as it is.
    Raises:
        ValueError: the target or the ceiling is out of its range.
    """
    if not -70.0 <= target_lufs <= 0.0:
        raise ValueError(f"target_lufs is {target_lufs}, allowed are -70 to 0")
    if not -20.0 <= ceiling_dbtp <= 0.0:
        raise ValueError(f"ceiling_dbtp is {ceiling_dbtp}, allowed are -20 to 0")
    measured_lufs = loudness.integrated_lufs

    def plan(gain_db: float, reason: Reason, limit_dbtp: float | None = None) -> GainPlan:
        return GainPlan(
            gain_db=gain_db,
            target_lufs=target_lufs,
            ceiling_dbtp=ceiling_dbtp,
            reason=reason,
            planned_lufs=None if measured_lufs is None else measured_lufs + gain_db,
            limit_dbtp=limit_dbtp,
        )

    if mode == "off":
        return plan(0.0, "off")
    room_db = float("inf") if true_peak_dbtp is None else ceiling_dbtp - true_peak_dbtp
    if measured_lufs is None:
        return plan(min(room_db, 0.0), "ceiling" if room_db < 0 else "silence")
    wanted_db = target_lufs - measured_lufs
    if wanted_db <= room_db:
        return plan(wanted_db, "target")
    if mode == "track":
        return plan(room_db, "ceiling")
    return plan(min(wanted_db, room_db + MAX_LIMITING_DB), "limited", ceiling_dbtp)


def lowered(plan: GainPlan, by_db: float) -> GainPlan:
    """The plan with its peaks that much lower: by the limiter where there is one, else by the gain."""
    if plan.limit_dbtp is not None:
        return replace(plan, limit_dbtp=plan.limit_dbtp - by_db)
    gain_db = stepped(plan.gain_db - by_db) if plan.is_shared else plan.gain_db - by_db
    planned_lufs = None if plan.planned_lufs is None else plan.planned_lufs + gain_db - plan.gain_db
    return replace(plan, gain_db=gain_db, planned_lufs=planned_lufs, reason="ceiling")


def stepped(gain_db: float) -> float:
    """The highest step that is not above it; a step is itself."""
    return round(math.floor(gain_db / STEP_DB + 1e-6) * STEP_DB, 2)


def misses(plan: GainPlan, coded: CodedLoudness) -> bool:
    """True if the rendition is over the ceiling, or further from the planned loudness than the tolerance.

    A track that is to stay as it is (`off`) has no plan to miss.
    """
    if plan.reason == "off":
        return False
    return _over_db(plan, [coded]) > 0 or abs(_off_lu(plan, coded)) > TOLERANCE_LU


def corrected(plan: GainPlan, coded: Sequence[CodedLoudness]) -> GainPlan | None:
    """The plan that brings renditions that miss this one to it; None if none does, or no gain would help.

    One gain cannot help renditions that miss the loudness to both sides: that is left as it is. A gain that
    is shared helps none: the tracks stay as far apart as they are.
    """
    if not any(misses(plan, each) for each in coded):
        return None
    off_lu = [_off_lu(plan, each) for each in coded]
    shift_db = 0.0
    is_off = max(map(abs, off_lu)) > TOLERANCE_LU and not plan.is_shared
    if is_off and max(off_lu) - min(off_lu) <= 2 * TOLERANCE_LU:
        shift_db = -(max(off_lu) + min(off_lu)) / 2
    compensation_db = plan.compensation_db + shift_db
    shifted = replace(plan, gain_db=plan.gain_db + shift_db, compensation_db=compensation_db)
    # behind a limiter the peaks stay where they are
    over_db = _over_db(plan, coded) + (shift_db if plan.limit_dbtp is None else 0.0)
    better = lowered(shifted, over_db + MARGIN_DB) if over_db > 0 else shifted
    return better if better != plan else None


def _off_lu(plan: GainPlan, coded: CodedLoudness) -> float:
    if coded.integrated_lufs is None or plan.planned_lufs is None:
        return 0.0
    return coded.integrated_lufs - plan.planned_lufs


def _over_db(plan: GainPlan, coded: Sequence[CodedLoudness]) -> float:
    """By how much the highest true peak passes the ceiling; negative below it."""
    peaks = [each.true_peak_dbtp for each in coded if each.true_peak_dbtp is not None]
    return max(peaks, default=float("-inf")) - plan.ceiling_dbtp


class Gain:
    """A stage: multiplies Blocks; 0 dB passes them through untouched.

    It neither clips nor refuses what lies above full scale. A planned gain leaves the peak under the ceiling,
    or a limiter behind it does; only a source that is itself too hot and is to stay as it is (`off`) comes
    out that way. Encoders take float and keep it, and cutting it here would be a distortion that no one
    asked for.
    """

    def __init__(self, gain_db: float) -> None:
        self._factor = np.float32(10 ** (gain_db / 20))

    def push(self, block: Block) -> list[Block]:
        if self._factor == 1:
            return [block]
        return [Block(pts=block.pts, pcm=block.pcm * self._factor)]

    def flush(self) -> list[Block]:
        return []
