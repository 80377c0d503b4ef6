"""The state port: one suite over every adapter, on real files and a real server.

A state is asked for through `connect`, once for each process that shares the records.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from servers.redis import NotInstalledError, PrivateRedis

from media_server.database import Database
from media_server.errors import BadRequest
from media_server.jobs.job import Job, JobError, JobState, Stage
from media_server.state.base import MAX_PAGE, State, TrackSummary
from media_server.state.local import LocalState
from media_server.state.redis import RedisState

Found = TypeVar("Found")
Connect = Callable[[], State]
"""One more process with the same records; their wall clock goes on by a second with each look."""

ADAPTERS = ("local", "redis")
LONG_S = 60.0
SHORT_S = 0.05
WITHIN_S = 20.0


def at(second: int) -> str:
    return f"2026-01-01T00:{second // 60:02}:{second % 60:02}.000Z"


def job(number: int, **fields: object) -> Job:
    return replace(
        Job(job_id=f"job-{number:03}", track_id="track", created_at=at(number)),
        **fields,  # type: ignore[arg-type]
    )


def track(number: int, **fields: object) -> TrackSummary:
    summary = TrackSummary(
        track_id=f"track-{number:03}",
        title="Title",
        artist=None,
        duration_s=241.37,
        visibility="public",
        user_id=None,
        created_at=at(number),
        renditions=("128k", "192k"),
        has_cover=True,
    )
    return replace(summary, **fields)  # type: ignore[arg-type]


@asynccontextmanager
async def local_records() -> AsyncIterator[Connect]:
    """What embedded mode uses: one file, a connection for each process."""
    seconds = itertools.count()
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as opened:

            def connect() -> State:
                database = Database(Path(folder) / "db.sqlite3")
                opened.push_async_callback(database.close)
                return LocalState(database, now=lambda: at(next(seconds)))

            yield connect


@asynccontextmanager
async def redis_records(url: str) -> AsyncIterator[Connect]:
    """A prefix of its own on the one server."""
    seconds, prefix = itertools.count(), secrets.token_hex(8)
    async with AsyncExitStack() as opened:

        def connect() -> State:
            state = RedisState(url, prefix=prefix, now=lambda: at(next(seconds)))
            opened.push_async_callback(state.close)
            return state

        yield connect


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    try:
        server = PrivateRedis()
    except NotInstalledError as error:
        pytest.skip(str(error))
    with server:
        yield server.url


@pytest.fixture(scope="module", params=ADAPTERS)
def records(request: pytest.FixtureRequest) -> Callable[[], AbstractAsyncContextManager[Connect]]:
    """Opens records that nobody else has."""
    if request.param == "local":
        return local_records
    url = request.getfixturevalue("redis_url")
    return lambda: redis_records(url)


@pytest.fixture
async def connect(
    records: Callable[[], AbstractAsyncContextManager[Connect]],
) -> AsyncIterator[Connect]:
    async with records() as connect:
        yield connect


@pytest.fixture
async def state(connect: Connect) -> State:
    return connect()


async def eventually(ask: Callable[[], Awaitable[Found | None]]) -> Found:
    """What is answered in the end; asks again and again, with a deadline."""
    deadline = time.monotonic() + WITHIN_S
    while (found := await ask()) is None:
        assert time.monotonic() < deadline, f"nothing within {WITHIN_S:g} s"
        await asyncio.sleep(0)
    return found


# Jobs


async def test_a_job_is_read_as_it_was_saved(state: State) -> None:
    saved = job(
        1,
        status=JobState.FAILED,
        stage=Stage.PROBE,
        percent=12.5,
        attempt=2,
        started_at=at(2),
        finished_at=at(3),
        title="Ünïcode \N{MUSICAL SYMBOL G CLEF}",
        warnings=("truncated",),
        error=JobError(code="too_long", message="over", retryable=False, limits={"MAX_DURATION_S": 14400}),
        result={"renditions": [{"name": "128k"}], "loudness": None},
    )
    await state.save(saved)
    assert await state.get("job-001") == saved


async def test_a_job_begins_where_there_is_no_record(state: State) -> None:
    await state.begin(job(1))
    assert await state.get("job-001") == job(1)
    await state.begin(job(2), again=job(2, finished_at=at(9)))  # its record was forgotten meanwhile
    assert await state.get("job-002") == job(2)


async def test_a_job_begins_again_over_the_end_it_had(state: State) -> None:
    ended = job(1, status=JobState.FAILED, finished_at=at(3))
    await state.save(ended)
    await state.begin(job(1), again=ended)
    assert await state.get("job-001") == job(1)
    assert (await state.list(status=JobState.FAILED)).items == ()


@pytest.mark.parametrize(
    "again", [None, job(1, status=JobState.FAILED, finished_at=at(3))], ids=["new", "again"]
)
@pytest.mark.parametrize(
    "written",
    [job(1, status=JobState.RUNNING), job(1, status=JobState.FAILED, finished_at=at(4))],
    ids=["running", "failed-once-more"],
)
async def test_a_job_does_not_begin_over_what_a_worker_wrote_meanwhile(
    state: State, written: Job, again: Job | None
) -> None:
    await state.save(written)
    before = await state.revision()
    await state.begin(job(1), again=again)
    assert await state.get("job-001") == written
    assert await state.revision() == before


async def test_an_unknown_job_is_none(state: State) -> None:
    assert await state.get("nobody") is None


async def test_what_one_process_saves_every_other_reads(connect: Connect) -> None:
    """Contract: any number of servers and workers."""
    worker, server = connect(), connect()
    await worker.save(job(1, percent=50.0))
    await worker.save_track(track(1))
    assert await server.get("job-001") == job(1, percent=50.0)
    assert (await server.list()).items == (job(1, percent=50.0),)
    assert (await server.tracks()).items == (track(1),)


async def test_every_save_gets_a_higher_revision(state: State) -> None:
    assert await state.revision() == 0
    assert await state.changed_since(0) == (0, [])
    await state.save(job(1))
    first = await state.revision()
    await state.save(job(2))
    second = await state.revision()
    assert 0 < first < second
    assert await state.changed_since(0) == (second, [job(1), job(2)])
    assert await state.changed_since(first) == (second, [job(2)])
    await state.save(job(1, percent=50.0))
    third = await state.revision()
    assert second < third
    assert await state.changed_since(second) == (third, [job(1, percent=50.0)])
    assert await state.changed_since(third) == (third, [])
    assert [one.job_id for one in (await state.changed_since(0))[1]] == ["job-002", "job-001"]


async def test_a_job_that_changed_twice_is_told_once_as_it_is(state: State) -> None:
    await state.save(job(1, percent=1.0))
    await state.save(job(1, percent=2.0))
    assert await state.changed_since(0) == (await state.revision(), [job(1, percent=2.0)])


async def test_many_changes_come_in_bounded_portions(state: State) -> None:
    for number in range(3):
        await state.save(job(number))
    reached, jobs = await state.changed_since(0, limit=2)
    assert jobs == [job(0), job(1)]
    assert await state.changed_since(reached, limit=2) == (await state.revision(), [job(2)])


async def test_who_asks_for_changes_while_others_write_misses_none(connect: Connect) -> None:
    """Progress across processes: a revision is never visible before a lower one."""
    jobs, steps = 8, 8

    async def write(state: State, mine: range) -> None:
        for step, number in itertools.product(range(1, steps + 1), mine):
            await state.save(job(number, percent=float(step)))

    async def read(state: State, until: asyncio.Event) -> dict[str, list[float]]:
        seen: dict[str, list[float]] = {}
        revision = 0
        while True:
            last_look = until.is_set()
            revision, changed = await state.changed_since(revision, limit=3)
            for one in changed:
                seen.setdefault(one.job_id, []).append(one.percent)
            if last_look and not changed:
                return seen

    written = asyncio.Event()
    readers = [asyncio.create_task(read(connect(), written)) for _ in range(2)]
    await asyncio.gather(
        *(write(connect(), range(first, jobs, 4)) for first in range(4)),
    )
    written.set()
    for reader in readers:
        seen = await reader
        assert sorted(seen) == [f"job-{number:03}" for number in range(jobs)]
        for percents in seen.values():
            assert percents == sorted(set(percents)), "each change once, never an older one later"
            assert percents[-1] == steps


async def test_jobs_are_listed_newest_first(state: State) -> None:
    for number in (2, 1, 3):
        await state.save(job(number))
    page = await state.list()
    assert [one.job_id for one in page.items] == ["job-003", "job-002", "job-001"]
    assert page.next_cursor is None


async def test_a_job_keeps_its_place_whatever_is_saved_later(state: State) -> None:
    await state.save(job(1))
    await state.save(job(2))
    await state.save(job(1, created_at=at(9), percent=1.0))
    assert [one.job_id for one in (await state.list()).items] == ["job-002", "job-001"]


async def test_jobs_are_picked_by_status_track_and_time_of_change(state: State) -> None:
    """Contract: `GET …/jobs?status=&track_id=&updated_since=&cursor=`."""
    await state.save(job(1))  # updated_at 0 s
    await state.save(job(2, track_id="other"))
    await state.save(job(3, status=JobState.RUNNING))
    await state.save(job(1, status=JobState.RUNNING))  # 3 s

    async def ids(**picked: object) -> list[str]:
        return [one.job_id for one in (await state.list(**picked)).items]  # type: ignore[arg-type]

    assert await ids(status=JobState.RUNNING) == ["job-003", "job-001"]
    assert await ids(status=JobState.FAILED) == []
    assert await ids(track_id="other") == ["job-002"]
    assert await ids(track_id="") == []
    assert await ids(updated_since=at(2)) == ["job-003", "job-001"]
    assert await ids(updated_since=at(3)) == ["job-001"]
    assert await ids(status=JobState.QUEUED, track_id="track") == []
    first = await state.list(status=JobState.RUNNING, limit=1)
    assert [one.job_id for one in first.items] == ["job-003"]
    assert await ids(status=JobState.RUNNING, cursor=first.next_cursor) == ["job-001"]


async def test_a_page_at_its_limit_with_nothing_behind_it_is_the_last(state: State) -> None:
    await state.save(job(1))
    await state.save(job(2))
    assert (await state.list(limit=2)).next_cursor is None
    assert (await state.list(limit=1)).next_cursor is not None


@dataclass(frozen=True, slots=True)
class Filter:
    status: JobState | None
    track_id: str | None
    updated_since: str | None


TRACK_IDS = ("a", "b")
STATUSES = (JobState.QUEUED, JobState.RUNNING, JobState.COMPLETED)
SAVES = st.lists(st.tuples(st.integers(0, 7), st.sampled_from(STATUSES)), max_size=16)
FILTERS = st.builds(
    Filter,
    st.none() | st.sampled_from(STATUSES),
    st.none() | st.sampled_from(TRACK_IDS),
    st.none() | st.integers(0, 16).map(at),
)


@settings(max_examples=50)
@given(saves=SAVES, asked=FILTERS, limit=st.integers(1, 4))
def test_any_history_is_listed_as_a_plain_list_would_be(
    records: Callable[[], AbstractAsyncContextManager[Connect]],
    saves: list[tuple[int, JobState]],
    asked: Filter,
    limit: int,
) -> None:
    async def check() -> None:
        model: dict[int, tuple[Job, str]] = {}
        async with records() as connect:
            state = connect()
            for second, (number, status) in enumerate(saves):
                # two jobs of one moment: the id decides
                saved = job(number, status=status, track_id=TRACK_IDS[number % 2], created_at=at(number // 2))
                await state.save(saved)
                model[number] = (saved, at(second))
            expected = [
                one
                for _, (one, updated_at) in sorted(model.items(), reverse=True)
                if asked.status in (None, one.status)
                and asked.track_id in (None, one.track_id)
                and (asked.updated_since is None or updated_at >= asked.updated_since)
            ]
            listed: list[Job] = []
            cursor = None
            while True:
                page = await state.list(
                    status=asked.status,
                    track_id=asked.track_id,
                    updated_since=asked.updated_since,
                    limit=limit,
                    cursor=cursor,
                )
                listed += page.items
                assert len(page.items) == limit or page.next_cursor is None
                if (cursor := page.next_cursor) is None:
                    break
            assert listed == expected

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("media_server.state.redis.PORTION", 2)  # so that a page takes several steps
        asyncio.run(check())


# Tracks


async def test_a_track_is_listed_as_it_was_saved_last(state: State) -> None:
    await state.save_track(track(1))
    await state.save_track(track(1, title=None, visibility="private", renditions=("128k",)))
    assert (await state.tracks()).items == (track(1, title=None, visibility="private", renditions=("128k",)),)


async def test_a_track_that_is_published_anew_is_the_newest(state: State) -> None:
    await state.save_track(track(1))
    await state.save_track(track(2))
    await state.save_track(track(1, created_at=at(3)))
    assert [one.track_id for one in (await state.tracks()).items] == ["track-001", "track-002"]


async def test_a_forgotten_track_is_not_listed(state: State) -> None:
    await state.save_track(track(1))
    await state.save_track(track(2))
    await state.forget_track("track-001")
    await state.forget_track("track-001")
    assert (await state.tracks()).items == (track(2),)


async def test_what_comes_or_goes_meanwhile_neither_repeats_nor_hides(state: State) -> None:
    for number in range(6):
        await state.save_track(track(number))
    first = await state.tracks(limit=3)
    await state.save_track(track(10))  # newer than all
    await state.forget_track("track-003")  # the last one shown: the cursor's own place
    second = await state.tracks(limit=3, cursor=first.next_cursor)
    assert [one.track_id for one in first.items] == ["track-005", "track-004", "track-003"]
    assert [one.track_id for one in second.items] == ["track-002", "track-001", "track-000"]
    assert second.next_cursor is None


@pytest.mark.parametrize("limit", [0, -1, MAX_PAGE + 1])
async def test_a_limit_outside_its_range_is_refused(state: State, limit: int) -> None:
    for ask in (state.list, state.tracks):
        with pytest.raises(BadRequest) as caught:
            await ask(limit=limit)
        assert caught.value.code == "bad_limit"


BAD_CURSORS = [
    "",
    "!",
    "a",
    "é",
    "MQ",  # 1
    "W10",  # []
    "WzEsMl0",  # [1,2]
    "eyJhIjoxLCJiIjoyfQ",  # {"a":1,"b":2}
    "WyJhIiwiYiIsImMiXQ",  # ["a","b","c"]
    base64.urlsafe_b64encode(b'["\\ud800","x"]').decode(),
    base64.urlsafe_b64encode(b"[" * 5000).decode(),
]


@pytest.mark.parametrize("cursor", BAD_CURSORS)
async def test_a_cursor_that_is_not_ours_is_refused(state: State, cursor: str) -> None:
    for ask in (state.list, state.tracks):
        with pytest.raises(BadRequest) as caught:
            await ask(cursor=cursor)
        assert caught.value.code == "bad_cursor"


@settings(max_examples=20)
@given(
    seconds=st.lists(st.integers(0, 5), max_size=12),
    limit=st.integers(1, 5),
    cursors=st.lists(st.text(max_size=40), max_size=5),
)
def test_pages_of_any_size_show_every_item_once_in_order(
    records: Callable[[], AbstractAsyncContextManager[Connect]],
    seconds: list[int],
    limit: int,
    cursors: list[str],
) -> None:
    """Times may be equal: the id decides then."""

    async def check() -> None:
        async with records() as connect:
            state = connect()
            for number, second in enumerate(seconds):
                await state.save_track(track(number, created_at=at(second)))
            shown: list[TrackSummary] = []
            cursor = None
            while True:
                page = await state.tracks(limit=limit, cursor=cursor)
                assert len(page.items) <= limit
                shown += page.items
                if (cursor := page.next_cursor) is None:
                    break
            assert [(one.created_at, one.track_id) for one in shown] == sorted(
                ((at(second), f"track-{number:03}") for number, second in enumerate(seconds)), reverse=True
            )
            for text in cursors:
                with pytest.raises(BadRequest):
                    await state.tracks(cursor=text)

    asyncio.run(check())


# Leases


async def test_a_lease_has_one_holder(connect: Connect) -> None:
    first, second = connect(), connect()
    assert await first.acquire("a", LONG_S) is not None
    assert await second.acquire("a", LONG_S) is None
    assert await first.acquire("a", LONG_S) is None, "not even the holder gets it twice"
    assert await second.acquire("b", LONG_S) is not None


async def test_of_many_that_ask_at_once_one_gets_the_lease(connect: Connect) -> None:
    states = [connect(), connect()]
    fences = await asyncio.gather(*(state.acquire("a", LONG_S) for state in states * 10))
    assert len([fence for fence in fences if fence is not None]) == 1


async def test_a_lease_that_was_given_back_is_free(connect: Connect) -> None:
    first, second = connect(), connect()
    fence = await first.acquire("a", LONG_S)
    assert fence is not None
    await first.release("a", fence)
    assert await second.acquire("a", LONG_S) is not None


async def test_fencing_numbers_rise_over_all_leases(connect: Connect) -> None:
    """A write with a lower number than one seen before comes from somebody who has lost the lease."""
    states, fences = [connect(), connect()], []
    for state, name in itertools.product(states, ["a", "b", "a"]):
        fence = await state.acquire(name, LONG_S)
        assert fence is not None
        fences.append(fence)
        await state.release(name, fence)
    assert fences == sorted(set(fences))
    assert fences[0] >= 1


async def test_a_lease_ends_with_its_time(connect: Connect) -> None:
    first, second = connect(), connect()
    lost = await first.acquire("a", SHORT_S)
    assert lost is not None
    taken = await eventually(lambda: second.acquire("a", LONG_S))
    assert taken > lost


async def test_a_lost_lease_is_neither_renewed_nor_given_back(connect: Connect) -> None:
    first, second = connect(), connect()
    lost = await first.acquire("a", SHORT_S)
    assert lost is not None
    taken = await eventually(lambda: second.acquire("a", LONG_S))
    assert not await first.renew("a", lost, LONG_S)
    await first.release("a", lost)
    assert await first.acquire("a", LONG_S) is None
    assert await second.renew("a", taken, LONG_S)


async def test_a_lease_that_nobody_has_is_not_renewed(state: State) -> None:
    assert not await state.renew("a", 1, LONG_S)
    await state.release("a", 1)
    fence = await state.acquire("a", LONG_S)
    assert fence is not None
    await state.release("a", fence)
    assert not await state.renew("a", fence, LONG_S)


async def test_a_renewed_lease_outlives_its_first_time(connect: Connect) -> None:
    first, second = connect(), connect()
    fence = await first.acquire("renewed", 1.0)
    assert fence is not None
    assert await first.renew("renewed", fence, LONG_S)
    assert await first.acquire("left alone", 1.0) is not None
    await eventually(lambda: second.acquire("left alone", LONG_S))
    assert await second.acquire("renewed", LONG_S) is None


async def test_a_lease_may_be_shortened(connect: Connect) -> None:
    first, second = connect(), connect()
    fence = await first.acquire("a", LONG_S)
    assert fence is not None
    assert await first.renew("a", fence, SHORT_S)
    await eventually(lambda: second.acquire("a", LONG_S))


# Counters


async def test_each_name_is_counted_from_one(state: State) -> None:
    assert [await state.next_number(name) for name in "aaba"] == [1, 2, 1, 3]


async def test_of_many_that_count_at_once_none_gets_the_same_number(connect: Connect) -> None:
    states = [connect(), connect()]
    numbers = await asyncio.gather(*(state.next_number("a") for state in states * 5))
    assert sorted(numbers) == list(range(1, 11))


async def test_a_state_in_order_is_ready(state: State) -> None:
    await state.check()
    await state.check()
