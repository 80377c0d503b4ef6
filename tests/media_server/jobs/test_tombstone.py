"""media_server/jobs/tombstone.py: what was deleted stays deleted, and a newer upload does not."""

from __future__ import annotations

import pytest

from media_server.errors import Conflict, Unavailable
from media_server.jobs.tombstone import DELETED, bury_track, bury_user, must_not_be_deleted
from media_server.storage.memory import MemoryStorage

TRACK = "0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11"
OTHER = "11111111-1111-4111-8111-111111111111"
EARLIER, AT, LATER = (f"2026-03-01T12:00:0{second}.000Z" for second in (1, 2, 3))


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


async def refused(storage: MemoryStorage, track_id: str, user_id: str | None, since: str) -> bool:
    try:
        await must_not_be_deleted(storage, track_id, user_id, since)
    except Conflict as error:
        assert error.code == DELETED
        return True
    return False


async def test_an_upload_that_is_not_newer_than_the_deletion_is_refused(storage: MemoryStorage) -> None:
    """Contract: `track.deleted` leaves a tombstone with its timestamp."""
    await bury_track(storage, TRACK, AT)
    assert await refused(storage, TRACK, None, EARLIER)
    assert await refused(storage, TRACK, None, AT)
    assert not await refused(storage, TRACK, None, LATER)
    assert not await refused(storage, OTHER, None, EARLIER)


@pytest.mark.parametrize("order", [(EARLIER, AT), (AT, EARLIER), (AT, AT)])
async def test_the_newest_deletion_counts_whatever_came_first(
    storage: MemoryStorage, order: tuple[str, str]
) -> None:
    for at in order:
        await bury_track(storage, TRACK, at)
    assert await refused(storage, TRACK, None, AT)
    assert not await refused(storage, TRACK, None, LATER)


@pytest.mark.parametrize("user_id", ["7", "../../etc/passwd", "ünï/codé", "u" * 1024])
async def test_a_users_mark_meets_all_tracks_of_that_user_alone(storage: MemoryStorage, user_id: str) -> None:
    """An id of others may be any text; it never becomes a part of a key."""
    await bury_user(storage, user_id, AT)
    assert await refused(storage, TRACK, user_id, EARLIER)
    assert await refused(storage, OTHER, user_id, AT)
    assert not await refused(storage, TRACK, user_id, LATER)
    assert not await refused(storage, TRACK, f"{user_id}x", EARLIER)
    assert not await refused(storage, TRACK, None, EARLIER)
    [key] = await storage.list("tombstones/")
    assert user_id not in key or user_id == "7"


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"null"])
async def test_a_mark_that_cannot_be_read_lets_nothing_pass(storage: MemoryStorage, content: bytes) -> None:
    """Rather later than what must not be."""
    await bury_track(storage, TRACK, AT)
    [key] = await storage.list("tombstones/")
    await storage.put(key, content, media_type="application/json")
    with pytest.raises(Unavailable) as caught:
        await must_not_be_deleted(storage, TRACK, None, LATER)
    assert caught.value.code == "bad_tombstone"
