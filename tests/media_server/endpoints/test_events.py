"""media_server/endpoints/events.py"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import orjson
import pytest
from servers.redis import PrivateRedis

from media_server.endpoints.events import changes
from media_server.errors import Unavailable
from media_server.jobs.job import Job, JobState
from media_server.state.redis import RedisState

EVENTS = "/api/v1/internal/jobs/events"


def job(number: int, status: JobState = JobState.QUEUED) -> Job:
    return Job(
        job_id=f"00000000-0000-4000-8000-00000000000{number}",
        track_id="6f9619ff-8b86-4d01-b42d-00cf4fc964ff",
        status=status,
        created_at=f"2026-01-01T00:00:0{number}.000Z",
    )


async def taken(stream: AsyncIterator[Job], count: int) -> list[Job]:
    return [await anext(stream) for _ in range(count)]


async def test_first_come_the_jobs_under_way_then_every_change(server: Any) -> None:
    """Live progress: who connects now knows at once what runs, and of ended jobs nothing."""
    state = server.services.state
    running, waiting, ended = job(1, JobState.RUNNING), job(2), job(3, JobState.COMPLETED)
    for one in (running, waiting, ended):
        await state.save(one)
    async with aclosing(changes(server.services)) as stream:
        assert await taken(stream, 2) == [running, waiting]
        further = [replace(running, percent=float(percent)) for percent in (10, 20)]
        for one in further:
            await state.save(one)
        assert (await taken(stream, 1))[0].percent in {10.0, 20.0}
        done = replace(running, status=JobState.COMPLETED)
        await state.save(done)
        while (found := await anext(stream)) != done:
            assert found.percent == 20.0


async def test_what_changes_while_the_list_is_read_is_not_missed(server: Any) -> None:
    """Told twice rather than never."""
    await server.services.state.save(job(1))
    async with aclosing(changes(server.services)) as stream:
        assert await anext(stream) == job(1)
        await server.services.state.save(job(1, JobState.RUNNING))
        assert await anext(stream) == job(1, JobState.RUNNING)


async def test_a_stream_outlives_a_redis_that_stops(server: Any) -> None:
    """Reliability: who watches jobs need not notice; what changed meanwhile is told afterwards."""
    with PrivateRedis(persist=True) as redis:
        state = server.services.state = RedisState(redis.url)
        await state.save(job(1))
        async with aclosing(changes(server.services)) as stream:
            assert await anext(stream) == job(1)
            redis.stop()
            following = asyncio.create_task(anext(stream))
            with pytest.raises(Unavailable):
                await state.check()
            redis.start()
            await state.save(job(2))
            found = await following
            assert found in {job(1), job(2)}  # once more is allowed, never is not
            if found != job(2):
                assert await anext(stream) == job(2)
        await state.close()


async def test_a_stop_ends_the_stream_at_once(server: Any) -> None:
    """A stream without end must not hold up the shutdown."""
    await server.services.state.save(job(1))
    server.services.stopping.set()
    answer = await server.ask(EVENTS)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    [event] = answer.text.strip().split("\n\n")
    name, data = event.split("\n")
    assert name == "event: job"
    assert orjson.loads(data.removeprefix("data: ")) == orjson.loads(orjson.dumps(job(1)))


async def test_a_client_that_leaves_ends_its_stream(server: Any) -> None:
    left = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await left.wait()
        return {"type": "http.disconnect"}

    streaming = asyncio.create_task(server.raw("GET", EVENTS, {}, receive))
    left.set()
    async with asyncio.timeout(5):
        assert (await streaming).status == 200


async def test_head_does_not_open_a_stream(server: Any) -> None:
    answer = await server.ask(EVENTS, "HEAD")
    assert (answer.status_code, answer.content) == (200, b"")


async def test_events_are_internal(guarded: Any, key: dict[str, str]) -> None:
    """They are no job called `events` either."""
    assert (await guarded.ask(EVENTS)).status_code == 401
    guarded.services.stopping.set()
    assert (await guarded.ask(EVENTS, headers=key)).status_code == 200
