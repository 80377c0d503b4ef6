"""The pointer moves last, whole, and never backwards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from hls.asset import Asset
from media_server.errors import Conflict, Unavailable
from media_server.jobs.handler import Handler
from media_server.jobs.job import JobRequest, now_rfc3339
from media_server.jobs.publish import (
    check_playlists,
    drop_unlisted,
    list_downloads,
    live_asset,
    must_be_newer,
    order_of,
    point_to,
    withdraw,
)
from media_server.jobs.submission import Submission
from media_server.jobs.tombstone import bury_track
from media_server.metrics import Metrics
from media_server.storage.assets import asset_key, download_key

TRACK = "0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11"


@pytest.fixture
async def asset(embedded, song) -> Asset:
    await embedded.handler.handle(await embedded.deliver(embedded.upload(song)))
    published = await live_asset(embedded.storage, TRACK)
    assert published is not None
    return published


async def test_a_track_without_a_pointer_has_nothing_live(embedded) -> None:
    assert await live_asset(embedded.storage, TRACK) is None


async def test_uploads_are_ordered_by_version_then_time_then_job(asset: Asset) -> None:
    """contract: source_version if given, else the later time, ties by id."""
    later = replace(asset, order="9999")
    versioned = replace(asset, source_version=1)
    tie = replace(asset, job_id="ffffffff")
    assert order_of(asset) < order_of(tie) < order_of(later) < order_of(versioned)
    must_be_newer(order_of(later), asset)
    must_be_newer(order_of(asset), None)
    with pytest.raises(Conflict) as caught:
        must_be_newer(order_of(asset), later)
    assert caught.value.code == "superseded"


async def test_an_older_asset_does_not_replace_the_live_one(embedded, asset: Asset) -> None:
    newer = replace(asset, order="9999")
    await point_to(embedded.storage, embedded.state, newer)
    with pytest.raises(Conflict):
        await point_to(embedded.storage, embedded.state, asset)
    assert await live_asset(embedded.storage, TRACK) == newer


async def test_a_version_that_is_made_again_replaces_only_the_one_it_was_made_of(embedded) -> None:
    """It is as old as its upload: nothing that came in between is undone."""
    before = await embedded.publish()
    again = replace(before, version="v2", remade_by="33333333-3333-4333-8333-333333333333")
    await point_to(embedded.storage, embedded.state, again, replacing="v1")
    assert await live_asset(embedded.storage, TRACK) == again
    for version in ("v1", "v3"):
        with pytest.raises(Conflict) as caught:
            await point_to(embedded.storage, embedded.state, before, replacing=version)
        assert caught.value.code == "superseded"
    late = await list_downloads(embedded.storage, embedded.state, before, "late")
    assert late == before, "files of the version before are none of this one"
    assert await live_asset(embedded.storage, TRACK) == again
    await embedded.storage.delete(asset_key(TRACK))
    with pytest.raises(Conflict, match="not live any more"):
        await point_to(embedded.storage, embedded.state, before, replacing="v1")
    await bury_track(embedded.storage, TRACK, now_rfc3339())
    with pytest.raises(Conflict, match="deleted"):
        await point_to(embedded.storage, embedded.state, before, replacing="v1")


async def test_a_playlist_that_another_parser_reads_otherwise_is_not_published(
    embedded, asset: Asset
) -> None:
    """The playlists are read again by m3u8 before anything points to them."""
    check_playlists(asset)
    check_playlists(replace(asset, renditions=asset.renditions[3:]))
    check_playlists(replace(asset, state="growing"))
    stranger = replace(asset.renditions[3], codec="alac")  # of no family: nobody could ever find it
    with pytest.raises(Unavailable) as caught:
        check_playlists(replace(asset, renditions=(*asset.renditions[:3], stranger)))
    assert caught.value.code == "bad_playlist"


@pytest.mark.parametrize(("visibility", "shared"), [("public", "public"), ("private", "private")])
async def test_objects_in_a_bucket_say_what_they_are_and_what_caches_may_do(
    embedded, song, buckets, visibility: str, shared: str
) -> None:
    """contract, Caching: a CDN reads the bucket itself. The source comes from a bucket too."""
    buckets.server.put(buckets.originals, "song.flac", song)
    source = {"bucket": buckets.originals, "key": "song.flac"}
    request = JobRequest.model_validate({"track_id": TRACK, "source": source, "visibility": visibility})
    handler = Handler(
        settings=embedded.settings,
        folders=embedded.folders,
        storage=buckets.storage,
        state=embedded.state,
        broker=embedded.broker,
        metrics=Metrics(),
        published=embedded.published.append,
        sources=buckets.sources,
    )
    submission = Submission(request=request, accepted_at=now_rfc3339())
    await handler.handle(await embedded.deliver(submission))
    published = await live_asset(buckets.storage, TRACK)
    assert published is not None
    heads = {
        key.removeprefix(f"tracks/{TRACK}/"): buckets.server.client.head_object(
            Bucket=buckets.tracks, Key=key
        )
        for key in buckets.server.keys(buckets.tracks)
    }
    pointer = heads.pop("asset.json")
    assert (pointer["ContentType"], pointer["CacheControl"]) == ("application/json", "no-cache")
    found = {(PurePosixPath(key).suffix, head["ContentType"]) for key, head in heads.items()}
    assert found == {
        (".mp4", "audio/mp4"),
        (".m4s", "audio/mp4"),
        (".dat", "application/octet-stream"),
        (".mp3", "audio/mpeg"),
    }
    assert {head["CacheControl"] for head in heads.values()} == {f"{shared}, max-age=31536000, immutable"}
    assert all(key.startswith(f"{published.version}/") for key in heads)


async def test_files_are_listed_only_where_the_version_is_live_still(embedded) -> None:
    """A newer upload, or a deletion, came while they were made."""
    older = await embedded.publish()
    newer = await embedded.publish(job_id="33333333-3333-4333-8333-333333333333", order="2026-02-01")
    assert await list_downloads(embedded.storage, embedded.state, older, "late") == older
    assert await live_asset(embedded.storage, TRACK) == newer
    listed = await list_downloads(embedded.storage, embedded.state, newer, "late")
    assert listed == await live_asset(embedded.storage, TRACK) == replace(newer, warnings=("late",))
    await bury_track(embedded.storage, TRACK, now_rfc3339())
    with pytest.raises(Conflict, match="deleted"):
        await list_downloads(embedded.storage, embedded.state, newer)


async def test_a_file_that_was_stored_and_not_listed_goes(embedded) -> None:
    """I4: an attempt that died in between leaves no orphan."""
    asset = await embedded.publish()
    orphan = download_key(TRACK, asset.version, "mp3-320-abababab.mp3")
    await embedded.storage.put(orphan, b"x", media_type="audio/mpeg")
    before = await embedded.storage.list("tracks/")
    await drop_unlisted(embedded.storage, asset)
    assert {*before} - {*await embedded.storage.list("tracks/")} == {orphan}


async def test_the_list_shows_what_is_live(embedded, asset: Asset) -> None:
    (track,) = (await embedded.state.tracks(limit=5)).items
    assert (track.track_id, track.renditions) == (TRACK, ("128k", "192k", "320k", "opus-128"))
    assert track.duration_s == pytest.approx(9.0)


async def test_what_a_job_has_shown_and_cannot_finish_is_withdrawn(embedded, asset: Asset) -> None:
    """contract, storage: if its job fails it is withdrawn; only its own, and nothing complete."""
    growing = replace(asset, state="growing")
    await point_to(embedded.storage, embedded.state, growing)
    assert not await withdraw(embedded.storage, embedded.state, TRACK, "another job")
    assert await live_asset(embedded.storage, TRACK) is not None
    assert await withdraw(embedded.storage, embedded.state, TRACK, asset.job_id)
    assert await embedded.storage.list(f"tracks/{TRACK}/") == []
    assert (await embedded.state.tracks()).items == ()
    assert not await withdraw(embedded.storage, embedded.state, TRACK, asset.job_id)
    await point_to(embedded.storage, embedded.state, asset)
    assert not await withdraw(embedded.storage, embedded.state, TRACK, asset.job_id)
    assert await live_asset(embedded.storage, TRACK) is not None
    await point_to(embedded.storage, embedded.state, replace(asset, is_final=False))
    assert await withdraw(embedded.storage, embedded.state, TRACK, asset.job_id), (
        "another version was to follow"
    )
