"""The callback's fields are the contract's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from presentations import song

from hls.asset import AssetDownload, StoredFile
from hls.segment_format import SegmentFormat
from media_server.jobs import report
from media_server.jobs.job import JobError
from media_server.jobs.publish import live_asset

TRACK = "0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11"
FIELDS = {"job_id", "track_id", "status", "stream_manifest_url", "duration_seconds", "loudness", "renditions",
          "downloads", "waveform_url", "warnings", "error"}  # fmt: skip


async def test_a_completed_job_tells_the_urls_the_loudness_and_the_ladder(embedded, song) -> None:
    await embedded.handler.handle(await embedded.deliver(embedded.upload(song, options={})))
    asset = await live_asset(embedded.storage, TRACK)
    told = report.completed(asset, "https://media.example")
    assert set(told) == FIELDS
    assert told["stream_manifest_url"] == f"https://media.example/hls/{TRACK}/master.m3u8"
    assert told["duration_seconds"] == 9.0
    assert set(told["loudness"]) == {
        "integrated_lufs",
        "true_peak_dbtp",
        "range_lu",
        "gain_db",
        "target_lufs",
    }
    assert told["renditions"][0] == {
        "name": "128k", "codec": "mp4a.40.2", "bitrate": 128_000, "sample_rate": 48_000, "channels": 2
    }  # fmt: skip
    assert [rendition["name"] for rendition in told["renditions"]] == ["128k", "192k", "320k", "opus-128"]
    assert told["renditions"][3] == {
        "name": "opus-128", "codec": "opus", "bitrate": 128_000, "sample_rate": 48_000, "channels": 2
    }  # fmt: skip
    assert told["downloads"] == [
        {
            "format": "mp3",
            "bitrate": 320_000,
            "url": f"https://media.example/tracks/{TRACK}/audio.mp3?bitrate=320",
        }
    ]
    assert orjson.dumps(told)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"rate_hz": 44_100}, "audio.mp3?bitrate=320&rate=44100"),
        ({"format": "flac", "bitrate_bps": None, "rate_hz": 96_000}, "audio.flac"),
    ],
)
def test_a_download_s_address_names_that_file_and_no_other(changes: dict[str, Any], path: str) -> None:
    file = StoredFile(name="x", bytes=1, sha256="", media_type="audio/mpeg")
    told = {
        "name": "x",
        "format": "mp3",
        "bitrate_bps": 320_000,
        "rate_hz": 48_000,
        "channels": 2,
        "file": file,
    }
    assert report.download_path(TRACK, AssetDownload(**{**told, **changes})) == f"/tracks/{TRACK}/{path}"


async def test_a_track_of_opus_alone_is_played_from_its_own_master(embedded, song) -> None:
    """The one URL of the callback must play."""
    options = {"ladder": ["opus-128"], "outputs": []}
    await embedded.handler.handle(await embedded.deliver(embedded.upload(song, options=options)))
    told = report.completed(await live_asset(embedded.storage, TRACK), "")
    assert told["stream_manifest_url"] == f"/hls/{TRACK}/master-opus.m3u8"
    assert [rendition["name"] for rendition in told["renditions"]] == ["opus-128"]


def test_the_playlist_is_in_the_format_that_the_job_asked_for() -> None:
    """contract, options: segment_format."""
    for segment_format, master in ((SegmentFormat.FMP4, "master.m3u8"), (SegmentFormat.TS, "master-ts.m3u8")):
        asset = replace(song(), segment_format=segment_format)
        told = report.completed(asset, "https://media.example")
        assert told["stream_manifest_url"] == f"https://media.example/hls/{asset.track_id}/{master}"


def test_a_failed_job_tells_its_code_and_the_limits() -> None:
    told = report.failed("j", TRACK, JobError(code="too_long", message="m", limits={"MAX_DURATION_S": 5.0}))
    assert set(told) == FIELDS
    assert told["error"] == {
        "code": "too_long", "message": "m", "retryable": False, "limits": {"MAX_DURATION_S": 5.0}
    }  # fmt: skip
