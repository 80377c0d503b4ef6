"""media_server/broker/rabbit_delivery.py: the order in which a job ends, and what follows when it cannot.

What every delivery does is tests/contract/test_broker.py.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping

import pytest
from servers.queues import Queues

from media_server.broker.base import Callback
from media_server.broker.rabbit import RabbitBroker
from media_server.broker.rabbit_delivery import RabbitDelivery
from media_server.errors import Conflict, Unavailable
from media_server.state.local import LocalState

WITHIN_S = 10.0


async def received(broker: RabbitBroker) -> RabbitDelivery:
    async with asyncio.timeout(WITHIN_S):
        while (delivery := await broker.receive()) is None:
            await broker.wait(0.1)
    return delivery


async def test_a_callback_that_is_not_safe_leaves_the_message(rabbit: Queues, state: LocalState) -> None:
    """Manual acknowledgement after the callback is safe: never before."""
    broker, _ = await rabbit.server(state)
    await broker.publish(str(uuid.uuid4()), str(uuid.uuid4()), b"{}")
    delivery = await received(broker)

    async def unsafe(callback: Callback) -> None:
        raise Unavailable("broker", f"no confirm for {callback.job_id}")

    broker.put_callback, safe = unsafe, broker.put_callback
    heard = await rabbit.listen()
    about: Mapping[str, str] = {"job_id": delivery.job_id, "track_id": delivery.track_id}
    callback = Callback(job_id=delivery.job_id, track_id=delivery.track_id, body={})
    with pytest.raises(Unavailable):
        await delivery.ack(callback, ("transcoding.completed", about))
    assert await delivery.is_current()
    broker.put_callback = safe
    await delivery.ack(callback, ("transcoding.completed", about))
    assert len(await rabbit.taken(heard, 1)) == 1


async def test_the_track_is_free_as_soon_as_a_late_end_is_refused(rabbit: Queues, state: LocalState) -> None:
    """Fact 8: the connection is made anew under a running job; the job's message comes again at once."""
    broker, _ = await rabbit.server(state, lease_s=60.0)
    await broker.publish(str(uuid.uuid4()), str(uuid.uuid4()), b"{}")
    delivery = await received(broker)
    link = await broker.connection.up()
    await link.connection.close()
    assert await delivery.extend(), "the job goes on"
    assert not await delivery.is_current()
    with pytest.raises(Conflict) as caught:
        await delivery.ack()
    assert caught.value.code == "lease_lost"
    again = await received(broker)
    assert (again.job_id, again.attempt) == (delivery.job_id, 2)
    assert again.fence > delivery.fence
    await again.ack()
