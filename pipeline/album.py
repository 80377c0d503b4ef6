"""The one gain of an album: decided from all its tracks together, applied to each of them alike.

What a track brings is a share; the shares of several are a share again, in whatever order they are merged. So
the album's gain is a function of its tracks alone: not of their order, not of the gains they had before.
Source: ReplayGain 2.0 (album gain), EBU R 128 s1; ITU-R BS.1770-5 gates over all blocks of the album.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pipeline.analyze import Analysis
from pipeline.ladder import Ladder
from pipeline.normalize import GainPlan, Reason, stepped
from pipeline.programme import Programme, together
from pipeline.trial import with_headroom

HIGHEST_TARGET_LUFS = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What a track, or several, bring to an album; without arguments nothing.

    `most_gain_db` is the highest gain that keeps the true peak under the ceiling, coded too; None where
    there is no peak (digital silence). Of several wishes the lowest target counts, and the lowest ceiling.
    """

    programme: Programme = field(default_factory=Programme)
    target_lufs: float = HIGHEST_TARGET_LUFS
    true_peak_dbtp: float | None = None
    most_gain_db: float | None = None

    def shown(self, gain_db: float, made_db: float) -> Share:
        """As making it has shown it to be: what was lowered from `gain_db` to `made_db` bears no more."""
        return replace(self, most_gain_db=made_db) if made_db < gain_db else self


@dataclass(frozen=True, slots=True, kw_only=True)
class AlbumGain:
    """The gain, what decided it, and what the album measures before it; None for silence."""

    gain_db: float
    reason: Reason
    integrated_lufs: float | None
    true_peak_dbtp: float | None


def merged(shares: Iterable[Share]) -> Share:
    """What they bring together."""
    known = tuple(shares)
    peaks = [share.true_peak_dbtp for share in known if share.true_peak_dbtp is not None]
    gains = [share.most_gain_db for share in known if share.most_gain_db is not None]
    return Share(
        programme=together(share.programme for share in known),
        target_lufs=min((share.target_lufs for share in known), default=HIGHEST_TARGET_LUFS),
        true_peak_dbtp=max(peaks, default=None),
        most_gain_db=min(gains, default=None),
    )


def album_gain(album: Share) -> AlbumGain:
    """The gain that brings the whole album to its target, as far as each of its tracks bears it.

    An album without loudness (silence, or nothing of 400 ms) gets none, unless a peak is over the ceiling.
    """
    room_db = float("inf") if album.most_gain_db is None else album.most_gain_db
    lufs = album.programme.integrated_lufs
    wanted_db = 0.0 if lufs is None else album.target_lufs - lufs
    enough: Reason = "silence" if lufs is None else "target"
    return AlbumGain(
        gain_db=stepped(min(wanted_db, room_db)),
        reason=enough if wanted_db <= room_db else "ceiling",
        integrated_lufs=lufs,
        true_peak_dbtp=album.true_peak_dbtp,
    )


def share_of(
    analysis: Analysis,
    ladder: Ladder,
    *,
    target_lufs: float,
    ceiling_dbtp: float,
    most_gain_db: float | None = None,
) -> Share:
    """What a track brings: its blocks, and the gain that a trial of its loudest seconds bears.

    The trial is at the ceiling, whatever gain the album has: the share is one of the track alone.

    Args:
        ladder: the lossy renditions.
        most_gain_db: what the same track was seen to bear before; it bears no more now.
    """
    share = Share(
        programme=analysis.programme,
        target_lufs=target_lufs,
        true_peak_dbtp=analysis.true_peak_dbtp,
        most_gain_db=None,
    )
    if analysis.true_peak_dbtp is None:
        return share
    room_db = stepped(ceiling_dbtp - analysis.true_peak_dbtp)
    highest = AlbumGain(gain_db=room_db, reason="ceiling", integrated_lufs=None, true_peak_dbtp=None)
    tried = with_headroom(
        plan_of(highest, analysis, target_lufs=target_lufs, ceiling_dbtp=ceiling_dbtp),
        analysis.true_peak_dbtp,
        analysis.excerpt,
        ladder,
    )
    known_db = tried.gain_db if most_gain_db is None else min(tried.gain_db, most_gain_db)
    return replace(share, most_gain_db=known_db)


def plan_of(gain: AlbumGain, analysis: Analysis, *, target_lufs: float, ceiling_dbtp: float) -> GainPlan:
    """A track's plan of its album's gain: as far from the target as the track is from the album."""
    lufs = analysis.loudness.integrated_lufs
    return GainPlan(
        gain_db=gain.gain_db,
        target_lufs=target_lufs,
        ceiling_dbtp=ceiling_dbtp,
        reason=gain.reason,
        planned_lufs=None if lufs is None else lufs + gain.gain_db,
        is_shared=True,
    )
