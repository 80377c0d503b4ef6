"""What the embedded state adds to the port: it lasts, and its leases go by the wall clock.

What every state does is held by tests/contract/test_state.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from media_server.database import Database
from media_server.jobs.job import Job
from media_server.state.base import TrackSummary
from media_server.state.local import LocalState

JOB = Job(job_id="job", track_id="track", created_at="2026-01-01T00:00:01.000Z")
TRACK = TrackSummary(
    track_id="track",
    title="Title",
    artist=None,
    duration_s=241.37,
    visibility="public",
    user_id=None,
    created_at="2026-01-01T00:00:01.000Z",
    renditions=("128k", "192k"),
    has_cover=True,
)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "db.sqlite3")
    yield database
    await database.close()


async def test_what_was_saved_is_there_after_a_restart(tmp_path: Path) -> None:
    database = Database(tmp_path / "db.sqlite3")
    await LocalState(database).save(JOB)
    await LocalState(database).save_track(TRACK)
    await database.close()
    database = Database(tmp_path / "db.sqlite3")
    assert await LocalState(database).get("job") == JOB
    assert (await LocalState(database).tracks()).items == (TRACK,)
    await database.close()


async def test_revisions_are_counted_without_a_gap(database: Database) -> None:
    state = LocalState(database)
    for revision in (1, 2, 3):
        await state.save(JOB)
        assert await state.revision() == revision


async def test_a_lease_is_held_to_its_last_moment(database: Database) -> None:
    now = 1000.0
    state = LocalState(database, clock=lambda: now)
    fence = await state.acquire("a", ttl_s=10)
    assert fence is not None
    now = 1009.9
    assert await state.acquire("a", ttl_s=10) is None
    assert await state.renew("a", fence, ttl_s=10)
    now = 1019.8
    assert await state.acquire("a", ttl_s=10) is None
    now = 1019.9
    assert await state.acquire("a", ttl_s=10) is not None
    assert not await state.renew("a", fence, ttl_s=10)
