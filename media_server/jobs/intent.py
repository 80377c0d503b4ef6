"""The child's part in planning: the gain that a track is to have, by itself or with the rest of its album.

Pure; what coding makes of the plan is for `pipeline.plan` and the measuring behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from media_server.jobs.events import AlbumPlanned, Planned
from pipeline.album import AlbumGain, Share, album_gain, merged, plan_of, share_of
from pipeline.analyze import Analysis
from pipeline.ladder import Ladder
from pipeline.normalize import GainPlan, Mode, plan_gain
from pipeline.replaygain import FileLoudness

WantedMode = Mode | Literal["album"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Intent:
    """The plan before anything is encoded; `share` and `gain` are there in mode `album`."""

    analysis: Analysis
    plan: GainPlan
    share: Share | None = None
    gain: AlbumGain | None = None

    @property
    def album(self) -> FileLoudness | None:
        """How loud the album is, before the gain."""
        if self.gain is None:
            return None
        return FileLoudness(
            integrated_lufs=self.gain.integrated_lufs, true_peak_dbtp=self.gain.true_peak_dbtp
        )

    def told(self, plan: GainPlan, ladder: Ladder, warnings: tuple[str, ...]) -> Planned:
        """What was measured, and the plan that came of this one.

        Args:
            ladder: of which all that is lossy begins at once; what is lossless, only where nothing else is.
        """
        lossy = tuple(rendition.name for rendition in ladder if not rendition.codec.is_lossless)
        analysis = self.analysis
        return Planned(
            samples=analysis.samples,
            channels=analysis.channels,
            integrated_lufs=analysis.loudness.integrated_lufs,
            range_lu=analysis.loudness.range_lu,
            true_peak_dbtp=analysis.true_peak_dbtp,
            gain_db=plan.gain_db,
            reason=plan.reason,
            planned_lufs=plan.planned_lufs,
            limit_dbtp=plan.limit_dbtp,
            momentary_max_lufs=analysis.levels.momentary_max_lufs,
            short_term_max_lufs=analysis.levels.short_term_max_lufs,
            warnings=warnings,
            is_thorough=any(rendition.is_thorough for rendition in ladder),
            begins=lossy or tuple(rendition.name for rendition in ladder),
            album=self._album_told(plan),
        )

    def _album_told(self, plan: GainPlan) -> AlbumPlanned | None:
        if self.gain is None or self.share is None:
            return None
        share = self.share.shown(self.gain.gain_db, plan.gain_db)
        return AlbumPlanned(
            integrated_lufs=self.gain.integrated_lufs,
            true_peak_dbtp=self.gain.true_peak_dbtp,
            most_gain_db=share.most_gain_db,
            blocks=share.programme.blocks,
        )


def intent_of(
    analysis: Analysis,
    ladder: Ladder,
    *,
    mode: WantedMode,
    target_lufs: float,
    ceiling_dbtp: float,
    others: Share,
    most_gain_db: float | None,
) -> Intent:
    """Plan the gain.

    Args:
        others: what the other tracks bring, in mode `album`.
        most_gain_db: see `pipeline.album.share_of`.
    """
    if mode != "album":
        plan = plan_gain(
            analysis.loudness,
            analysis.true_peak_dbtp,
            target_lufs=target_lufs,
            ceiling_dbtp=ceiling_dbtp,
            mode=mode,
        )
        return Intent(analysis=analysis, plan=plan)
    share = share_of(
        analysis,
        tuple(rendition for rendition in ladder if not rendition.codec.is_lossless),
        target_lufs=target_lufs,
        ceiling_dbtp=ceiling_dbtp,
        most_gain_db=most_gain_db,
    )
    gain = album_gain(merged((share, others)))
    plan = plan_of(gain, analysis, target_lufs=target_lufs, ceiling_dbtp=ceiling_dbtp)
    return Intent(analysis=analysis, plan=plan, share=share, gain=gain)
