"""The state port: what every process may ask about jobs and tracks, the leases on tracks, and plain counters.

It may be lost and made anew without losing a job: what must last lies in the broker and the storage.
Lists go from the newest to the oldest. A cursor holds the place of the last item that was shown, not a
number of items: what is added or removed meanwhile neither repeats nor hides anything else.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import orjson
from pydantic import TypeAdapter

from hls.segment_format import SegmentFormat
from media_server.errors import BadRequest
from media_server.jobs.job import Job, JobState

Item = TypeVar("Item")

MAX_PAGE = 1000
"""Items of a page: what is read into memory at once."""

_CURSOR: TypeAdapter[tuple[str, str]] = TypeAdapter(tuple[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackSummary:
    """What the list of tracks shows of one; `created_at` is RFC 3339 as the server writes it."""

    track_id: str
    title: str | None
    artist: str | None
    duration_s: float
    visibility: str
    user_id: str | None
    created_at: str
    renditions: tuple[str, ...]
    has_cover: bool
    segment_format: SegmentFormat = SegmentFormat.FMP4


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Newest first; `next_cursor` asks for what follows, None at the end."""

    items: tuple[Item, ...]
    next_cursor: str | None


class State(Protocol):
    """The records that all processes share.

    Raises:
        Unavailable: `state`, it is out of reach.
    """

    async def save(self, job: Job) -> None:
        """Write the job's record; each write gets a higher revision. Its place in the list is its first."""
        ...

    async def begin(self, job: Job, *, again: Job | None = None) -> None:
        """Write the first record of a job, or the first since it ended as `again` says.

        Where a worker was faster the record says more already, and stays.
        """
        ...

    async def get(self, job_id: str) -> Job | None: ...

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
        ...

    async def changed_since(self, revision: int, *, limit: int = MAX_PAGE) -> tuple[int, Sequence[Job]]:
        """The jobs written after `revision`, each once, oldest change first; and the revision reached.

        At most `limit` at once: ask again with the revision reached until nothing comes.
        """
        ...

    async def revision(self) -> int:
        """The latest revision, 0 before the first job."""
        ...

    async def save_track(self, track: TrackSummary) -> None:
        """Put the track into the list, over what was there."""
        ...

    async def forget_track(self, track_id: str) -> None:
        """Take the track off the list; it need not be there."""
        ...

    async def tracks(self, *, limit: int = 50, cursor: str | None = None) -> Page[TrackSummary]:
        """Tracks, newest first.

        Args:
            limit: 1 to MAX_PAGE.
        Raises:
            BadRequest: `bad_cursor` or `bad_limit`.
        """
        ...

    async def acquire(self, name: str, ttl_s: float) -> int | None:
        """The fencing number of a new lease on `name`, None while somebody holds it.

        It is at least 1 and higher than every one before, of whatever name.
        """
        ...

    async def renew(self, name: str, fence: int, ttl_s: float) -> bool:
        """Hold the lease on; False if it is not ours any more.

        One whose time is over may be lost even though nobody else has taken it.
        """
        ...

    async def release(self, name: str, fence: int) -> None:
        """Give the lease back; nothing happens if it is not ours any more."""
        ...

    async def next_number(self, name: str) -> int:
        """1, 2, 3 ... for each name; never the same twice as long as the state is not lost.

        Names are few and known beforehand: none is ever forgotten.
        """
        ...

    async def check(self) -> None:
        """Raise if nothing could be written now."""
        ...


def read_cursor(cursor: str) -> tuple[str, str]:
    """The time and the id that a cursor stands for.

    Raises:
        BadRequest: `bad_cursor`.
    """
    try:
        return _CURSOR.validate_json(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        raise BadRequest("bad_cursor", "the cursor is not one of ours") from None


def write_cursor(created_at: str, item_id: str) -> str:
    """The cursor of the last item that was shown."""
    return base64.urlsafe_b64encode(orjson.dumps([created_at, item_id])).decode().rstrip("=")


def check_limit(limit: int) -> None:
    """Return if a page may have `limit` items.

    Raises:
        BadRequest: `bad_limit`.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise BadRequest("bad_limit", f"limit is {limit}, allowed are 1 to {MAX_PAGE}")
