"""The connection to RabbitMQ: made again for ever, with publishing that is confirmed or refused in time.

Owns: one task that connects, declares, attaches the consumers, and begins anew when the connection or one of
its channels is gone. Consumers hear of that by their messages: those of a dead channel come again. No text
that leaves here holds the URL: it carries the password.
Source: reliability F3, F4, F26.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import urlsplit

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import AMQPError, DeliveryError, ProbableAuthenticationError

from media_server.broker.rabbit_topology import Topology, declare
from media_server.errors import Unavailable

log = structlog.get_logger()

Result = TypeVar("Result")

PORTS: Final = {"amqp": 5672, "amqps": 5671}
CONNECT_WITHIN_S: Final = 10.0
CALL_WITHIN_S: Final = 5.0
"""F4: publishing has a time-out; a broker that answers, answers within milliseconds."""

HEARTBEAT_S: Final = 10
"""A frozen broker is noticed after three of them and a bit."""

FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 1.0, 30.0
NACKED_WAIT_S: Final = 0.2
"""A quorum queue has no leader for a moment after its broker started: it refuses, and takes it then."""

BROKEN: Final = (AMQPError, OSError, TimeoutError, RuntimeError, asyncio.InvalidStateError)
"""What a connection that is gone, or going, raises."""


class Consumer(Protocol):
    """What is attached to every new connection."""

    async def attach(self, link: Link) -> None: ...


@dataclass(slots=True)
class Link:
    """One connection while it lasts."""

    connection: AbstractConnection
    publishing: AbstractChannel
    exchange: AbstractExchange
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def channel(self) -> AbstractChannel:
        """A channel of its own; when it closes unasked, the whole link is made anew."""
        opened = await self.connection.channel()
        self.watch(opened)
        return opened

    def watch(self, channel: AbstractChannel | AbstractConnection) -> None:
        channel.close_callbacks.add(self._on_close)

    def _on_close(self, *_: object) -> None:
        self.gone.set()


class RabbitConnection:
    """To one broker, from `start` to `close`.

    Args:
        url: with the credentials.
        passive: the queues must be there already.
        first_backoff_s: what the pauses between two tries begin with.
    """

    def __init__(
        self, url: str, topology: Topology, *, passive: bool = False, first_backoff_s: float = FIRST_BACKOFF_S
    ) -> None:
        self.topology = topology
        self._url = url
        address = urlsplit(url)
        self._host, self._port = address.hostname, address.port or PORTS.get(address.scheme)
        self._passive = passive
        self._first_backoff_s = first_backoff_s
        self._consumers: list[Consumer] = []
        self._link: Link | None = None
        self._up = asyncio.Event()
        self._reason = "not connected yet"
        self._running: asyncio.Task[None] | None = None

    @property
    def link(self) -> Link | None:
        """The connection as it is now; None while there is none."""
        return self._link

    async def start(self, *, within_s: float = CALL_WITHIN_S) -> None:
        """Begin to connect; returns when it stands, or after `within_s` while it goes on trying."""
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="rabbitmq")
        with contextlib.suppress(Unavailable):
            await self.up(within_s)

    async def close(self) -> None:
        """End it; to be called any number of times."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.wait({running}, timeout=3 * CALL_WITHIN_S)

    async def up(self, within_s: float = CALL_WITHIN_S) -> Link:
        """The connection, as soon as it stands.

        Raises:
            Unavailable: `broker`, not within that time, and why.
        """
        try:
            async with asyncio.timeout(within_s):
                await self._up.wait()
        except TimeoutError:
            raise self.unavailable(self._reason) from None
        if self._link is None:
            raise self.unavailable(self._reason)
        return self._link

    async def attach(self, consumer: Consumer) -> None:
        """Attach it now and to every connection that follows; while there is none, that is all."""
        self._consumers.append(consumer)
        # attached while a connection is being made: to that one, too, or to the next
        if self._link is not None:
            try:
                async with asyncio.timeout(CALL_WITHIN_S):
                    await consumer.attach(self._link)
            except BROKEN:
                self._link.gone.set()

    def detach(self, consumer: Consumer) -> None:
        if consumer in self._consumers:
            self._consumers.remove(consumer)

    async def publish(
        self,
        message: aio_pika.Message,
        routing_key: str,
        *,
        event: bool = False,
        within_s: float = CALL_WITHIN_S,
    ) -> None:
        """Publish to a queue, or with `event` to the exchange; returns when the broker has it safe.

        It may be there twice if the confirm was lost on the way.

        Raises:
            Unavailable: `broker`, it is not known to be there.
        """
        try:
            async with asyncio.timeout(within_s):
                while True:
                    link = await self.up(within_s)
                    try:
                        exchange = link.exchange if event else link.publishing.default_exchange
                        await exchange.publish(message, routing_key, mandatory=not event)
                    except DeliveryError:
                        self._reason = f"it refuses messages for {routing_key}"
                        await asyncio.sleep(NACKED_WAIT_S)
                    except TimeoutError:
                        raise
                    except BROKEN as error:
                        self._lost(link, error)
                        await asyncio.sleep(0)
                    else:
                        return
        except TimeoutError:
            raise self.unavailable(f"no confirm within {within_s:g} s") from None

    async def count(self, queue: str) -> int:
        """Messages that wait in a queue and nobody has in hand.

        Raises:
            Unavailable: `broker`.
        """
        link = await self.up(0)
        try:
            async with asyncio.timeout(CALL_WITHIN_S), link.connection.channel() as channel:
                declared = await channel.declare_queue(queue, durable=True, passive=True)
                return declared.declaration_result.message_count or 0
        except BROKEN as error:
            raise self.unavailable(reason_of(error)) from None

    def unavailable(self, reason: str) -> Unavailable:
        """The error that says where and why."""
        return Unavailable("broker", f"RabbitMQ at {self._host}:{self._port} cannot be used: {reason}")

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                await self._see_through(await self._connect())
            except Unavailable as error:
                failures += 1
                self._say(error.message, failures)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next try may be better
                failures += 1
                self._say(reason_of(error), failures)
            else:
                failures = 0
                self._say("the connection was lost", failures)
            await asyncio.sleep(self._pause_s(failures))

    async def _see_through(self, link: Link) -> None:
        """From its beginning to its end."""
        log.info("broker.connected", host=self._host, port=self._port)
        try:
            await link.gone.wait()
        finally:
            self._link = None
            self._up.clear()
            await _ended(link.connection)

    async def _connect(self) -> Link:
        connection = await within(
            CONNECT_WITHIN_S, aio_pika.connect(self._url, timeout=CONNECT_WITHIN_S, heartbeat=HEARTBEAT_S)
        )
        try:
            async with asyncio.timeout(3 * CONNECT_WITHIN_S):
                await declare(connection, self.topology, passive=self._passive)
                publishing = await connection.channel(on_return_raises=True)
                exchange = await publishing.get_exchange(self.topology.exchange, ensure=False)
                link = Link(connection, publishing, exchange)
                link.watch(connection)
                link.watch(publishing)
                for consumer in self._consumers:
                    await consumer.attach(link)
        except BaseException:
            await _ended(connection)
            raise
        self._link = link
        self._up.set()
        return link

    def _lost(self, link: Link, error: BaseException) -> None:
        """Whoever waits for a connection now, waits for the next."""
        self._reason = reason_of(error)
        link.gone.set()
        if self._link is link:
            self._link = None
            self._up.clear()

    def _say(self, reason: str, failures: int) -> None:
        self._reason = reason
        log.warning("broker.unreachable", host=self._host, reason=reason, failures=failures)

    def _pause_s(self, failures: int) -> float:
        """Full jitter: a broker that comes back is not met by all of us at once."""
        longest = min(LONGEST_BACKOFF_S, self._first_backoff_s * 2 ** min(failures, 10))
        return random.uniform(min(self._first_backoff_s, longest) / 2, longest)  # noqa: S311 - jitter, not a secret


def reason_of(error: BaseException) -> str:
    """Why, without anything that the URL holds."""
    if isinstance(error, ProbableAuthenticationError):
        return "it refuses our user or password"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


async def _ended(connection: AbstractConnection) -> None:
    """Close it as far as the other side takes part; a frozen broker does not."""
    with contextlib.suppress(*BROKEN):
        await within(CALL_WITHIN_S, connection.close())


async def within(seconds: float, work: Coroutine[Any, Any, Result]) -> Result:
    """What `work` gives within the time, whatever becomes of it afterwards.

    `asyncio.timeout` waits for what it cancels, and connecting to a broker that only just starts never ends.

    Raises:
        TimeoutError: it has not ended; it is cancelled and left to itself.
    """
    working = asyncio.ensure_future(work)
    try:
        await asyncio.wait({working}, timeout=seconds)
    finally:
        if not working.done():
            working.cancel()
            working.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    if not working.done():
        raise TimeoutError
    return working.result()
