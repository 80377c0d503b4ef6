"""media_server/broker/rabbit_catalogue.py: changes of tracks reach `apply`, in order, until it succeeds."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable

import pytest
from servers.queues import Queues

from media_server.broker.envelope import Envelope, Refused
from media_server.broker.rabbit_catalogue import CatalogueConsumer
from media_server.broker.rabbit_connection import RabbitConnection
from media_server.broker.rabbit_parked import parked_jobs
from media_server.errors import Unavailable

WITHIN_S = 10.0


@pytest.fixture
async def connection(rabbit: Queues) -> AsyncIterator[RabbitConnection]:
    opened = RabbitConnection(rabbit.url, rabbit.topology, first_backoff_s=0.05)
    await opened.start()
    yield opened
    await opened.close()


async def applied(consumer: CatalogueConsumer, done: Callable[[], bool]) -> None:
    """Run until it is done."""
    stop = asyncio.Event()
    async with asyncio.timeout(WITHIN_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(consumer.run(stop))
        while not done():  # noqa: ASYNC110 - the changes are all it shows
            await asyncio.sleep(0.01)
        stop.set()


async def apply_next(consumer: CatalogueConsumer) -> None:
    """The next event, as soon as the broker hands it out."""
    async with asyncio.timeout(WITHIN_S):
        while not await consumer.apply_one():  # noqa: ASYNC110 - the broker tells nobody else
            await asyncio.sleep(0.01)


async def test_events_are_applied_in_order_and_then_gone(
    rabbit: Queues, connection: RabbitConnection
) -> None:
    seen: list[Envelope] = []

    async def apply(event: Envelope) -> None:
        seen.append(event)

    consumer = CatalogueConsumer(connection, apply, time.time)
    for number in range(3):
        await rabbit.publish(json.dumps({"track_id": str(number)}).encode(), "track.updated")
    await rabbit.publish(json.dumps({"trackId": "3"}).encode(), "track.deleted")
    enveloped = {"event_type": "user.deleted", "event_id": "e", "data": {"user_id": "u"}}
    await rabbit.publish(json.dumps(enveloped).encode(), "user.deleted")
    await applied(consumer, lambda: len(seen) == 5)
    assert [event.event_type for event in seen] == ["track.updated"] * 3 + ["track.deleted", "user.deleted"]
    assert [event.data.get("track_id") for event in seen[:3]] == ["0", "1", "2"]
    assert await connection.count(rabbit.topology.catalogue) == 0


async def test_one_that_fails_comes_again_as_the_same_event(
    rabbit: Queues, connection: RabbitConnection
) -> None:
    """Delayed retries: behind a retry queue the routing key is another, the event's type is not."""
    tries: list[tuple[str, float]] = []

    async def apply(event: Envelope) -> None:
        tries.append((event.event_type, time.monotonic()))
        if len(tries) < 3:
            raise Unavailable("storage", "out of reach") if len(tries) == 1 else ValueError("a bug")

    consumer = CatalogueConsumer(connection, apply, time.time)
    await rabbit.publish(b"{}", "track.updated")
    await applied(consumer, lambda: len(tries) == 3)
    assert {event_type for event_type, _ in tries} == {"track.updated"}
    assert tries[1][1] - tries[0][1] >= rabbit.topology.tiers[0].seconds
    assert await parked_jobs(connection) == []


async def test_one_that_tells_no_time_is_as_old_as_when_it_first_came(
    rabbit: Queues, connection: RabbitConnection
) -> None:
    """Else it would pass for newer than what overtook it while it waited for its retry."""
    seen: list[str | None] = []

    async def apply(event: Envelope) -> None:
        seen.append(event.timestamp)
        if len(seen) < 4:
            raise Unavailable("storage", "out of reach")

    clock = iter(range(1_800_000_000, 1_800_000_100))
    consumer = CatalogueConsumer(connection, apply, lambda: float(next(clock)))
    await rabbit.publish(b'{"data": {}}', "track.updated")
    await applied(consumer, lambda: len(seen) == 4)
    assert seen == [None, *["2027-01-15T08:00:00.000Z"] * 3]


async def test_what_is_not_understood_is_parked_at_once(rabbit: Queues, connection: RabbitConnection) -> None:
    async def apply(event: Envelope) -> None:
        raise Refused("bad_event", f"track_id: no id in {len(event.data)} fields")

    consumer = CatalogueConsumer(connection, apply, time.time)
    await rabbit.publish(b"not json", "track.updated")
    await rabbit.publish(b"{}", "track.deleted")
    await apply_next(consumer)
    await apply_next(consumer)
    assert not await consumer.apply_one()
    assert [one.reason for one in await parked_jobs(connection)] == ["bad_json", "bad_event"]
