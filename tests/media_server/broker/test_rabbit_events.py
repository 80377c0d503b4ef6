"""media_server/broker/rabbit_events.py; what the events hold is test_rabbit.py and test_envelope.py."""

from __future__ import annotations

import time

import pytest
from servers.ports import free_ports
from servers.queues import Queues

from media_server.broker.envelope import NO_CAUSES
from media_server.broker.rabbit_connection import RabbitConnection
from media_server.broker.rabbit_events import MOST_ANNOUNCED, Events
from media_server.broker.rabbit_topology import Topology
from media_server.errors import Unavailable

ABOUT = {"job_id": "j", "track_id": "t"}


async def test_what_is_told_follows_what_was_announced(rabbit: Queues) -> None:
    connection = RabbitConnection(rabbit.url, rabbit.topology)
    await connection.start()
    heard = await rabbit.listen()
    events = Events(connection, time.time)
    for percent in range(20):
        events.announce("transcoding.progress", {**ABOUT, "percent": percent}, NO_CAUSES)
    await events.tell("transcoding.completed", ABOUT, NO_CAUSES)
    types = [event.type for event in await rabbit.taken(heard, 21)]
    assert types == ["transcoding.progress"] * 20 + ["transcoding.completed"]
    await events.close()
    await connection.close()


async def test_without_a_broker_announcing_is_silent_and_telling_is_not() -> None:
    """No unbounded buffer (F5): what is announced too much is dropped."""
    (port,) = free_ports(1)
    connection = RabbitConnection(f"amqp://127.0.0.1:{port}/", Topology(exchange="e", queue="q"))
    events = Events(connection, time.time)
    for percent in range(3 * MOST_ANNOUNCED):
        events.announce("transcoding.progress", {**ABOUT, "percent": percent}, NO_CAUSES)
    await events.close()
    await events.close()
    with pytest.raises(Unavailable):
        await Events(connection, time.time).tell("transcoding.completed", ABOUT, NO_CAUSES)
