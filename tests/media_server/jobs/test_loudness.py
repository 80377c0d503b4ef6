"""What an asset tells of its loudness comes back as what it was made by."""

from __future__ import annotations

from dataclasses import replace

from hls.loudness import CodedLoudness
from media_server.jobs.events import AlbumPlanned, Planned
from media_server.jobs.loudness import file_loudness, plan_of, share_in, told_loudness
from media_server.jobs.options import LoudnessOptions
from pipeline.album import Share
from pipeline.programme import Programme
from pipeline.replaygain import FileLoudness

PLANNED = Planned(
    samples=5_000,
    channels=2,
    integrated_lufs=-11.0,
    range_lu=5.0,
    true_peak_dbtp=-0.5,
    gain_db=-3.5,
    reason="ceiling",
    planned_lufs=-14.5,
    limit_dbtp=-1.5,
)
ALBUM = AlbumPlanned(
    integrated_lufs=-10.0, true_peak_dbtp=0.5, most_gain_db=-0.55, blocks=((5_900, 7), (5_950, 1))
)
WANTED = LoudnessOptions(target_lufs=-15.0, ceiling_dbtp=-2.0)


def test_a_plan_comes_back_as_it_was_told() -> None:
    coded = CodedLoudness(integrated_lufs=-14.4, true_peak_dbtp=-1.6)
    told = told_loudness(PLANNED, WANTED, {"128k": coded})
    assert (told.mode, told.measured, told.album) == ("track", {"128k": coded}, None)
    plan = plan_of(told)
    assert (plan.gain_db, plan.planned_lufs, plan.limit_dbtp, plan.reason) == (-3.5, -14.5, -1.5, "ceiling")
    assert (plan.target_lufs, plan.ceiling_dbtp, plan.is_shared) == (-15.0, -2.0, False)
    assert file_loudness(told) == FileLoudness(integrated_lufs=-11.0, true_peak_dbtp=-0.5)


def test_a_share_comes_back_as_it_was_told(embedded) -> None:
    wanted = WANTED
    told = told_loudness(PLANNED.model_copy(update={"album": ALBUM}), wanted, {})
    assert plan_of(told).is_shared
    assert file_loudness(told.album) == FileLoudness(integrated_lufs=-10.0, true_peak_dbtp=0.5)
    assert share_in(embedded.asset(loudness=told)) == Share(
        programme=Programme(((5_900, 7), (5_950, 1))),
        target_lufs=-15.0,
        true_peak_dbtp=-0.5,
        most_gain_db=-0.55,
    )


def test_a_track_of_no_album_brings_nothing(embedded) -> None:
    told = told_loudness(PLANNED, WANTED, {})
    assert share_in(embedded.asset(loudness=replace(told, album=None))) == Share()
