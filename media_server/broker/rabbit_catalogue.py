"""Events about tracks that exist: what the companion API changes and deletes reaches `apply`.

One at a time and in order, as far as none fails. One that fails waits in the retry queues for a day and is
parked then; one that cannot be read is parked at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import structlog
from aio_pika.abc import AbstractIncomingMessage

from media_server.broker import envelope
from media_server.broker.envelope import CATALOGUE_NAMES, Envelope, Refused
from media_server.broker.rabbit_connection import RabbitConnection
from media_server.broker.rabbit_inbox import Inbox, acknowledge
from media_server.broker.rabbit_message import (
    ATTEMPT,
    again,
    attempts_spent,
    moment,
    poison,
    sent_at,
    stamp,
    text,
)
from media_server.errors import ServiceError, Unavailable
from media_server.trace import TRACEPARENT

log = structlog.get_logger()

IDLE_S: Final = 1.0
TYPE, RECEIVED_AT = "x-event-type", "x-received-at"
"""The routing key it came with, and when: behind a retry queue both would be others."""

RETRY_DELAYS_S: Final = (10.0, 60.0, 600.0)
MOST_ATTEMPTS: Final = 146
"""10 + 60 + 143 x 600 s: a day."""


class CatalogueConsumer:
    """Hands events to `apply` until it is stopped.

    Args:
        apply: makes the change, again and again if need be; raises Refused for what is not understood.
        now: seconds of the wall clock.
    """

    def __init__(
        self,
        connection: RabbitConnection,
        apply: Callable[[Envelope], Awaitable[None]],
        now: Callable[[], float],
    ) -> None:
        self._connection = connection
        self._apply = apply
        self._now = now
        self._inbox = Inbox(connection, connection.topology.catalogue, 1)

    async def run(self, stop: asyncio.Event) -> None:
        """Apply what comes until `stop`; whoever waits longest is one second late for it."""
        try:
            while not stop.is_set():
                if not await self.apply_one():
                    await self._inbox.wait(IDLE_S)
        finally:
            await self._inbox.stop()

    async def apply_one(self) -> bool:
        """See the next event through; False if there is none, or the broker is out of reach."""
        message = await self._inbox.take()
        if message is None:
            return False
        try:
            await self._see_through(message)
        except Unavailable as error:
            log.warning("catalogue.broker_lost", reason=error.message)
            self._inbox.put_back(message)
            return False
        return True

    async def _see_through(self, message: AbstractIncomingMessage) -> None:
        """Raises Unavailable if the broker took neither the copy for later nor the one to park."""
        try:
            event = _event_of(message)
            with structlog.contextvars.bound_contextvars(event_id=event.event_id):
                await self._apply(event)
        except Refused as error:
            return await self._park(message, error.code, error.message)
        except Exception as error:  # noqa: BLE001 - whatever it is, the change must not be lost for it
            return await self._later(message, error)
        await acknowledge(message)
        return None

    async def _later(self, message: AbstractIncomingMessage, error: Exception) -> None:
        attempt = attempts_spent(message) + 1
        code = error.code if isinstance(error, ServiceError) else "internal_error"
        if attempt >= MOST_ATTEMPTS:
            return await self._park(message, code, f"given up after {attempt} attempts")
        topology = self._connection.topology
        delay_s = RETRY_DELAYS_S[min(attempt, len(RETRY_DELAYS_S)) - 1]
        log.warning("catalogue.retry", code=code, attempt=attempt, delay_s=delay_s, exc_info=error)
        first = stamp(moment(message.headers, RECEIVED_AT) or self._now())
        copy = again(message, {ATTEMPT: attempt, TYPE: _type_of(message), RECEIVED_AT: first})
        await self._connection.publish(copy, topology.waiting_room(topology.catalogue, delay_s))
        await acknowledge(message)
        return None

    async def _park(self, message: AbstractIncomingMessage, code: str, reason: str) -> None:
        copy = poison(message, code, reason, at=self._now())
        await self._connection.publish(copy, self._connection.topology.parked)
        await acknowledge(message)
        log.error("broker.parked", code=code, reason=reason, routing_key=_type_of(message))


def _type_of(message: AbstractIncomingMessage) -> str:
    return text(message.headers, TYPE) or message.routing_key or ""


def _event_of(message: AbstractIncomingMessage) -> Envelope:
    received_at = moment(message.headers, RECEIVED_AT)
    event = envelope.parse(
        message.body,
        _type_of(message),
        # one that tells no time must not pass for a newer one because it had to wait
        sent_at=sent_at(message) or (datetime.fromtimestamp(received_at, UTC) if received_at else None),
        traceparent=text(message.headers, TRACEPARENT),
    )
    if event.event_type not in CATALOGUE_NAMES:
        raise Refused("unknown_event", f"{event.event_type} changes no track")
    return event
