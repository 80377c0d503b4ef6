"""Between the loudness that `asset.json` tells and the values that the pipeline plans with, both ways.

Pure.
"""

from __future__ import annotations

from pydantic import TypeAdapter

from hls.asset import Asset
from hls.loudness import AssetAlbum, AssetLoudness, CodedLoudness
from media_server.jobs.events import Planned
from media_server.jobs.options import LoudnessOptions
from pipeline.album import Share
from pipeline.normalize import GainPlan
from pipeline.programme import Programme
from pipeline.replaygain import FileLoudness

_PLAN = TypeAdapter(GainPlan)


def told_loudness(
    plan: Planned, wanted: LoudnessOptions, measured: dict[str, CodedLoudness]
) -> AssetLoudness:
    """What the asset says of a plan, and of what came of it."""
    return AssetLoudness(
        integrated_lufs=plan.integrated_lufs,
        true_peak_dbtp=plan.true_peak_dbtp,
        range_lu=plan.range_lu,
        gain_db=plan.gain_db,
        target_lufs=wanted.target_lufs,
        momentary_max_lufs=plan.momentary_max_lufs,
        short_term_max_lufs=plan.short_term_max_lufs,
        mode=wanted.mode,
        reason=plan.reason,
        ceiling_dbtp=wanted.ceiling_dbtp,
        limit_dbtp=plan.limit_dbtp,
        planned_lufs=plan.planned_lufs,
        measured=measured,
        album=None if plan.album is None else AssetAlbum(**plan.album.model_dump()),
    )


def plan_of(told: AssetLoudness) -> GainPlan:
    """The plan that the track's renditions were made by; a version with a known source tells all of it."""
    return _PLAN.validate_python(
        {
            "gain_db": told.gain_db,
            "target_lufs": told.target_lufs,
            "ceiling_dbtp": told.ceiling_dbtp,
            "reason": told.reason,
            "planned_lufs": told.planned_lufs,
            "limit_dbtp": told.limit_dbtp,
            "is_shared": told.album is not None,
        }
    )


def file_loudness(told: AssetLoudness | AssetAlbum) -> FileLoudness:
    """How loud the source is, or its album."""
    return FileLoudness(integrated_lufs=told.integrated_lufs, true_peak_dbtp=told.true_peak_dbtp)


def share_in(asset: Asset) -> Share:
    """What the track brings to its album; nothing if its gain is not one of an album."""
    told = asset.loudness
    if told.album is None:
        return Share()
    return Share(
        programme=Programme(told.album.blocks),
        target_lufs=told.target_lufs,
        true_peak_dbtp=told.true_peak_dbtp,
        most_gain_db=told.album.most_gain_db,
    )
