"""The queue on a RabbitMQ that is killed, frozen and started again while a job runs."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Iterator

import pytest
from servers.queues import Queues, queues
from servers.rabbitmq import NotInstalledError, PrivateRabbitMQ

from media_server.broker.base import Callback
from media_server.broker.rabbit import RabbitBroker
from media_server.broker.rabbit_delivery import RabbitDelivery
from media_server.errors import Conflict, Unavailable
from media_server.state.local import LocalState

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SETTLED_AFTER_S = 10.0
"""Fact 7: a kill -9 sooner after the declaration of a quorum queue loses it."""

BACK_WITHIN_S = 90.0


@pytest.fixture
def node() -> Iterator[PrivateRabbitMQ]:
    try:
        own = PrivateRabbitMQ()
    except NotInstalledError as error:
        pytest.skip(str(error))
    with own:
        yield own


async def received(broker: RabbitBroker) -> RabbitDelivery:
    async with asyncio.timeout(BACK_WITHIN_S):
        while (delivery := await broker.receive()) is None:
            await broker.wait(0.2)
    return delivery


async def works_for(delivery: RabbitDelivery, seconds: float) -> None:
    """What a job does: it holds its lease."""
    over = time.monotonic() + seconds
    while time.monotonic() < over:
        assert await delivery.extend()


async def published(made: Queues, broker: RabbitBroker) -> str:
    """Publish again until it is confirmed, as whoever calls does."""
    job_id = str(uuid.uuid4())
    async with asyncio.timeout(BACK_WITHIN_S):
        while True:
            try:
                await broker.publish(job_id, str(uuid.uuid4()), b"{}")
            except Unavailable:
                continue
            return job_id


async def test_a_broker_that_dies_and_freezes_loses_no_confirmed_job(
    node: PrivateRabbitMQ, state: LocalState
) -> None:
    """F3: the job goes on, its late ack fails, the message comes again. F4: publishing ends in time."""
    async with queues(node.url) as made:
        broker, outbox = await made.server(state, lease_s=30.0)
        running = await published(made, broker)
        delivery = await received(broker)
        waiting = await published(made, broker)
        await works_for(delivery, SETTLED_AFTER_S)

        node.kill()
        with pytest.raises(Unavailable):
            await broker.publish(str(uuid.uuid4()), str(uuid.uuid4()), b"{}")
        assert await delivery.extend(), "the connection is gone, the lease is not"
        assert await broker.receive() is None
        node.start()
        assert await delivery.extend()
        after = await published(made, broker)
        done = Callback(job_id=running, track_id=delivery.track_id, body={"status": "completed"})
        with pytest.raises(Conflict) as caught:
            await delivery.ack(done)
        assert caught.value.code == "lease_lost"

        attempts = {}
        for _ in range(3):
            again = await received(broker)
            attempts[again.job_id] = again.attempt
            await again.ack(Callback(job_id=again.job_id, track_id=again.track_id, body={}))
        assert set(attempts) == {running, waiting, after}
        assert attempts[running] == 2
        assert (await outbox.counts()).pending == 3

        node.pause()
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await broker.publish(str(uuid.uuid4()), str(uuid.uuid4()), b"{}")
        assert time.monotonic() - began < 7
        node.resume()
        await published(made, broker)


async def test_a_broker_that_is_started_anew_costs_one_attempt_however_many_workers_there_are(
    node: PrivateRabbitMQ, state: LocalState
) -> None:
    """It gives what was in hand to whoever is still connected, one after the other, and counts each."""
    async with queues(node.url) as made:
        workers = [(await made.server(state, lease_s=30.0))[0] for _ in range(8)]
        job_id = await published(made, workers[0])
        delivery = await received(workers[0])
        for worker in workers[1:]:
            assert await worker.receive() is None
        for attempt in (2, 3):
            await asyncio.to_thread(node.stop)
            await asyncio.to_thread(node.start)
            await _lost(delivery)
            delivery = await _received_by_any(workers)
            assert (delivery.job_id, delivery.attempt) == (job_id, attempt)
        await delivery.release()
        delivery = await _received_by_any(workers)
        assert delivery.attempt == 3, "not counted"
        await delivery.retry(0)
        delivery = await _received_by_any(workers)
        assert delivery.attempt == 4
        await delivery.ack()
        assert await workers[0].parked() == []


async def _lost(delivery: RabbitDelivery) -> None:
    """Its acknowledgement is refused, as soon as there is a broker again that can say so."""
    async with asyncio.timeout(BACK_WITHIN_S):
        while True:
            try:
                await delivery.ack()
            except Conflict:
                return
            except Unavailable:
                continue
            raise AssertionError("it was acknowledged")


async def _received_by_any(workers: list[RabbitBroker]) -> RabbitDelivery:
    async with asyncio.timeout(BACK_WITHIN_S):
        while True:
            for worker in workers:
                with contextlib.suppress(Unavailable):  # it is not back yet
                    if (delivery := await worker.receive()) is not None:
                        return delivery
