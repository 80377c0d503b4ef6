"""Queues of one test on the RabbitMQ that all tests share, with retries that do not take long."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from media_server.broker.base import Locks
from media_server.broker.envelope import Envelope, Work
from media_server.broker.rabbit import RabbitBroker
from media_server.broker.rabbit_connection import RabbitConnection
from media_server.broker.rabbit_outbox import RabbitOutbox
from media_server.broker.rabbit_topology import Tier, Topology
from media_server.jobs.intake import work_of

TIERS = (Tier(name="short", seconds=0.2), Tier(name="long", seconds=0.5))
LEASE_S = 1.0
LOOK_WITHIN_S, LOOK_EVERY_S = 10.0, 0.02


def topology_of_a_test() -> Topology:
    name = f"test-{uuid.uuid4().hex[:12]}"
    return Topology(exchange=f"{name}.events", queue=name, tiers=TIERS, callback_tiers=TIERS)


class Queues:
    """The topology of one test, and the companion's side of it: what it publishes and hears."""

    def __init__(self, url: str, topology: Topology, connection: aio_pika.abc.AbstractConnection) -> None:
        self.url = url
        self.topology = topology
        self._connection = connection
        self._connection.close_callbacks.add(self._on_close)
        self._gone = asyncio.Event()
        self._opened: list[RabbitConnection | RabbitBroker | RabbitOutbox] = []

    async def server(
        self,
        locks: Locks,
        *,
        read: Callable[[Envelope], Work] = work_of,
        concurrent: int = 1,
        lease_s: float = LEASE_S,
    ) -> tuple[RabbitBroker, RabbitOutbox]:
        """A process of the media server, as far as the broker can tell."""
        connection = RabbitConnection(self.url, self.topology, first_backoff_s=0.1)
        outbox = RabbitOutbox(connection, locks=locks, now=time.time)
        broker = RabbitBroker(
            connection,
            put_callback=outbox.put,
            locks=locks,
            read=read,
            lease_s=lease_s,
            concurrent=concurrent,
            now=time.time,
        )
        self._opened += [connection, outbox, broker]
        await connection.start()
        return broker, outbox

    async def publish(self, body: bytes, routing_key: str = "track.uploaded", **properties: object) -> None:
        """As the companion does, on the exchange."""
        async with self._channel() as channel:
            exchange = await channel.get_exchange(self.topology.exchange, ensure=False)
            message = aio_pika.Message(body, delivery_mode=2, **properties)  # type: ignore[arg-type]
            await exchange.publish(message, routing_key)

    async def publish_to(self, queue_name: str, message: aio_pika.Message) -> None:
        """Straight into a queue."""
        async with self._channel() as channel:
            await channel.default_exchange.publish(message, queue_name)

    async def listen(self) -> str:
        """The name of a queue that hears every event from now on."""
        async with self._channel() as channel:
            queue = await channel.declare_queue(f"{self.topology.queue}.heard", durable=True)
            await queue.bind(self.topology.exchange, "#")
            return queue.name

    async def count(self, queue_name: str) -> int:
        """Messages that wait in a queue and nobody has in hand."""
        async with self._channel() as channel:
            queue = await channel.declare_queue(queue_name, durable=True, passive=True)
            return queue.declaration_result.message_count or 0

    async def taken(self, queue_name: str, count: int) -> list[AbstractIncomingMessage]:
        """The next `count` messages of a queue, taken away; those behind them stay."""
        found: list[AbstractIncomingMessage] = []
        async with asyncio.timeout(LOOK_WITHIN_S), self._channel() as channel:
            queue = await channel.get_queue(queue_name, ensure=False)
            while len(found) < count:
                # one by one: a consumer would be given more than it wants
                message = await queue.get(no_ack=True, fail=False)
                if message is None:
                    await asyncio.sleep(LOOK_EVERY_S)
                else:
                    found.append(message)
        return found

    @asynccontextmanager
    async def _channel(self) -> AsyncIterator[AbstractChannel]:
        """One for a moment; on a new connection if the node was started anew meanwhile."""
        if self._gone.is_set():
            self._gone.clear()
            self._connection = await aio_pika.connect(self.url)
            self._connection.close_callbacks.add(self._on_close)
        async with self._connection.channel() as channel:
            yield channel

    def _on_close(self, *_: object) -> None:
        self._gone.set()

    async def close(self) -> None:
        for opened in reversed(self._opened):
            await opened.close()
        await self._connection.close()
        # a new one: the node may have been killed meanwhile
        async with await aio_pika.connect(self.url) as connection, connection.channel() as channel:
            for planned in self.topology.planned():
                await channel.queue_delete(planned.name)
            await channel.queue_delete(f"{self.topology.queue}.heard")
            await channel.exchange_delete(self.topology.exchange)


@asynccontextmanager
async def queues(url: str, topology: Topology | None = None) -> AsyncIterator[Queues]:
    """The queues of one test, removed at its end; without a topology one with short retries."""
    connection = await aio_pika.connect(url)
    made = Queues(url, topology or topology_of_a_test(), connection)
    try:
        yield made
    finally:
        await made.close()
