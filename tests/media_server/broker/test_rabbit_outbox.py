"""media_server/broker/rabbit_outbox.py: what only this outbox does.

What every outbox does is tests/contract/test_broker.py.
"""

from __future__ import annotations

import asyncio
import time

import aio_pika
from servers.queues import Queues

from media_server.broker.base import Callback, OutboxCounts, PendingCallback
from media_server.broker.rabbit_outbox import RabbitOutbox
from media_server.state.local import LocalState

CALLBACK = Callback(job_id="job", track_id="track", body={"status": "completed"})
WITHIN_S = 10.0


async def claimed(outbox: RabbitOutbox) -> PendingCallback:
    async with asyncio.timeout(WITHIN_S):
        while (pending := await outbox.claim()) is None:
            pass
    return pending


async def test_a_delay_that_no_tier_has_is_made_of_several(rabbit: Queues, state: LocalState) -> None:
    """Retry-After is honoured: 1.2 s of tiers of 0.2 and 0.5 s, and the tries count the sendings only."""
    _, outbox = await rabbit.server(state)
    await outbox.put(CALLBACK)
    first = await claimed(outbox)
    began = time.monotonic()
    await outbox.again(first.id, 1.2, "status 429")
    second = await claimed(outbox)
    assert time.monotonic() - began >= 0.7  # due within half a second is due
    assert second.tries == 2
    await outbox.done(second.id)


async def test_a_callback_in_the_queue_twice_is_in_hand_once(rabbit: Queues, state: LocalState) -> None:
    """Its first confirm was lost, it was published again: the same job and number are the same callback."""
    _, outbox = await rabbit.server(state)
    await outbox.put(CALLBACK)
    first = await claimed(outbox)
    await rabbit.publish_to(rabbit.topology.callbacks, twin_of(outbox, first.id))
    assert await outbox.claim() is None
    await outbox.done(first.id)
    assert await outbox.counts() == OutboxCounts(0, 0)


def twin_of(outbox: RabbitOutbox, callback_id: int) -> aio_pika.Message:
    """Its message once more."""
    message = outbox._in_hand[callback_id]
    return aio_pika.Message(
        message.body, message_id=message.message_id, headers=dict(message.headers), delivery_mode=2
    )


async def test_what_is_no_callback_is_parked_and_the_next_goes_on(rabbit: Queues, state: LocalState) -> None:
    _, outbox = await rabbit.server(state)
    await rabbit.publish_to(rabbit.topology.callbacks, aio_pika.Message(b"not json"))
    await rabbit.publish_to(rabbit.topology.callbacks, aio_pika.Message(b"{}"))
    await outbox.put(CALLBACK)
    pending = await claimed(outbox)
    assert pending.job_id == "job"
    await outbox.done(pending.id)
    assert await outbox.counts() == OutboxCounts(0, 2)
    assert await outbox.parked() == []  # nothing that could be sent again


async def test_a_process_that_ends_leaves_its_callbacks_to_others(rabbit: Queues, state: LocalState) -> None:
    _, outbox = await rabbit.server(state)
    await outbox.put(CALLBACK)
    pending = await claimed(outbox)
    await outbox._connection.close()  # for good: one that comes back would be given the callback again
    _, other = await rabbit.server(state)
    again = await claimed(other)
    assert (again.id, again.body) == (pending.id, pending.body)
    await outbox.done(pending.id)  # too late: it is sent under the same key, as told
    await other.done(again.id)
    assert await other.claim() is None


async def test_without_a_broker_nothing_is_claimed_and_the_counts_stay(
    rabbit: Queues, state: LocalState
) -> None:
    _, outbox = await rabbit.server(state)
    await outbox.put(CALLBACK)
    assert await outbox.counts() == OutboxCounts(1, 0)
    pending = await claimed(outbox)
    await outbox._connection.close()
    assert await outbox.claim() is None
    assert await outbox.counts() == OutboxCounts(1, 0)
    await outbox.again(pending.id, 1, "no answer")
    await outbox.done(pending.id)
