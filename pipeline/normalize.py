"""The one gain of a track: decided from what was measured, applied to every rendition alike.

Gain only: where the target would push the true peak over the ceiling, the ceiling lowers the gain. Nothing is
limited and nothing clipped. Source: EBU R 128 (integrated loudness, maximum true peak).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.loudness import Loudness
from pipeline.media import Block


@dataclass(frozen=True, slots=True, kw_only=True)
class GainPlan:
    """The gain and what decided it: the `target`, the `ceiling`, `silence`, or nothing (`off`)."""

    gain_db: float
    target_lufs: float
    ceiling_dbtp: float
    reason: Literal["target", "ceiling", "silence", "off"]


def plan_gain(
    loudness: Loudness,
    true_peak_dbtp: float | None,
    *,
    target_lufs: float = -14.0,
    ceiling_dbtp: float = -1.0,
    enabled: bool = True,
) -> GainPlan:
    """Decide the gain that brings a track to the target without passing the ceiling.

    What has no loudness (silence, or under 400 ms) gets none, unless its peak is over the ceiling.

    Args:
        true_peak_dbtp: of the source, None for digital silence.
        target_lufs: integrated, -70 to 0 LUFS.
        ceiling_dbtp: -20 to 0 dBTP.
        enabled: False leaves the track as it is.
    Raises:
        ValueError: the target or the ceiling is out of its range.
    """
    if not -70.0 <= target_lufs <= 0.0:
        raise ValueError(f"target_lufs is {target_lufs}, allowed are -70 to 0")
    if not -20.0 <= ceiling_dbtp <= 0.0:
        raise ValueError(f"ceiling_dbtp is {ceiling_dbtp}, allowed are -20 to 0")

    def plan(gain_db: float, reason: Literal["target", "ceiling", "silence", "off"]) -> GainPlan:
        return GainPlan(gain_db=gain_db, target_lufs=target_lufs, ceiling_dbtp=ceiling_dbtp, reason=reason)

    if not enabled:
        return plan(0.0, "off")
    room_db = float("inf") if true_peak_dbtp is None else ceiling_dbtp - true_peak_dbtp
    if loudness.integrated_lufs is None:
        return plan(min(room_db, 0.0), "ceiling" if room_db < 0 else "silence")
    wanted_db = target_lufs - loudness.integrated_lufs
    return plan(room_db, "ceiling") if room_db < wanted_db else plan(wanted_db, "target")


class Gain:
    """A stage: multiplies Blocks; 0 dB passes them through untouched.

    It neither clips nor refuses what lies above full scale. A planned gain leaves the peak under the ceiling,
    so only a source that is itself too hot and is to stay as it is (`off`) comes out that way; encoders take
    float and keep it, and cutting it here would be a distortion that no one asked for.
    """

    def __init__(self, gain_db: float) -> None:
        self._factor = np.float32(10 ** (gain_db / 20))

    def push(self, block: Block) -> list[Block]:
        if self._factor == 1:
            return [block]
        return [Block(pts=block.pts, pcm=block.pcm * self._factor)]

    def flush(self) -> list[Block]:
        return []
