"""media_server/broker/rabbit_inbox.py"""

from __future__ import annotations

import asyncio

import aio_pika
import pytest
from servers.queues import Queues

from media_server.broker.rabbit_connection import RabbitConnection
from media_server.broker.rabbit_inbox import Inbox, acknowledge, is_alive

WITHIN_S = 10.0


@pytest.fixture
async def connection(rabbit: Queues):
    opened = RabbitConnection(rabbit.url, rabbit.topology, first_backoff_s=0.05)
    await opened.start()
    yield opened
    await opened.close()


async def put(connection: RabbitConnection, *bodies: bytes) -> None:
    for body in bodies:
        await connection.publish(aio_pika.Message(body), connection.topology.queue)


async def taken(inbox: Inbox):
    async with asyncio.timeout(WITHIN_S):
        while (message := await inbox.take()) is None:
            await inbox.wait(0.1)
    return message


async def test_none_means_that_the_queue_holds_none(connection: RabbitConnection) -> None:
    """The first take consumes; it waits for what the broker counts."""
    await put(connection, b"1", b"2")
    inbox = Inbox(connection, connection.topology.queue, 8)
    for body in (b"1", b"2"):
        message = await inbox.take()
        assert message is not None
        assert message.body == body
        assert await acknowledge(message)
    assert await inbox.take() is None
    assert await inbox.stop() == []


async def test_what_is_put_back_is_taken_next(connection: RabbitConnection) -> None:
    await put(connection, b"1", b"2")
    inbox = Inbox(connection, connection.topology.queue, 8)
    first = await taken(inbox)
    inbox.put_back(first)
    assert await inbox.take() is first
    await inbox.stop()


async def test_a_message_of_a_channel_that_is_gone_is_not_handed_out(connection: RabbitConnection) -> None:
    """Fact 8: it comes again, on the next connection, and its late acknowledgement does nothing."""
    await put(connection, b"1", b"2")
    inbox = Inbox(connection, connection.topology.queue, 8)
    late = await taken(inbox)
    assert inbox.size == 1
    link = await connection.up()
    await link.connection.close()
    assert not is_alive(late)
    assert not await acknowledge(late)
    again = {(await taken(inbox)).body for _ in range(2)}
    assert again == {b"1", b"2"}
    await inbox.stop()


async def test_a_stopped_inbox_hands_over_what_lies_in_it(connection: RabbitConnection) -> None:
    await put(connection, b"1", b"2", b"3")
    inbox = Inbox(connection, connection.topology.queue, 8)
    await taken(inbox)
    left = await inbox.stop()
    assert [message.body for message in left] == [b"2", b"3"]
    await put(connection, b"4")
    assert await connection.count(connection.topology.queue) == 1
    assert await inbox.stop() == []


async def test_waiting_ends_with_the_next_message(connection: RabbitConnection) -> None:
    inbox = Inbox(connection, connection.topology.queue, 1)
    assert await inbox.take() is None
    waiting = asyncio.ensure_future(inbox.wait(WITHIN_S))
    await put(connection, b"1")
    async with asyncio.timeout(WITHIN_S / 2):
        await waiting
    assert await inbox.take() is not None
    await inbox.stop()
