"""media_server/jobs/catalogue.py: changes that may come twice, late, early and on two servers at once."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from typing import Any

import orjson
import pytest
from albums import TRACKS, live_in_album

from hls.asset import Asset, AssetDownload, AssetRendition, AssetSource, StoredFile
from media_server.broker.envelope import NO_CAUSES, Envelope, Refused
from media_server.errors import Conflict, NotFound
from media_server.jobs.albums import gain_of
from media_server.jobs.catalogue import Catalogue
from media_server.jobs.job import JobState
from media_server.jobs.making import Making
from media_server.jobs.membership import album_key, tracks_of
from media_server.jobs.publish import live_asset, point_to, put_pointer
from media_server.storage.assets import Assets, download_key, downloads_prefix
from media_server.storage.cache import ByteCache

TRACK = "0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11"
BEFORE, EARLIER, AT, LATER = (
    "2025-12-31T00:00:00.000Z",
    *(f"2026-02-0{day}T00:00:00.000Z" for day in (1, 2, 3)),
)
"""The upload of a track of these tests was accepted after the first and before the others."""

UPDATED, TRACK_DELETED, USER_DELETED = "track.updated", "track.deleted", "user.deleted"


VERSION = "0123456789abcdef"
RENDITION = AssetRendition(
    name="128k",
    codec="mp4a.40.2",
    bitrate_bps=128_000,
    rate_hz=48_000,
    channels=2,
    priming_samples=1024,
    init=StoredFile(name="init", bytes=1, sha256="", media_type=""),
    segments=(),
)


class Process:
    """A server: its own memory over what all share."""

    def __init__(self, embedded) -> None:
        self.assets = Assets(embedded.storage, ByteCache(embedded.storage, 1_000_000), ttl_s=3600.0)
        self.catalogue = Catalogue(
            storage=embedded.storage, state=embedded.state, broker=embedded.broker, assets=self.assets
        )

    async def hear(self, event_type: str, at: str | None = AT, **data: Any) -> None:
        event = Envelope(event_id=None, event_type=event_type, timestamp=at, data=data, causes=NO_CAUSES)
        await self.catalogue.apply(event)


@pytest.fixture
def process(embedded) -> Process:
    return Process(embedded)


@pytest.fixture
def other(embedded) -> Process:
    return Process(embedded)


async def live(embedded, track_id: str = TRACK) -> Asset:
    asset = await live_asset(embedded.storage, track_id)
    assert asset is not None
    return asset


async def published_with_files(embedded) -> Asset:
    """A song of which a job made an MP3, and somebody had an Ogg made."""
    files = {
        name: StoredFile(name=f"{name}-abababab.{name[:3]}", bytes=1, sha256="", media_type="audio/x")
        for name in ("mp3-320", "ogg-192")
    }
    for file in files.values():
        await embedded.storage.put(download_key(TRACK, VERSION, file.name), b"x", media_type="audio/x")
    asset = embedded.asset(
        version=VERSION,
        options={"outputs": ["mp3-320", "flac"]},
        renditions=(RENDITION,),
        source=AssetSource(
            container="wav", codec="pcm_s16le", rate_hz=44_100, channels=2, bit_depth=16, bit_rate_bps=None
        ),
        downloads=tuple(
            AssetDownload(name=name, format=name[:3], bitrate_bps=1, rate_hz=48_000, channels=2, file=file)
            for name, file in files.items()
        ),
    )
    await put_pointer(embedded.storage, embedded.state, asset)
    return asset


async def test_an_update_reaches_pointer_list_and_memory_and_nothing_else_changes(
    embedded, process: Process
) -> None:
    before = await embedded.publish()
    await process.assets.asset(TRACK)
    await process.hear(UPDATED, track_id=TRACK, visibility="private", artist="Band", somethingNew=1)
    after = await live(embedded)
    assert (after.visibility, after.artist, after.title) == ("private", "Band", "Song")
    assert (after.version, after.order, after.user_id) == (before.version, before.order, before.user_id)
    assert await process.assets.asset(TRACK) == after
    [track] = (await embedded.state.tracks()).items
    assert (track.visibility, track.artist, track.title) == ("private", "Band", "Song")


async def test_with_its_owner_a_track_changes_its_album(embedded, process: Process) -> None:
    """reliability I6: the album of one user has no track of another; both albums are answered."""
    one, two, three, *_ = TRACKS
    for track_id, user_id, gain_db in ((one, "7", -4.0), (two, "7", -4.0), (three, "8", 6.0)):
        asset = live_in_album(
            embedded.asset(track_id, user_id=user_id),
            integrated_lufs=-10.0 if track_id == two else -20.0,
            gain_db=gain_db,
        )
        await point_to(embedded.storage, embedded.state, asset)
    await process.hear(UPDATED, track_id=two, user_id="8")
    deliveries = [await embedded.broker.receive() for _ in range(3)]
    wanted = {delivery.track_id: orjson.loads(delivery.body)["gain_db"] for delivery in deliveries}
    assert wanted.keys() == {one, two, three}
    assert wanted[one] == 6.0
    assert wanted[two] == wanted[three] == await gain_of(embedded.storage, album_key("8", "album"))
    assert await tracks_of(embedded.storage, album_key("7", "album")) == (one,)


async def test_files_with_old_words_go_and_those_of_the_job_are_made_anew(
    embedded, process: Process, other: Process
) -> None:
    """The MP3 of every track at once, what somebody asked for when somebody asks again; all of it once."""
    before = await published_with_files(embedded)
    prefix = downloads_prefix(TRACK, VERSION)
    await process.hear(UPDATED, track_id=TRACK, visibility="private", userId="8")
    assert len(await embedded.storage.list(prefix)) == len(before.downloads) == 2
    for server in (process, other):
        await server.hear(UPDATED, LATER, track_id=TRACK, title="New")
    after = await live(embedded)
    assert (after.title, after.downloads) == ("New", ())
    assert await embedded.storage.list(prefix) == []
    delivery = await embedded.broker.receive()
    assert Making.model_validate_json(delivery.body).output == "mp3-320"
    await delivery.ack()
    assert await embedded.broker.receive() is None


async def test_a_file_is_made_anew_once_more_though_it_was_made_before(embedded, process: Process) -> None:
    """The record of the first making has ended."""
    for at, title in ((AT, "one"), (LATER, "two")):
        await published_with_files(embedded)
        await process.hear(UPDATED, at, track_id=TRACK, title=title)
        delivery = await embedded.broker.receive()
        job = await embedded.state.get(delivery.job_id)
        assert (job.status, job.title) == (JobState.QUEUED, f"{title} (mp3-320)")
        await embedded.state.save(job.to(JobState.RUNNING).to(JobState.COMPLETED, finished_at=at))
        await delivery.ack()


async def test_camel_case_is_read_and_a_null_empties_a_field(embedded, process: Process) -> None:
    await embedded.publish()
    await process.hear(UPDATED, trackId=TRACK, userId="8", title=None)
    after = await live(embedded)
    assert (after.user_id, after.title) == ("8", None)


async def test_an_update_that_comes_before_the_track_holds_for_it(embedded, process: Process) -> None:
    await process.hear(UPDATED, EARLIER, track_id=TRACK, visibility="private")
    assert (await embedded.publish(visibility="public")).visibility == "private"
    # what was uploaded after the change says what it is itself
    assert (await embedded.publish(order=LATER, visibility="public")).visibility == "public"


CHANGES = (
    (UPDATED, EARLIER, {"visibility": "unlisted", "title": "one"}),
    (UPDATED, AT, {"visibility": "private"}),
    (UPDATED, LATER, {"title": "two"}),
    (UPDATED, BEFORE, {"visibility": "private", "title": "none", "artist": "nobody"}),
)


@pytest.mark.parametrize("order", list(itertools.permutations(range(len(CHANGES)))))
async def test_in_whatever_order_and_how_often_they_come_the_newest_holds(
    embedded, process: Process, other: Process, order: tuple[int, ...]
) -> None:
    """Two servers, events at least once, retries that overtake each other."""
    await embedded.publish()
    for number in (*order, *order[::-1]):
        event_type, at, data = CHANGES[number]
        await (process if number % 2 else other).hear(event_type, at, track_id=TRACK, **data)
    after = await live(embedded)
    assert (after.visibility, after.title, after.artist) == ("private", "two", None)


async def test_two_servers_that_apply_everything_at_once_end_with_the_same(
    embedded, process: Process, other: Process
) -> None:
    await embedded.publish()
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        for server in (process, other):
            for event_type, at, data in CHANGES:
                tasks.create_task(server.hear(event_type, at, track_id=TRACK, **data))
    after = await live(embedded)
    assert (after.visibility, after.title, after.artist) == ("private", "two", None)
    [track] = (await embedded.state.tracks()).items
    assert (track.visibility, track.title) == ("private", "two")


async def test_the_same_event_once_more_changes_no_byte(embedded, process: Process, other: Process) -> None:
    await embedded.publish()
    await process.hear(UPDATED, track_id=TRACK, visibility="private")
    stored = {key: await embedded.storage.get(key) for key in await embedded.storage.list("tracks/")}
    await other.hear(UPDATED, track_id=TRACK, visibility="private")
    assert {key: await embedded.storage.get(key) for key in stored} == stored


async def test_a_deleted_track_is_gone_and_no_update_brings_anything_of_it_back(
    embedded, process: Process, other: Process
) -> None:
    """Contract: `track.deleted`: everything of it goes."""
    await embedded.publish()
    await process.hear(TRACK_DELETED, AT, track_id=TRACK)
    await other.hear(TRACK_DELETED, AT, track_id=TRACK)
    await other.hear(UPDATED, EARLIER, track_id=TRACK, title="late")
    with pytest.raises(NotFound):
        await process.assets.asset(TRACK)
    assert await embedded.storage.list("tracks/") == []
    assert await embedded.storage.list("amendments/") == []
    assert (await embedded.state.tracks()).items == ()


async def test_of_a_deletion_and_a_newer_upload_the_upload_stays(embedded, process: Process) -> None:
    asset = await embedded.publish(order=LATER)
    await process.hear(TRACK_DELETED, AT, track_id=TRACK)
    assert await live(embedded) == asset


async def test_a_user_goes_with_all_tracks_on_however_many_pages(
    embedded, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contract: `user.deleted`: everything of it goes; also what is only being made."""
    monkeypatch.setattr("media_server.jobs.catalogue.MAX_PAGE", 2)
    for number in range(5):
        await embedded.publish(
            str(uuid.uuid4()), user_id="gone", created_at=f"2026-01-01T00:00:0{number}.000Z"
        )
    kept = await embedded.publish(str(uuid.uuid4()), user_id="7")
    for _ in range(2):
        await process.hear(USER_DELETED, AT, user_id="gone")
        assert [track.track_id for track in (await embedded.state.tracks()).items] == [kept.track_id]
    with pytest.raises(Conflict) as caught:
        await embedded.publish(user_id="gone")
    assert caught.value.code == "deleted"
    await embedded.publish(user_id="gone", order=LATER)


@pytest.mark.parametrize(
    ("event_type", "data", "field"),
    [
        (UPDATED, {}, "track_id"),
        (UPDATED, {"track_id": "../../etc/passwd", "title": "x"}, "track_id"),
        (UPDATED, {"track_id": TRACK, "visibility": "secret"}, "visibility"),
        (UPDATED, {"track_id": TRACK, "visibility": None}, "visibility"),
        (UPDATED, {"track_id": TRACK, "title": "x" * 1025}, "title"),
        (TRACK_DELETED, {"track_id": TRACK.upper()}, "track_id"),
        (USER_DELETED, {"user_id": ""}, "user_id"),
        (USER_DELETED, {"user_id": None}, "user_id"),
    ],
)
async def test_what_is_not_understood_is_refused_and_nothing_done(
    embedded, process: Process, event_type: str, data: dict[str, Any], field: str
) -> None:
    asset = await embedded.publish()
    with pytest.raises(Refused) as caught:
        await process.hear(event_type, **data)
    assert caught.value.code == "bad_event"
    assert field in caught.value.message
    assert "etc/passwd" not in caught.value.message
    assert await live(embedded) == asset
    assert await embedded.storage.list("tombstones/") == []


async def test_another_event_is_none_of_its_business(process: Process) -> None:
    with pytest.raises(Refused) as caught:
        await process.hear("track.uploaded", track_id=TRACK)
    assert caught.value.code == "unknown_event"
