"""media_server/broker/rabbit_connection.py: a broker that cannot be used, and one that can."""

from __future__ import annotations

import asyncio

import aio_pika
import pytest
from servers.ports import free_ports
from servers.queues import Queues
from servers.rabbitmq import PASSWORD
from structlog.testing import capture_logs

from media_server.broker import rabbit_connection
from media_server.broker.rabbit_connection import NACKED_WAIT_S, Link, RabbitConnection, reason_of
from media_server.broker.rabbit_topology import Topology, declare
from media_server.errors import Unavailable

WITHIN_S = 10.0


async def reason(connection: RabbitConnection) -> str:
    """Why it cannot be used, once it has tried."""
    await connection.start(within_s=0.01)
    async with asyncio.timeout(WITHIN_S):
        while True:
            with pytest.raises(Unavailable) as caught:
                await connection.up(0.05)
            if "not connected yet" not in caught.value.message:
                return caught.value.message


@pytest.fixture
async def connection(rabbit: Queues):
    opened = RabbitConnection(rabbit.url, rabbit.topology, first_backoff_s=0.05)
    await opened.start()
    yield opened
    await opened.close()


async def test_nobody_there_is_said_and_the_start_does_not_fail() -> None:
    """Contract: an unreachable service is no reason not to start."""
    (port,) = free_ports(1)
    url = f"amqp://media:{PASSWORD}@127.0.0.1:{port}/"
    nowhere = RabbitConnection(url, Topology(exchange="e", queue="q"))
    told = await reason(nowhere)
    assert f"127.0.0.1:{port}" in told
    with pytest.raises(Unavailable) as caught:
        await nowhere.publish(aio_pika.Message(b""), "q", within_s=0.05)
    assert caught.value.code == "broker"
    await nowhere.close()
    await nowhere.close()


async def test_a_broker_that_accepts_and_says_nothing_is_tried_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that is just starting does so; connecting to it must not wait for ever, nor must closing."""
    monkeypatch.setattr(rabbit_connection, "CONNECT_WITHIN_S", 0.05)
    tries, enough = 0, asyncio.Event()

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        if tries == 3:
            enough.set()
        await enough.wait()
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        silent = RabbitConnection(
            f"amqp://127.0.0.1:{port}/", Topology(exchange="e", queue="q"), first_backoff_s=0.01
        )
        assert "no answer in time" in await reason(silent)
        async with asyncio.timeout(WITHIN_S):
            await enough.wait()
            await silent.close()


async def test_work_that_does_not_obey_is_not_waited_for() -> None:
    """What is cancelled may wait for its own close."""
    may_end = asyncio.Event()

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await may_end.wait()

    async with asyncio.timeout(WITHIN_S):
        with pytest.raises(TimeoutError):
            await rabbit_connection.within(0.01, stubborn())
    may_end.set()


async def test_a_password_that_is_refused_is_never_repeated(rabbit: Queues) -> None:
    url = rabbit.url.replace(PASSWORD, "a-wrong-password-of-ours")
    refused = RabbitConnection(url, rabbit.topology)
    with capture_logs() as lines:
        told = await reason(refused)
    await refused.close()
    assert "refuses our user or password" in told
    assert "a-wrong-password" not in told + repr(lines)


async def test_passive_says_what_is_missing_in_one_sentence(rabbit: Queues) -> None:
    """Contract: RABBITMQ_DECLARE=passive declares nothing."""
    passive = RabbitConnection(rabbit.url, rabbit.topology, passive=True, first_backoff_s=0.05)
    told = await reason(passive)
    assert told.endswith(
        f"it has no exchange {rabbit.topology.exchange}, and RABBITMQ_DECLARE=passive forbids to declare it"
    )
    active = await aio_pika.connect(rabbit.url)
    async with active:
        await declare(active, rabbit.topology, passive=False)
    await passive.up(WITHIN_S)
    await passive.close()


async def test_a_queue_that_is_another_is_named(rabbit: Queues) -> None:
    async with await aio_pika.connect(rabbit.url) as other, other.channel() as channel:
        await channel.declare_queue(rabbit.topology.parked, durable=True)  # a classic queue
        told = await reason(RabbitConnection(rabbit.url, rabbit.topology))
    assert f"it has another queue {rabbit.topology.parked} than ours" in told
    assert "x-queue-type" in told


async def test_it_connects_again_when_its_channel_or_connection_is_closed(
    connection: RabbitConnection, rabbit: Queues
) -> None:
    """F6, F26: for ever, with jitter."""
    for end in ("channel", "connection"):
        link = await connection.up()
        if end == "channel":
            channel = await link.channel()
            with pytest.raises(aio_pika.exceptions.ChannelClosed):
                await channel.declare_queue("no-such-queue", passive=True)
        else:
            await link.connection.close()
        async with asyncio.timeout(WITHIN_S):
            await link.gone.wait()
        await connection.publish(aio_pika.Message(b"x"), rabbit.topology.parked)
        assert await connection.up() is not link
    assert await connection.count(rabbit.topology.parked) == 2


async def test_an_error_that_nobody_thought_of_does_not_end_the_trying(rabbit: Queues) -> None:
    """F6: for ever."""

    class Odd:
        tries = 0

        async def attach(self, link: Link) -> None:
            self.tries += 1
            if self.tries < 3:
                raise KeyError(link.connection)

    odd = Odd()
    connection = RabbitConnection(rabbit.url, rabbit.topology, first_backoff_s=0.05)
    await connection.attach(odd)
    await connection.start(within_s=WITHIN_S)
    await connection.publish(aio_pika.Message(b"x"), rabbit.topology.parked)
    assert odd.tries == 3
    await connection.close()


async def test_what_no_queue_takes_is_not_confirmed(connection: RabbitConnection) -> None:
    """A queue that is gone must not swallow jobs; an event that nobody listens to is told all the same."""
    with pytest.raises(Unavailable):
        await connection.publish(aio_pika.Message(b"x"), "no-such-queue", within_s=0.5)
    await connection.publish(aio_pika.Message(b"x"), "no.such.event", event=True)
    with pytest.raises(Unavailable):
        await connection.count("no-such-queue")
    await connection.up(0)


async def test_a_message_that_is_refused_for_now_is_published_again(
    connection: RabbitConnection, rabbit: Queues
) -> None:
    """Fact 7: a broker that has just started says no, and yes a moment later; here its queue is full."""
    full = f"{rabbit.topology.queue}.heard"
    async with await aio_pika.connect(rabbit.url) as other, other.channel() as channel:
        limits = {"x-queue-type": "quorum", "x-max-length": 1, "x-overflow": "reject-publish"}
        await channel.declare_queue(full, durable=True, arguments=limits)
        async with asyncio.timeout(WITHIN_S):
            for number in range(10):  # it takes one or two more than its limit
                publishing = asyncio.ensure_future(connection.publish(aio_pika.Message(b"%d" % number), full))
                done, _ = await asyncio.wait({publishing}, timeout=NACKED_WAIT_S * 2)
                if not done:
                    break
            assert not publishing.done()
        taken = await rabbit.taken(full, number + 1)
        await publishing
    assert [message.body for message in taken] == [b"%d" % one for one in range(number + 1)]


def test_a_reason_names_no_more_than_it_must() -> None:
    assert reason_of(ConnectionRefusedError(111, "Connection refused")) == "Connection refused"
    assert reason_of(TimeoutError()) == "no answer in time"
    assert reason_of(RuntimeError("amqp://user:password@host")) == "RuntimeError"
