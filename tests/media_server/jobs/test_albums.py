"""Every change of an album is answered: whoever has another gain than the album is asked to be made again."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from albums import OPTIONS, TRACKS, live_in_album

from hls.asset import Asset
from media_server.errors import Unavailable
from media_server.jobs.albums import gain_of, members, others_of, settle
from media_server.jobs.job import JobRequest, JobState, now_rfc3339
from media_server.jobs.membership import album_key, albums_of, enrol, tracks_of
from media_server.jobs.publish import point_to
from media_server.jobs.takedown import take_down
from media_server.storage.assets import Assets, asset_key
from media_server.storage.cache import ByteCache
from pipeline.album import Share

ALBUM = album_key("7", "album")
ONE, TWO, THREE, *_ = TRACKS


async def live(embedded, track_id: str, integrated_lufs: float, gain_db: float, **changes: object) -> Asset:
    asset = live_in_album(
        embedded.asset(track_id), integrated_lufs=integrated_lufs, gain_db=gain_db, **changes
    )
    return await point_to(embedded.storage, embedded.state, asset)


async def settled(embedded, track_id: str) -> None:
    await settle(track_id, storage=embedded.storage, broker=embedded.broker, locks=embedded.state)


async def asked(embedded) -> set[tuple[str, float]]:
    """The tracks that are to be made again, and the gain that was wanted; they are not any more."""
    found = set()
    while (delivery := await embedded.broker.receive()) is not None:
        regain = orjson.loads(delivery.body)
        found.add((regain["track_id"], regain["gain_db"]))
        await delivery.ack()
    return found


async def test_a_new_track_changes_those_that_are_there_and_not_itself(embedded) -> None:
    """-20 and -20 LUFS got 6 dB; with -10 LUFS the album is at -13.98: all get a step less than nothing."""
    for track_id in (ONE, TWO):
        await live(embedded, track_id, -20.0, 6.0)
        await settled(embedded, track_id)
    assert await asked(embedded) == set()
    await live(embedded, THREE, -10.0, -0.05)
    await settled(embedded, THREE)
    assert await gain_of(embedded.storage, ALBUM) == -0.05
    assert await asked(embedded) == {(ONE, -0.05), (TWO, -0.05)}
    await settled(embedded, THREE)
    assert len(await asked(embedded)) == 2, "the same once more: whoever is not made yet is asked again"


async def test_of_two_that_go_live_at_once_neither_is_missed(embedded) -> None:
    """Each was planned without the other; whichever settles last has seen both."""
    await asyncio.gather(live(embedded, ONE, -20.0, 6.0), live(embedded, TWO, -17.0, 3.0))
    await asyncio.gather(settled(embedded, ONE), settled(embedded, TWO))
    gain_db = await gain_of(embedded.storage, ALBUM)
    assert 3.0 < gain_db < 6.0
    assert await asked(embedded) == {(ONE, gain_db), (TWO, gain_db)}


@pytest.mark.parametrize("order", [(ONE, TWO), (TWO, ONE)])
async def test_whoever_settles_between_two_pointers_leaves_it_to_the_other(embedded, order) -> None:
    first, second = order
    await live(embedded, first, -20.0, 6.0)
    await settled(embedded, first)
    await live(embedded, second, -17.0, 3.0)
    await settled(embedded, first)
    assert {track_id for track_id, _ in await asked(embedded)} == {ONE, TWO}


async def test_an_upload_that_died_before_its_album_was_answered_answers_it(embedded) -> None:
    """A kill -9 behind the pointer: its message comes again, and finds the track live."""
    await live(embedded, ONE, -20.0, 6.0)
    delivery = await embedded.deliver(embedded.upload(b"", TWO))
    await live(embedded, TWO, -17.0, 3.0, job_id=delivery.job_id)
    await embedded.handler.handle(delivery)
    gain_db = await gain_of(embedded.storage, ALBUM)
    assert await asked(embedded) == {(ONE, gain_db), (TWO, gain_db)}
    assert (await embedded.state.get(delivery.job_id)).status is JobState.COMPLETED


async def test_another_user_s_album_of_the_same_name_is_another(embedded) -> None:
    """reliability I6."""
    await live(embedded, ONE, -20.0, 6.0)
    await live(embedded, TWO, -8.0, -6.0, user_id="8")
    await live(embedded, THREE, -9.0, -5.0, user_id=None)
    for track_id in (ONE, TWO, THREE):
        await settled(embedded, track_id)
    assert await asked(embedded) == set()
    assert [asset.track_id for asset in await members(embedded.storage, ALBUM)] == [ONE]


async def test_a_track_that_moved_changes_both_albums(embedded) -> None:
    """By a new upload. Its marks at the old album go only when the others were asked for."""
    gain_db = 4.25
    await live(embedded, ONE, -20.0, gain_db)
    await live(embedded, TWO, -17.0, gain_db)
    await live(embedded, THREE, -14.0, 0.0, album_id="other")
    await live(embedded, TWO, -17.0, gain_db, album_id="other", order=now_rfc3339())
    assert await tracks_of(embedded.storage, ALBUM) == (ONE, TWO)
    await settled(embedded, TWO)
    other = album_key("7", "other")
    wanted = await gain_of(embedded.storage, other)
    assert await asked(embedded) == {(ONE, 6.0), (TWO, wanted), (THREE, wanted)}
    assert await tracks_of(embedded.storage, ALBUM) == (ONE,)
    assert await albums_of(embedded.storage, TWO) == (other,)


async def test_a_track_that_goes_by_itself_now_leaves_its_album(embedded) -> None:
    """A new upload in another mode."""
    await live(embedded, ONE, -20.0, 4.25)
    await live(embedded, TWO, -17.0, 4.25)
    await point_to(embedded.storage, embedded.state, embedded.asset(TWO, order=now_rfc3339()))
    await settled(embedded, TWO)
    assert await asked(embedded) == {(ONE, 6.0)}
    assert await albums_of(embedded.storage, TWO) == ()


async def test_a_deleted_track_leaves_its_album(embedded) -> None:
    """track.deleted: those that remain are louder by what it held them down."""
    await live(embedded, ONE, -20.0, -4.0)
    await live(embedded, TWO, -10.0, -4.0)
    await take_down(
        TWO,
        storage=embedded.storage,
        state=embedded.state,
        broker=embedded.broker,
        assets=Assets(embedded.storage, ByteCache(embedded.storage, 1_000)),
    )
    assert await asked(embedded) == {(ONE, 6.0)}
    assert await tracks_of(embedded.storage, ALBUM) == (ONE,)
    assert await embedded.storage.list(f"memberships/{TWO}/") == []


async def test_a_deletion_that_died_half_way_is_answered_when_it_comes_again(embedded) -> None:
    """A kill -9 behind the pointer: what tells the albums of the track is still there."""
    await live(embedded, ONE, -20.0, -4.0)
    await live(embedded, TWO, -10.0, -4.0)
    await embedded.storage.delete(asset_key(TWO))
    await settled(embedded, TWO)
    assert await asked(embedded) == {(ONE, 6.0)}
    await settled(embedded, TWO)
    assert await asked(embedded) == set()


async def test_a_queue_out_of_reach_leaves_the_marks_for_the_next_try(embedded) -> None:
    await live(embedded, ONE, -20.0, -4.0)
    await live(embedded, TWO, -10.0, -4.0)
    await embedded.storage.delete(asset_key(TWO))
    async with embedded.locked():
        with pytest.raises(Unavailable):
            await settled(embedded, TWO)
    assert await albums_of(embedded.storage, TWO) == (ALBUM,)


async def test_a_mark_without_its_track_counts_for_nothing(embedded) -> None:
    """Its pointer was never written, or is one of another album."""
    await live(embedded, ONE, -20.0, 6.0)
    loud = live_in_album(embedded.asset(TWO), integrated_lufs=-5.0, gain_db=0.0)
    await enrol(embedded.storage, loud)
    await settled(embedded, ONE)
    assert await asked(embedded) == set()


async def test_the_others_are_those_of_the_album_that_a_job_is_for(embedded) -> None:
    """Without the track itself, whose earlier upload is no part of what is made now."""
    await live(embedded, ONE, -20.0, 6.0)
    await live(embedded, TWO, -17.0, 3.0, most_gain_db=3.5)
    fields = {"source": {"path": "a"}, "user_id": "7", "album_id": "album", "options": OPTIONS}
    request = JobRequest.model_validate({"track_id": ONE, **fields})
    others = await others_of(embedded.storage, request)
    assert (others.most_gain_db, others.programme.integrated_lufs) == (3.5, pytest.approx(-17.0, abs=0.01))
    stranger = JobRequest.model_validate({"track_id": ONE, **fields, "user_id": "8"})
    assert await others_of(embedded.storage, stranger) == Share()
    alone = JobRequest.model_validate({"track_id": ONE, **fields, "options": {}})
    assert await others_of(embedded.storage, alone) == Share()
