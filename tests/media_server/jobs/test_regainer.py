"""A live track is made again with its album's gain; whatever else happens meanwhile, that one holds."""

from __future__ import annotations

import asyncio

import pytest
from albums import OPTIONS, TRACKS, live_in_album, song

from hls.asset import Asset
from media_server.broker.base import Delivery
from media_server.broker.envelope import NO_CAUSES, UPDATED, Envelope
from media_server.jobs.catalogue import Catalogue
from media_server.jobs.fate import MAX_ATTEMPTS
from media_server.jobs.job import Job, JobRequest, JobState, now_rfc3339
from media_server.jobs.publish import live_asset, point_to
from media_server.jobs.regain import Regain
from media_server.jobs.submission import Submission, submit
from media_server.jobs.tombstone import bury_track
from media_server.jobs.worker import Worker
from media_server.metrics import Metrics
from media_server.storage.assets import Assets, asset_key, track_prefix, version_prefix
from media_server.storage.cache import ByteCache

QUIET, LOUD, THIRD, *_ = TRACKS
SAID = {"album_id": "album", "user_id": "7", "options": OPTIONS}
LOUD_LUFS = -5.0


async def made(embedded, track_id: str, level_db: float = -30.0, **said: object) -> Asset:
    """The track of an upload in the album, made by a job."""
    submission = embedded.upload(song(level_db), track_id, **{**SAID, **said})
    await embedded.handler.handle(await embedded.deliver(submission))
    return await live(embedded, track_id)


async def made_of_nothing(embedded, **changes: object) -> Asset:
    """The same, without the work: its original is not kept."""
    asset = live_in_album(embedded.asset(QUIET), integrated_lufs=-20.0, gain_db=6.0, **changes)
    return await point_to(embedded.storage, embedded.state, asset)


async def live(embedded, track_id: str = QUIET) -> Asset:
    asset = await live_asset(embedded.storage, track_id)
    assert asset is not None
    return asset


async def louder_album(embedded) -> Asset:
    """Another track of the album is live by now."""
    loud = live_in_album(embedded.asset(LOUD), integrated_lufs=LOUD_LUFS, gain_db=-9.0)
    return await point_to(embedded.storage, embedded.state, loud)


async def asked(embedded, asset: Asset) -> Delivery:
    regain = Regain(track_id=asset.track_id, version=asset.version, gain_db=-9.0)
    await embedded.broker.publish(regain.job_id, regain.track_id, regain.to_json())
    delivery = await embedded.broker.receive()
    assert delivery is not None
    assert delivery.job_id == regain.job_id
    return delivery


async def job_of(embedded, delivery: Delivery) -> Job | None:
    job: Job | None = await embedded.state.get(delivery.job_id)
    return job


async def told(embedded) -> list[dict[str, object]]:
    """The callbacks, in order."""
    found = []
    while (callback := await embedded.outbox.claim()) is not None:
        found.append(callback.body)
        await embedded.outbox.done(callback.id)
    return found


async def test_a_track_gets_its_album_s_gain_and_stays_what_it_was(embedded) -> None:
    """Same upload, same place in the list, another version; the companion is told in its turn."""
    before = await made(embedded, QUIET, title="Quiet", visibility="public")
    assert (before.loudness.mode, before.loudness.gain_db > 0) == ("album", True)
    await louder_album(embedded)
    delivery = await asked(embedded, before)
    await embedded.regainer.handle(delivery)
    after = await live(embedded)
    loudness = after.loudness
    assert loudness.album.integrated_lufs < LOUD_LUFS
    assert loudness.gain_db == pytest.approx(-14.0 - loudness.album.integrated_lufs, abs=0.06)
    assert loudness.planned_lufs == pytest.approx(before.loudness.integrated_lufs + loudness.gain_db)
    assert loudness.measured["128k"].integrated_lufs == pytest.approx(loudness.planned_lufs, abs=0.2)
    assert after.version != before.version
    assert after.remade_by == delivery.job_id
    for kept in ("job_id", "order", "created_at", "title", "visibility", "user_id", "album_id", "options"):
        assert getattr(after, kept) == getattr(before, kept), kept
    for name in (segment.name for segment in after.renditions[0].segments):
        assert await embedded.storage.get(f"{version_prefix(QUIET, after.version)}128k/{name}")
    assert await embedded.storage.list(version_prefix(QUIET, before.version)), "who is listening goes on"
    first, second = await told(embedded)
    assert (first["sequence"], second["sequence"]) == (1, 2)
    assert (second["job_id"], second["status"]) == (delivery.job_id, "completed")
    assert second["job_id"] != first["job_id"]
    assert second["loudness"]["gain_db"] == loudness.gain_db
    job = await job_of(embedded, delivery)
    assert (job.status, job.percent, job.title) == (JobState.COMPLETED, 100.0, "Quiet")
    assert not list(embedded.folders.attempts.iterdir())


async def test_where_the_gain_fits_nothing_happens_and_nobody_is_told(embedded) -> None:
    """The album changed, and changed back, while the wish waited."""
    before = await made_of_nothing(embedded)
    delivery = await asked(embedded, before)
    await embedded.regainer.handle(delivery)
    assert await live(embedded) == before
    assert await job_of(embedded, delivery) is None
    assert await told(embedded) == []
    assert await embedded.broker.receive() is None


@pytest.mark.parametrize("changed", [{"version": "1" * 16}, {"album_id": None}])
async def test_of_a_version_that_was_replaced_nothing_is_made(embedded, changed: dict[str, object]) -> None:
    """It was made with the gain of its time, or is in no album any more."""
    asset = await made_of_nothing(embedded)
    await louder_album(embedded)
    live_now = await made_of_nothing(embedded, **changed)
    delivery = await asked(embedded, asset)
    await embedded.regainer.handle(delivery)
    assert await live(embedded) == live_now
    assert await job_of(embedded, delivery) is None


async def test_of_a_deleted_track_nothing_comes_back(embedded) -> None:
    before = await made_of_nothing(embedded)
    await embedded.storage.delete(asset_key(QUIET))
    await embedded.regainer.handle(await asked(embedded, before))
    assert await live_asset(embedded.storage, QUIET) is None


@pytest.mark.slow
async def test_an_upload_that_goes_live_meanwhile_holds(embedded) -> None:
    """contract: the newer wins; what is made again is as old as its upload."""
    before = await made(embedded, QUIET)
    await louder_album(embedded)
    delivery = await asked(embedded, before)
    newer = embedded.asset(QUIET, order=now_rfc3339(), title="Newer")
    regainer = embedded.regainer

    async def interrupted() -> None:
        await stage_of(embedded, delivery, "encode")
        await point_to(embedded.storage, embedded.state, newer)

    await asyncio.gather(regainer.handle(delivery), interrupted())
    assert await live(embedded) == newer
    assert (await job_of(embedded, delivery)).error.code == "superseded"
    assert [body["status"] for body in await told(embedded)] == ["completed"], "of the upload"


async def stage_of(embedded, delivery: Delivery, stage: str) -> None:
    async with asyncio.timeout(30):
        while (job := await job_of(embedded, delivery)) is None or job.stage != stage:  # noqa: ASYNC110 - its record is all it shows
            await asyncio.sleep(0)


@pytest.mark.slow
async def test_a_track_that_is_deleted_meanwhile_stays_deleted(embedded) -> None:
    before = await made(embedded, QUIET)
    await louder_album(embedded)
    delivery = await asked(embedded, before)

    async def deleted() -> None:
        await stage_of(embedded, delivery, "encode")
        await bury_track(embedded.storage, QUIET, now_rfc3339())
        await embedded.storage.delete(asset_key(QUIET))

    await asyncio.gather(embedded.regainer.handle(delivery), deleted())
    assert await embedded.storage.list(track_prefix(QUIET)) == []
    assert (await job_of(embedded, delivery)).error.code == "deleted"
    assert [body["status"] for body in await told(embedded)] == ["completed"]


@pytest.mark.slow
async def test_what_was_changed_of_a_track_stays_changed(embedded) -> None:
    """track.updated before and while it is made again."""
    assets = Assets(embedded.storage, ByteCache(embedded.storage, 1_000))
    catalogue = Catalogue(
        storage=embedded.storage, state=embedded.state, broker=embedded.broker, assets=assets
    )

    async def change(**data: object) -> None:
        event = Envelope(
            event_id=None,
            event_type=UPDATED,
            timestamp=now_rfc3339(),
            data={"track_id": QUIET, **data},
            causes=NO_CAUSES,
        )
        await catalogue.apply(event)

    await made(embedded, QUIET, title="Old", artist="Band", visibility="public")
    await change(title="New", artist=None)
    await louder_album(embedded)
    delivery = await asked(embedded, await live(embedded))

    async def hidden() -> None:
        await stage_of(embedded, delivery, "encode")
        await change(visibility="private")

    await asyncio.gather(embedded.regainer.handle(delivery), hidden())
    after = await live(embedded)
    assert after.remade_by == delivery.job_id
    assert (after.title, after.artist, after.visibility) == ("New", None, "private")


async def test_a_crash_behind_the_pointer_makes_nothing_twice_and_still_tells(embedded) -> None:
    """reliability I4, F7: the message comes again, the version is live; nobody was told or asked yet."""
    before = await made_of_nothing(embedded)
    await louder_album(embedded)
    delivery = await asked(embedded, before)
    after = await made_of_nothing(embedded, version="1" * 16, remade_by=delivery.job_id)
    await embedded.regainer.handle(delivery)
    assert await live(embedded) == after
    assert (await job_of(embedded, delivery)).status is JobState.COMPLETED
    [callback] = await told(embedded)
    assert callback["job_id"] == delivery.job_id
    assert (await embedded.broker.receive()).track_id == QUIET, "its own gain was not settled yet"


@pytest.mark.slow
async def test_the_upload_s_own_message_comes_again_and_changes_nothing(embedded) -> None:
    """Its acknowledgement was lost, and the track has been made again since."""
    submission = embedded.upload(song(-30.0), QUIET, **SAID)
    delivery = await embedded.deliver(submission)
    await embedded.handler.handle(delivery)
    await louder_album(embedded)
    await embedded.regainer.handle(await asked(embedded, await live(embedded)))
    after = await live(embedded)
    await embedded.broker.publish(delivery.job_id, QUIET, submission.to_json())
    await embedded.handler.handle(await embedded.broker.receive())
    assert await live(embedded) == after
    assert (await embedded.state.get(delivery.job_id)).status is JobState.COMPLETED


@pytest.mark.slow
async def test_nobody_is_told_of_an_upload_that_calls_nobody_back(embedded) -> None:
    submission = embedded.upload(song(-30.0), QUIET, **SAID).model_copy(update={"calls_back": False})
    await embedded.handler.handle(await embedded.deliver(submission))
    await louder_album(embedded)
    await embedded.regainer.handle(await asked(embedded, await live(embedded)))
    assert (await live(embedded)).loudness.gain_db < 0
    assert await told(embedded) == []


async def test_a_track_whose_original_is_gone_stays_as_it_is(embedded) -> None:
    """A failure of ours is no news of the track: it plays."""
    before = await made_of_nothing(embedded)
    await louder_album(embedded)
    delivery = await asked(embedded, before)
    await embedded.regainer.handle(delivery)
    job = await job_of(embedded, delivery)
    assert (job.status, job.error.code) == (JobState.FAILED, "source_not_found")
    assert await live(embedded) == before
    assert await told(embedded) == []
    assert await embedded.broker.receive() is None


@pytest.mark.slow
async def test_a_source_that_others_keep_is_brought_again(embedded) -> None:
    (embedded.settings.upload_dir / "song.flac").write_bytes(song(-30.0))
    request = JobRequest.model_validate({"track_id": QUIET, "source": {"path": "song.flac"}, **SAID})
    await embedded.handler.handle(
        await embedded.deliver(Submission(request=request, accepted_at=now_rfc3339()))
    )
    before = await live(embedded)
    await louder_album(embedded)
    await embedded.regainer.handle(await asked(embedded, before))
    after = await live(embedded)
    assert (after.loudness.gain_db < 0, after.source) == (True, before.source)


@pytest.mark.slow
async def test_a_stop_gives_the_wish_back_and_does_not_count_the_attempt(embedded) -> None:
    """F18."""
    before = await made(embedded, QUIET)
    await louder_album(embedded)
    delivery = await asked(embedded, before)
    working = asyncio.create_task(embedded.regainer.handle(delivery))
    await stage_of(embedded, delivery, "analyze")
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert (await job_of(embedded, delivery)).status is JobState.QUEUED
    again = await embedded.broker.receive()
    assert again.attempt == 1
    await embedded.regainer.handle(again)
    assert (await job_of(embedded, again)).status is JobState.COMPLETED


async def test_what_kills_its_worker_again_and_again_is_given_up(embedded) -> None:
    before = await made_of_nothing(embedded)
    delivery = await asked(embedded, before)
    for _ in range(MAX_ATTEMPTS):
        await delivery.retry(0)
        delivery = await embedded.broker.receive()
    await embedded.regainer.handle(delivery)
    assert (await job_of(embedded, delivery)).error.code == "retries_exhausted"
    assert [message.job_id for message in await embedded.broker.parked()] == [delivery.job_id]


async def test_a_message_of_another_version_is_parked(embedded) -> None:
    job_id = "11111111-1111-4111-8111-111111111111"
    await embedded.broker.publish(job_id, QUIET, b'{"kind": "regain", "schema_version": 2}')
    await embedded.regainer.handle(await embedded.broker.receive())
    assert [message.reason for message in await embedded.broker.parked()] == ["bad_job"]


LEVELS_DB = (-6.0, -24.0, 0.0, -12.0, -18.0)


@pytest.mark.slow
async def test_an_album_that_is_uploaded_at_once_costs_two_makings_a_track(embedded) -> None:
    """All uploads first, then each once more with the gain of all; the last has it already."""
    for track_id, level_db in zip(TRACKS, LEVELS_DB, strict=False):
        submission = embedded.upload(song(level_db), track_id, **SAID)
        await submit(submission, broker=embedded.broker, state=embedded.state)
    worker = Worker(embedded.broker, embedded.handler, Metrics(), 1, regainer=embedded.regainer)
    await worker.burst()
    tracks = [await live(embedded, track_id) for track_id, _ in zip(TRACKS, LEVELS_DB, strict=False)]
    assert len({track.loudness.gain_db for track in tracks}) == 1
    loudest = tracks[2].loudness
    for track, level_db in zip(tracks, LEVELS_DB, strict=False):
        apart = track.loudness.measured["128k"].integrated_lufs - loudest.measured["128k"].integrated_lufs
        assert apart == pytest.approx(level_db, abs=0.2)
    jobs = (await embedded.state.list(limit=100)).items
    assert {job.status for job in jobs} == {JobState.COMPLETED}
    assert len(LEVELS_DB) < len(jobs) <= 2 * len(LEVELS_DB) - 1
    assert (await embedded.broker.depth()).waiting == 0


@pytest.mark.slow
async def test_what_making_shows_of_a_track_lowers_its_album_and_comes_to_an_end(embedded) -> None:
    """A track bears less than the others would have: all get what it bears, and nothing is left to make."""
    await made(embedded, QUIET, -12.0)
    await made(embedded, LOUD, -12.0, options={**OPTIONS, "loudness": {"mode": "album", "ceiling_dbtp": -20}})
    worker = Worker(embedded.broker, embedded.handler, Metrics(), 1, regainer=embedded.regainer)
    await worker.burst()
    quiet, loud = await live(embedded, QUIET), await live(embedded, LOUD)
    assert quiet.loudness.gain_db == loud.loudness.gain_db == loud.loudness.album.most_gain_db
    assert quiet.loudness.album.most_gain_db > quiet.loudness.gain_db + 10
    assert (quiet.loudness.reason, loud.loudness.reason) == ("ceiling", "ceiling")
    assert await worker.burst() == 0
