"""The broker and outbox ports: one suite over the embedded queue and a real RabbitMQ."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from servers.queues import queues
from servers.rabbitmq import NotInstalledError, shared_rabbitmq

from media_server.broker.base import Broker, Callback, Delivery, Outbox, OutboxCounts, PendingCallback
from media_server.broker.local import LocalBroker
from media_server.broker.outbox import LocalOutbox
from media_server.broker.owner import Owner
from media_server.database import Database
from media_server.errors import Conflict
from media_server.state.local import LocalState

LEASE_S = 1.0
WITHIN_S = 20.0


@dataclass(frozen=True, slots=True)
class Sides:
    """Two processes with one queue."""

    broker: Broker
    outbox: Outbox
    other_broker: Broker
    other_outbox: Outbox


@pytest.fixture(params=["local", "rabbit"])
async def sides(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Sides]:
    database = Database(tmp_path / "db.sqlite3")
    try:
        if request.param == "local":
            owners = [Owner(tmp_path / "owners") for _ in range(2)]
            one, other = (
                (
                    LocalBroker(database, lease_s=LEASE_S, owner=owner, now=time.time),
                    LocalOutbox(database, owner=owner, now=time.time),
                )
                for owner in owners
            )
            yield Sides(*one, *other)
            for owner in owners:
                owner.close()
            return
        try:
            node = shared_rabbitmq()
        except NotInstalledError as error:
            pytest.skip(str(error))
        async with queues(node.url) as made:
            state = LocalState(database)
            yield Sides(*await made.server(state), *await made.server(state))
    finally:
        await database.close()


@pytest.fixture
def broker(sides: Sides) -> Broker:
    return sides.broker


@pytest.fixture
def outbox(sides: Sides) -> Outbox:
    return sides.outbox


@pytest.fixture
def other_broker(sides: Sides) -> Broker:
    return sides.other_broker


def new_id() -> str:
    return str(uuid.uuid4())


async def published(broker: Broker, body: bytes = b"{}", track_id: str | None = None) -> str:
    job_id = new_id()
    assert await broker.publish(job_id, track_id or new_id(), body)
    return job_id


async def received(broker: Broker) -> Delivery:
    async with asyncio.timeout(WITHIN_S):
        while (delivery := await broker.receive()) is None:
            await broker.wait(0.1)
    return delivery


async def claimed(outbox: Outbox) -> PendingCallback:
    async with asyncio.timeout(WITHIN_S):
        while (pending := await outbox.claim()) is None:
            pass
    return pending


def callback_of(delivery: Delivery, **body: object) -> Callback:
    return Callback(job_id=delivery.job_id, track_id=delivery.track_id, body=body)


async def test_a_message_is_received_as_it_was_published(broker: Broker) -> None:
    job_id, track_id = new_id(), new_id()
    assert await broker.publish(job_id, track_id, b"body")
    delivery = await received(broker)
    assert (delivery.job_id, delivery.track_id, delivery.body) == (job_id, track_id, b"body")
    assert (delivery.attempt, delivery.fence >= 1) == (1, True)


async def test_an_empty_queue_gives_nothing(broker: Broker) -> None:
    assert await broker.receive() is None


async def test_what_is_acknowledged_is_gone(broker: Broker, other_broker: Broker) -> None:
    await published(broker)
    await (await received(broker)).ack()
    assert await broker.receive() is None
    assert await other_broker.receive() is None


async def test_what_waits_is_counted(broker: Broker) -> None:
    """Retries that are not due yet included."""
    await published(broker)
    await published(broker)
    assert (await broker.depth()).waiting == 2
    await (await received(broker)).retry(60)
    await (await received(broker)).ack()
    assert (await broker.depth()).waiting == 1


async def test_a_track_is_out_once_at_a_time(broker: Broker, other_broker: Broker) -> None:
    """Two deliveries of one track are never in hand at once."""
    track_id = new_id()
    first = await published(broker, track_id=track_id)
    second = await published(broker, track_id=track_id)
    delivery = await received(broker)
    assert delivery.job_id == first
    assert await other_broker.receive() is None
    await delivery.ack()
    following = await received(other_broker)
    assert (following.job_id, following.attempt) == (second, 1)
    assert following.fence > delivery.fence


async def test_two_receivers_share_the_work(broker: Broker, other_broker: Broker) -> None:
    jobs = {await published(broker) for _ in range(6)}
    seen = []
    async with asyncio.timeout(WITHIN_S):
        while len(seen) < len(jobs):
            for receiver in (broker, other_broker):
                if (delivery := await receiver.receive()) is not None:
                    seen.append(delivery.job_id)
                    await delivery.ack()
    assert sorted(seen) == sorted(jobs)


async def test_a_retry_comes_after_its_delay_and_counts(broker: Broker) -> None:
    await published(broker)
    await (await received(broker)).retry(0.5)
    assert await broker.receive() is None
    delivery = await received(broker)
    assert delivery.attempt == 2
    await delivery.retry(0)
    assert (await received(broker)).attempt == 3


async def test_a_released_message_comes_at_once_and_the_attempt_does_not_count(
    broker: Broker, other_broker: Broker
) -> None:
    """F18: release, attempt not counted."""
    await published(broker)
    await (await received(broker)).retry(0)
    await (await received(broker)).release()
    await broker.stop_receiving()
    assert (await received(other_broker)).attempt == 2


async def test_a_parked_message_is_there_for_people_and_comes_no_more(broker: Broker) -> None:
    job_id, track_id = new_id(), new_id()
    await broker.publish(job_id, track_id, b"body")
    await (await received(broker)).park("why")
    assert await broker.receive() is None
    for _ in range(2):  # looking takes nothing away
        [parked] = await broker.parked()
        assert (parked.job_id, parked.track_id, parked.reason) == (job_id, track_id, "why")
        assert (parked.attempt, parked.body) == (1, b"body")


async def test_a_delivery_ends_once(broker: Broker) -> None:
    await published(broker)
    delivery = await received(broker)
    assert await delivery.is_current()
    await delivery.ack()
    for end in (delivery.ack(), delivery.retry(0), delivery.release(), delivery.park("why")):
        with pytest.raises(Conflict) as caught:
            await end
        assert caught.value.code == "lease_lost"
    assert not await delivery.is_current()
    assert not await delivery.extend()


async def test_a_lease_that_ran_out_gives_the_job_to_another_and_counts(
    broker: Broker, other_broker: Broker, outbox: Outbox
) -> None:
    """Fact 8: the late ack fails, the message is somebody else's; nothing is told twice."""
    await published(broker)
    late = await received(broker)
    receiving = asyncio.gather(received(other_broker), _keep_receiving(broker))
    current = (await receiving)[0]
    assert current.attempt == 2
    with pytest.raises(Conflict):
        await late.ack(callback_of(late, status="completed"))
    assert await outbox.counts() == OutboxCounts(0, 0)
    assert await current.is_current()


async def _keep_receiving(broker: Broker) -> None:
    """What a lane does that dropped its delivery: it looks for the next one, which is not for it to have."""
    async with asyncio.timeout(WITHIN_S):
        for _ in range(3):
            await broker.wait(LEASE_S)
            if (delivery := await broker.receive()) is not None:
                await delivery.release()


async def test_an_extended_lease_lasts(broker: Broker, other_broker: Broker) -> None:
    await published(broker)
    delivery = await received(broker)
    for _ in range(4):
        await other_broker.wait(LEASE_S / 2)
        assert await delivery.extend()
        assert await other_broker.receive() is None
    await delivery.ack()


async def test_a_cancelled_receive_leaves_the_queue_as_it_was(broker: Broker) -> None:
    await published(broker)
    for turns in range(12):
        receiving = asyncio.ensure_future(broker.receive())
        for _ in range(turns):
            await asyncio.sleep(0)
        receiving.cancel()
        [outcome] = await asyncio.gather(receiving, return_exceptions=True)
        if not isinstance(outcome, asyncio.CancelledError) and outcome is not None:
            await outcome.release()
    assert (await received(broker)).attempt == 1


async def test_the_callback_is_in_the_outbox_when_the_message_is_gone(broker: Broker, outbox: Outbox) -> None:
    """I1, I5: with its number; claimed once."""
    await published(broker)
    delivery = await received(broker)
    with pytest.raises(TypeError):
        await delivery.ack(callback_of(delivery, unwritable=object()))
    assert await delivery.is_current()
    await delivery.ack(callback_of(delivery, status="completed"))
    pending = await claimed(outbox)
    assert (pending.job_id, pending.track_id) == (delivery.job_id, delivery.track_id)
    assert pending.body == {"status": "completed", "sequence": pending.sequence}
    assert pending.tries == 1
    assert await outbox.claim() is None
    assert await outbox.counts() == OutboxCounts(1, 0)
    await outbox.done(pending.id)
    assert await outbox.counts() == OutboxCounts(0, 0)


async def test_a_callback_keeps_its_trace_over_its_tries(broker: Broker, outbox: Outbox) -> None:
    """Contract, callback: `traceparent`."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await published(broker)
    delivery = await received(broker)
    await delivery.ack(replace(callback_of(delivery, status="completed"), traceparent=trace))
    first = await claimed(outbox)
    await outbox.again(first.id, 0.1, "status 503")
    second = await claimed(outbox)
    await outbox.park(second.id, "status 410")
    [parked] = await outbox.parked()
    assert [first.traceparent, second.traceparent, parked.traceparent] == [trace] * 3
    assert await outbox.retry_parked(parked.id)
    assert (await claimed(outbox)).traceparent == trace


async def test_a_parked_job_tells_its_callback_too(broker: Broker, outbox: Outbox) -> None:
    await published(broker)
    delivery = await received(broker)
    await delivery.park(
        "why", callback_of(delivery, status="failed"), ("transcoding.failed", _about(delivery))
    )
    assert (await claimed(outbox)).body["status"] == "failed"
    assert len(await broker.parked()) == 1


def _about(delivery: Delivery) -> dict[str, object]:
    return {"job_id": delivery.job_id, "track_id": delivery.track_id, "error": None}


async def test_the_sequence_of_a_track_rises(broker: Broker, outbox: Outbox) -> None:
    """I5: monotonic per track."""
    track_id, sequences = new_id(), []
    for status in ("failed", "completed", "completed"):
        await published(broker, track_id=track_id)
        delivery = await received(broker)
        await delivery.ack(callback_of(delivery, status=status))
        pending = await claimed(outbox)
        sequences.append(pending.sequence)
        await outbox.done(pending.id)
    assert sequences == sorted(set(sequences))


async def test_a_callback_that_failed_is_due_again_and_counts_its_tries(
    broker: Broker, outbox: Outbox, sides: Sides
) -> None:
    await published(broker)
    delivery = await received(broker)
    await delivery.ack(callback_of(delivery, status="completed"))
    first = await claimed(outbox)
    await outbox.again(first.id, 0.8, "status 503")
    assert await outbox.claim() is None
    second = await claimed(outbox)
    assert (second.tries, second.error) == (2, "status 503")
    assert second.created_at == pytest.approx(first.created_at)
    assert second.sequence == first.sequence
    await outbox.done(second.id)


async def test_a_parked_callback_is_listed_and_can_be_sent_again(broker: Broker, outbox: Outbox) -> None:
    await published(broker)
    delivery = await received(broker)
    await delivery.ack(callback_of(delivery, status="completed"))
    pending = await claimed(outbox)
    await outbox.park(pending.id, "status 410")
    assert await outbox.claim() is None
    assert await outbox.counts() == OutboxCounts(0, 1)
    [parked] = await outbox.parked()
    assert (parked.job_id, parked.error, parked.tries) == (delivery.job_id, "status 410", 1)
    assert not await outbox.retry_parked(parked.id + 1)
    assert await outbox.retry_parked(parked.id)
    again = await claimed(outbox)
    assert (again.body, again.tries) == (pending.body, 1)
    await outbox.done(again.id)
    assert await outbox.parked() == []


async def test_a_broker_that_can_be_published_to_says_so(broker: Broker) -> None:
    await broker.check()


async def test_to_announce_never_raises(broker: Broker) -> None:
    await published(broker)
    delivery = await received(broker)
    await delivery.announce("transcoding.started", _about(delivery))
    await delivery.ack()
