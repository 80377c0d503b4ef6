"""The embedded state: job records, the list of tracks, leases and counters, in the one SQLite file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from pydantic import TypeAdapter

from media_server.database import Database
from media_server.jobs.job import Job, JobState, now_rfc3339
from media_server.state.base import MAX_PAGE, Page, TrackSummary, check_limit, read_cursor, write_cursor

Item = TypeVar("Item")

_SAVE_JOB = """
    INSERT INTO jobs (job_id, track_id, status, created_at, updated_at, revision, body)
    VALUES (?, ?, ?, ?, ?, 1 + COALESCE((SELECT MAX(revision) FROM jobs), 0), ?)
    ON CONFLICT (job_id) DO UPDATE SET status = excluded.status, updated_at = excluded.updated_at,
        revision = excluded.revision, body = excluded.body
"""
# the end of a job as the record has it; NULL, so never true, where the job is new
_BEGIN_JOB = _SAVE_JOB + " WHERE json_extract(CAST(jobs.body AS TEXT), '$.finished_at') = ?"
_JOB_OF = "SELECT body FROM jobs WHERE job_id = ?"
_CHANGED_SINCE = "SELECT revision, body FROM jobs WHERE revision > ? ORDER BY revision LIMIT ?"
_REVISION = "SELECT COALESCE(MAX(revision), 0) FROM jobs"
_JOBS = """
    SELECT created_at, job_id AS id, body FROM jobs {where} ORDER BY created_at DESC, job_id DESC LIMIT :limit
"""
_JOB_FILTERS = {
    "status": "status = :status",
    "track_id": "track_id = :track_id",
    "updated_since": "updated_at >= :updated_since",
    "cursor_id": "(created_at, job_id) < (:cursor_time, :cursor_id)",
}
"""Only those that are asked for enter the statement, so that each finds its index."""

_SAVE_TRACK = """
    INSERT INTO tracks (track_id, created_at, body) VALUES (?, ?, ?)
    ON CONFLICT (track_id) DO UPDATE SET created_at = excluded.created_at, body = excluded.body
"""
_FORGET_TRACK = "DELETE FROM tracks WHERE track_id = ?"
_TRACKS = """
    SELECT created_at, track_id AS id, body FROM tracks
    WHERE :cursor_id IS NULL OR (created_at, track_id) < (:cursor_time, :cursor_id)
    ORDER BY created_at DESC, track_id DESC LIMIT :limit
"""


_JOB: TypeAdapter[Job] = TypeAdapter(Job)
_TRACK: TypeAdapter[TrackSummary] = TypeAdapter(TrackSummary)


_COUNT = """
    INSERT INTO counters (name, value) VALUES (?, 1)
    ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value
"""
_ACQUIRE = """
    INSERT INTO leases (name, fence, held_until) VALUES (:name, :fence, :until)
    ON CONFLICT (name) DO UPDATE SET fence = excluded.fence, held_until = excluded.held_until
        WHERE leases.held_until <= :now
"""
_RENEW = "UPDATE leases SET held_until = ? WHERE name = ? AND fence = ?"
_RELEASE = "DELETE FROM leases WHERE name = ? AND fence = ?"
_FENCES = "fences"


class LocalState:
    """The records of one DATA_DIR.

    Args:
        now: the wall clock as RFC 3339 in UTC with milliseconds, so that text order is time order.
        clock: seconds of the same clock, for leases: other processes keep them too.
    """

    def __init__(
        self,
        database: Database,
        now: Callable[[], str] = now_rfc3339,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._now = now
        self._clock = clock

    async def save(self, job: Job) -> None:
        """Write the job's record; each write gets the next revision. Its place in the list is its first."""
        row = self._row(job)
        await self._database.run(lambda connection: connection.execute(_SAVE_JOB, row))

    async def begin(self, job: Job, *, again: Job | None = None) -> None:
        """Write the first record of a job, or the first since it ended as `again` says."""
        row = (*self._row(job), again and again.finished_at)
        await self._database.run(lambda connection: connection.execute(_BEGIN_JOB, row))

    async def get(self, job_id: str) -> Job | None:
        rows = await self._rows(_JOB_OF, (job_id,))
        return _JOB.validate_json(rows[0]["body"]) if rows else None

    async def list(
        self,
        *,
        status: JobState | None = None,
        track_id: str | None = None,
        updated_since: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Job]:
        """Jobs, newest first.

        Args:
            updated_since: RFC 3339 in UTC as the server writes it; that moment is included.
            limit: 1 to MAX_PAGE.
        Raises:
            BadRequest: `bad_cursor` or `bad_limit`.
        """
        values = {
            "status": status.value if status else None,
            "track_id": track_id,
            "updated_since": updated_since,
            **_place(cursor, limit),
        }
        filters = [clause for name, clause in _JOB_FILTERS.items() if values[name] is not None]
        where = f"WHERE {' AND '.join(filters)}" if filters else ""
        return _page(await self._rows(_JOBS.format(where=where), values), limit, _JOB)

    async def changed_since(self, revision: int, *, limit: int = MAX_PAGE) -> tuple[int, Sequence[Job]]:
        """The jobs written after `revision`, each once, oldest change first; and the revision reached.

        At most `limit` at once: ask again with the revision reached until nothing comes.
        """
        rows = await self._rows(_CHANGED_SINCE, (revision, limit))
        jobs = [_JOB.validate_json(row["body"]) for row in rows]
        return (rows[-1]["revision"] if rows else revision), jobs

    async def revision(self) -> int:
        """The latest revision, 0 before the first job."""
        return int((await self._rows(_REVISION, ()))[0][0])

    async def save_track(self, track: TrackSummary) -> None:
        """Put the track into the list, over what was there."""
        row = (track.track_id, track.created_at, _TRACK.dump_json(track))
        await self._database.run(lambda connection: connection.execute(_SAVE_TRACK, row))

    async def forget_track(self, track_id: str) -> None:
        """Take the track off the list; it need not be there."""
        await self._database.run(lambda connection: connection.execute(_FORGET_TRACK, (track_id,)))

    async def tracks(self, *, limit: int = 50, cursor: str | None = None) -> Page[TrackSummary]:
        """Tracks, newest first.

        Args:
            limit: 1 to MAX_PAGE.
        Raises:
            BadRequest: `bad_cursor` or `bad_limit`.
        """
        return _page(await self._rows(_TRACKS, _place(cursor, limit)), limit, _TRACK)

    async def acquire(self, name: str, ttl_s: float) -> int | None:
        """The fencing number (>= 1) of a new lease on `name`, None while somebody holds it."""

        def take(connection: sqlite3.Connection) -> int | None:
            now = self._clock()
            fence = int(connection.execute(_COUNT, (_FENCES,)).fetchone()[0])
            row = {"name": name, "fence": fence, "until": now + ttl_s, "now": now}
            return fence if connection.execute(_ACQUIRE, row).rowcount == 1 else None

        return await self._database.run(take)

    async def renew(self, name: str, fence: int, ttl_s: float) -> bool:
        """Hold the lease on; False if it is not ours any more."""
        row = (self._clock() + ttl_s, name, fence)
        return await self._database.run(lambda connection: connection.execute(_RENEW, row).rowcount == 1)

    async def release(self, name: str, fence: int) -> None:
        """Give the lease back; nothing happens if it is not ours any more."""
        await self._database.run(lambda connection: connection.execute(_RELEASE, (name, fence)))

    async def next_number(self, name: str) -> int:
        """1, 2, 3 ... for each name; never the same twice."""
        return await self._database.run(
            lambda connection: int(connection.execute(_COUNT, (f"of:{name}",)).fetchone()[0])
        )

    async def check(self) -> None:
        """Raise if nothing could be written now."""
        await self.next_number("check")

    def _row(self, job: Job) -> tuple[object, ...]:
        return job.job_id, job.track_id, job.status.value, job.created_at, self._now(), _JOB.dump_json(job)

    async def _rows(
        self, sql: str, values: tuple[object, ...] | Mapping[str, object]
    ) -> Sequence[sqlite3.Row]:
        return await self._database.read(lambda connection: connection.execute(sql, values).fetchall())


def _place(cursor: str | None, limit: int) -> dict[str, str | int | None]:
    """Where a page begins, and one more row than it shows: the sign that something follows."""
    check_limit(limit)
    time, item_id = read_cursor(cursor) if cursor is not None else (None, None)
    return {"cursor_time": time, "cursor_id": item_id, "limit": limit + 1}


def _page(rows: Sequence[sqlite3.Row], limit: int, adapter: TypeAdapter[Item]) -> Page[Item]:
    shown = rows[:limit]
    items = tuple(adapter.validate_json(row["body"]) for row in shown)
    more = len(rows) > limit
    return Page(items, write_cursor(shown[-1]["created_at"], shown[-1]["id"]) if more else None)
