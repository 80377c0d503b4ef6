"""media_server/broker/rabbit_parked.py; see tests/contract/test_broker.py, too."""

from __future__ import annotations

import aio_pika
import pytest
from servers.queues import Queues

from media_server.broker.rabbit_connection import RabbitConnection
from media_server.broker.rabbit_inbox import acknowledge
from media_server.broker.rabbit_parked import looked_at, parked_jobs
from media_server.errors import Unavailable


async def test_looking_many_times_takes_nothing_away_and_keeps_the_order(rabbit: Queues) -> None:
    """Far above the limit of deliveries that a quorum queue has by itself on newer brokers."""
    connection = RabbitConnection(rabbit.url, rabbit.topology)
    await connection.start()
    for at in range(5):
        message = aio_pika.Message(b"x", headers={"x-parked-at": at, "x-reason": str(at)})
        await connection.publish(message, rabbit.topology.parked)
    for _ in range(30):
        assert [one.reason for one in await parked_jobs(connection)] == ["0", "1", "2", "3", "4"]
    async with looked_at(connection, rabbit.topology.parked) as messages:
        assert await acknowledge(messages[2])
    assert [one.reason for one in await parked_jobs(connection)] == ["0", "1", "3", "4"]
    await connection.close()
    with pytest.raises(Unavailable):
        await parked_jobs(connection)


async def test_what_the_broker_parked_itself_says_so(rabbit: Queues) -> None:
    connection = RabbitConnection(rabbit.url, rabbit.topology)
    await connection.start()
    await connection.publish(aio_pika.Message(b"x"), rabbit.topology.parked)
    [parked] = await parked_jobs(connection)
    assert (parked.reason, parked.job_id, parked.track_id) == ("delivery_limit", "", "")
    await connection.close()
