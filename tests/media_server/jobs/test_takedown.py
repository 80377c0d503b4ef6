"""media_server/jobs/takedown.py: nothing of a track is left, and nothing older comes back."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from media_server.errors import Conflict, NotFound
from media_server.jobs import amendments
from media_server.jobs.job import JobState
from media_server.jobs.publish import live_asset
from media_server.jobs.takedown import remove_leftovers, take_down
from media_server.jobs.tombstone import must_not_be_deleted
from media_server.storage.assets import Assets, original_key, track_prefix
from media_server.storage.cache import ByteCache

TRACK = "0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11"
BEFORE, AFTER = "2025-12-31T00:00:00.000Z", "2026-02-01T00:00:00.000Z"
"""The upload of the track of these tests was accepted between the two."""

WITHIN_S = 30.0


@pytest.fixture
def assets(embedded) -> Assets:
    return Assets(embedded.storage, ByteCache(embedded.storage, 1_000_000))


async def taken_down(embedded, assets: Assets, deleted_at: str | None = None, track_id: str = TRACK) -> bool:
    return await take_down(
        track_id,
        storage=embedded.storage,
        state=embedded.state,
        broker=embedded.broker,
        assets=assets,
        deleted_at=deleted_at,
    )


async def test_files_pointer_original_changes_list_and_memory_go(embedded, assets: Assets) -> None:
    asset = await embedded.publish()
    other = await embedded.publish(str(uuid.uuid4()))
    await embedded.storage.put(original_key(TRACK), b"RIFF", media_type="audio/wav")
    await amendments.save(embedded.storage, TRACK, amendments.amended({}, {"title": "x"}, BEFORE))
    assert await assets.file(TRACK, asset.version, "waveform.dat") == b"wave"
    await assets.asset(TRACK)
    assert await taken_down(embedded, assets, AFTER)
    for gone in (assets.asset(TRACK), assets.file(TRACK, asset.version, "waveform.dat")):
        with pytest.raises(NotFound):
            await gone
    left = [key for prefix in ("tracks/", "sources/", "amendments/") for key in await _all(embedded, prefix)]
    assert left == [key for key in await _all(embedded, "tracks/") if other.track_id in key] != []
    listed = await embedded.state.tracks()
    assert [track.track_id for track in listed.items] == [other.track_id]


async def _all(embedded, prefix: str) -> list[str]:
    return list(await embedded.storage.list(prefix))


async def test_one_that_is_gone_or_never_was_is_as_good_as_removed(embedded, assets: Assets) -> None:
    """At least once: the event may come twice, and before the track."""
    await embedded.publish()
    for _ in range(2):
        assert await taken_down(embedded, assets, AFTER)
        assert await live_asset(embedded.storage, TRACK) is None
    with pytest.raises(Conflict):
        await embedded.publish()
    assert await live_asset(embedded.storage, TRACK) is None


async def test_an_upload_that_is_newer_than_the_deletion_stays(embedded, assets: Assets) -> None:
    """A deletion that comes late is of the track that was."""
    asset = await embedded.publish()
    assert not await taken_down(embedded, assets, BEFORE)
    assert await live_asset(embedded.storage, TRACK) == asset
    assert (await embedded.state.tracks()).items
    await must_not_be_deleted(embedded.storage, TRACK, None, asset.order)


async def test_without_a_time_it_goes_whatever_clock_its_upload_was_told_by(embedded, assets: Assets) -> None:
    await embedded.publish(order="2999-01-01T00:00:00.000Z")
    assert await taken_down(embedded, assets)
    assert await live_asset(embedded.storage, TRACK) is None


async def test_what_waits_to_be_made_of_it_is_not_made(embedded, assets: Assets) -> None:
    await embedded.broker.publish(str(uuid.uuid4()), TRACK, b"{}")
    await taken_down(embedded, assets)
    assert await embedded.broker.receive() is None


async def test_the_files_of_a_job_at_work_are_left_to_the_job(embedded, assets: Assets) -> None:
    """It removes them itself when it meets the tombstone; nobody sees them meanwhile."""
    await embedded.publish()
    fence = await embedded.state.acquire(f"track:{TRACK}", 60.0)
    assert await taken_down(embedded, assets, AFTER)
    assert await live_asset(embedded.storage, TRACK) is None
    assert await _all(embedded, track_prefix(TRACK))
    await embedded.state.release(f"track:{TRACK}", fence)
    assert await remove_leftovers(embedded.storage, TRACK) == 1
    assert await _all(embedded, track_prefix(TRACK)) == []


async def test_a_deletion_in_the_middle_of_a_job_ends_it_and_leaves_nothing(
    embedded, assets: Assets, song: bytes
) -> None:
    """Contract: everything of it goes, also mid-job."""
    delivery = await embedded.deliver(embedded.upload(song))
    working = asyncio.create_task(embedded.handler.handle(delivery))
    async with asyncio.timeout(WITHIN_S):
        while (await embedded.state.get(delivery.job_id)).stage != "analyze":  # noqa: ASYNC110 - its record is all it shows
            await asyncio.sleep(0)
        assert await taken_down(embedded, assets)
        await working
    job = await embedded.state.get(delivery.job_id)
    assert (job.status, job.error.code) == (JobState.FAILED, "deleted")
    assert await _all(embedded, track_prefix(TRACK)) == []
    assert await _all(embedded, "uploads/") == []
    assert (await embedded.outbox.counts()).pending == 1
