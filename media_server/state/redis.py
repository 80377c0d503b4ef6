"""The shared state: job records, the list of tracks, leases and counters, in one Redis for all processes.

Redis is asked to keep nothing that may not be lost: emptied, it goes on with what comes next. It must not
evict (`maxmemory-policy noeviction`, its default): a full one is `Unavailable` until old records have gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter
from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from media_server.errors import Unavailable
from media_server.jobs.job import Job, JobState, now_rfc3339
from media_server.state import redis_scripts as scripts
from media_server.state.base import MAX_PAGE, Page, TrackSummary, check_limit, read_cursor, write_cursor

Item = TypeVar("Item")
Result = TypeVar("Result")
Rows = list[tuple[bytes, bytes]]
"""Places and bodies, newest first."""

DEADLINE_S: Final = 1.0
"""For one answer, with everything before it: a free connection, connecting, a second try."""

CONNECTIONS: Final = 32
KEEP_S: Final = 30 * 86_400
"""A record that nobody wrote for so long is forgotten: the job has ended, or its message has gone."""

FORGOTTEN_AT_ONCE: Final = 10
"""Each save adds one record at most, so the old ones never pile up."""

PORTION: Final = 500
"""Records that one step looks at: about a millisecond in which Redis serves nobody else."""

_JOB: TypeAdapter[Job] = TypeAdapter(Job)
_TRACK: TypeAdapter[TrackSummary] = TypeAdapter(TrackSummary)

_REASONS: Final[tuple[tuple[tuple[type[Exception], ...], str], ...]] = (
    ((exceptions.ReadOnlyError,), "Redis is a replica that takes no writes"),
    ((exceptions.OutOfMemoryError,), "Redis has no memory left"),
    ((exceptions.BusyLoadingError,), "Redis still loads its records"),
    (
        (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.NoPermissionError),
        "Redis does not allow it to the user of REDIS_URL",
    ),
    ((exceptions.TimeoutError, TimeoutError), f"Redis does not answer within {DEADLINE_S:g} s"),
    ((exceptions.ConnectionError, OSError), "Redis cannot be reached"),
)
"""From top to bottom; a sentence never repeats the library's, which may hold what is secret."""


class RedisState:
    """The records of all processes with one REDIS_URL.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with the password.
        prefix: of all keys, which begin with it in braces; two servers with two prefixes share nothing.
        keep_s: how long a job's record outlives its last write.
        now: the wall clock as RFC 3339 in UTC with milliseconds; for `updated_at` alone, all else goes by
            the clock of Redis.
    Raises:
        ValueError: the URL is none of Redis.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "veza",
        keep_s: float = KEEP_S,
        now: Callable[[], str] = now_rfc3339,
    ) -> None:
        self._redis = Redis.from_pool(connection_pool(url))
        self._prefix = f"{{{prefix}}}:"
        self._keep_us = round(keep_s * 1e6)
        self._now = now
        self._save_job = self._redis.register_script(scripts.SAVE_JOB)
        self._changed_since = self._redis.register_script(scripts.CHANGED_SINCE)
        self._walk = self._redis.register_script(scripts.WALK)
        self._recent = self._redis.register_script(scripts.RECENT)
        self._save_track = self._redis.register_script(scripts.SAVE_TRACK)
        self._forget_track = self._redis.register_script(scripts.FORGET_TRACK)
        self._acquire = self._redis.register_script(scripts.ACQUIRE)
        self._renew = self._redis.register_script(scripts.RENEW)
        self._release = self._redis.register_script(scripts.RELEASE)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def save(self, job: Job) -> None:
        """Write the job's record; each write gets a higher revision. Its place in the list is its first."""
        await self._run(self._save_job, *self._fields(job))

    async def begin(self, job: Job, *, again: Job | None = None) -> None:
        """Write the first record of a job, or the first since it ended as `again` says."""
        ended_at = (again and again.finished_at) or ""
        await self._run(self._save_job, *self._fields(job), ended_at)

    async def get(self, job_id: str) -> Job | None:
        body = await _answer(self._redis.hget(f"{self._prefix}job:{job_id}", "body"))
        return _JOB.validate_json(body) if body is not None else None

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
        below = _place(cursor, limit)
        indexes = [f"jobs:track:{track_id}"] if track_id is not None else []
        indexes += [f"jobs:status:{status.value}"] if status is not None else []
        since = updated_since or ""
        rows = await self._recent_rows(indexes or ["jobs"], since, below) if since else None
        if rows is None:
            rows = await self._rows("job:", indexes or ["jobs"], below, limit, since)
        return _page(rows, limit, _JOB)

    async def changed_since(self, revision: int, *, limit: int = MAX_PAGE) -> tuple[int, Sequence[Job]]:
        """The jobs written after `revision`, each once, oldest change first; and the revision reached.

        At most `limit` at once: ask again with the revision reached until nothing comes.
        """
        reached, *bodies = await self._run(self._changed_since, revision, limit)
        return int(reached), [_JOB.validate_json(body) for body in bodies]

    async def revision(self) -> int:
        """The latest revision, 0 before the first job."""
        return int(await _answer(self._redis.get(f"{self._prefix}revision")) or 0)

    async def save_track(self, track: TrackSummary) -> None:
        """Put the track into the list, over what was there."""
        await self._run(self._save_track, track.track_id, track.created_at, _TRACK.dump_json(track))

    async def forget_track(self, track_id: str) -> None:
        """Take the track off the list; it need not be there."""
        await self._run(self._forget_track, track_id)

    async def tracks(self, *, limit: int = 50, cursor: str | None = None) -> Page[TrackSummary]:
        """Tracks, newest first.

        Args:
            limit: 1 to MAX_PAGE.
        Raises:
            BadRequest: `bad_cursor` or `bad_limit`.
        """
        below = _place(cursor, limit)
        return _page(await self._rows("track:", ["tracks"], below, limit), limit, _TRACK)

    async def acquire(self, name: str, ttl_s: float) -> int | None:
        """The fencing number (>= 1) of a new lease on `name`, None while somebody holds it."""
        fence = await self._run(self._acquire, name, _milliseconds(ttl_s))
        return None if fence is None else int(fence)

    async def renew(self, name: str, fence: int, ttl_s: float) -> bool:
        """Hold the lease on; False if it is not ours any more."""
        return bool(await self._run(self._renew, name, fence, _milliseconds(ttl_s)))

    async def release(self, name: str, fence: int) -> None:
        """Give the lease back; nothing happens if it is not ours any more."""
        await self._run(self._release, name, fence)

    async def next_number(self, name: str) -> int:
        """1, 2, 3 ... for each name; never the same twice."""
        return int(await _answer(self._redis.incr(f"{self._prefix}counter:{name}")))

    async def check(self) -> None:
        """Raise if nothing could be written now."""
        await self.next_number("check")

    def _fields(self, job: Job) -> tuple[str | bytes | int, ...]:
        times = (job.created_at, self._now())
        forgotten = (self._keep_us, FORGOTTEN_AT_ONCE)
        return job.job_id, job.track_id, job.status.value, *times, _JOB.dump_json(job), *forgotten

    async def _run(self, script: Callable[..., Awaitable[Any]], *values: str | bytes | int) -> Any:
        return await _answer(script(keys=(self._prefix,), args=values))

    async def _rows(
        self, kind: str, indexes: Sequence[str], below: bytes, limit: int, since: str = ""
    ) -> Rows:
        """One row more than a page shows, the sign that something follows; from the first index, so far as
        the other holds it too."""
        wanted, rows = limit + 1, Rows()
        portion = wanted if len(indexes) == 1 and not since else max(wanted, PORTION)
        while True:
            missing = wanted - len(rows)
            below, *found = await self._run(self._walk, kind, below, since, portion, missing, *indexes)
            rows += zip(found[::2], found[1::2], strict=True)
            if not below or len(rows) >= wanted:
                return rows

    async def _recent_rows(self, indexes: Sequence[str], since: str, below: bytes) -> Rows | None:
        """What was written `since`, None where that is so much that a walk finds a page sooner."""
        found = await self._run(self._recent, since, PORTION, *indexes)
        if found is None:
            return None
        rows = sorted(zip(found[::2], found[1::2], strict=True), reverse=True)
        return [row for row in rows if not below or row[0] < below]


def connection_pool(url: str) -> BlockingConnectionPool:
    """Connections that are made when they are needed, and tried anew once where the server has gone.

    Only whoever asks limits the time. With a limit of its own redis-py writes under `asyncio.wait_for`, which
    up to Python 3.11 may swallow a cancellation, and with it the end of our time.
    """
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=None,
            socket_timeout=None,
            socket_connect_timeout=DEADLINE_S,  # for closing, too
            protocol=2,
            retry=Retry(NoBackoff(), 1, (exceptions.ConnectionError,)),
        )
        pool.make_connection()  # type: ignore[no-untyped-call]  # finds options in the URL that do not exist
    except (ValueError, TypeError):
        raise ValueError("REDIS_URL must be redis://, rediss:// or unix:// with known options") from None
    return pool


async def _answer(call: Awaitable[Result]) -> Result:
    """The answer of Redis in time.

    Raises:
        Unavailable: `state`.
    """
    try:
        async with asyncio.timeout(DEADLINE_S):
            return await call
    except (exceptions.RedisError, OSError, TimeoutError) as error:
        raise Unavailable("state", _reason(error)) from error


def _reason(error: Exception) -> str:
    known = (reason for kinds, reason in _REASONS if isinstance(error, kinds))
    return next(known, "Redis answers with an error")


def _milliseconds(ttl_s: float) -> int:
    return max(1, round(ttl_s * 1000))


def _place(cursor: str | None, limit: int) -> bytes:
    """Where a page begins, empty for the newest."""
    check_limit(limit)
    return " ".join(read_cursor(cursor)).encode() if cursor is not None else b""


def _page(rows: Rows, limit: int, adapter: TypeAdapter[Item]) -> Page[Item]:
    shown = rows[:limit]
    items = tuple(adapter.validate_json(body) for _, body in shown)
    if len(rows) <= limit:
        return Page(items, None)
    created_at, _, item_id = shown[-1][0].decode().partition(" ")
    return Page(items, write_cursor(created_at, item_id))
