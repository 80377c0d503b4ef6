"""Telling the others on the exchange what becomes of a job.

`tell` is sure and may fail; `announce` is neither: one task sends what was announced, in order, and drops
what does not get through at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from aio_pika import DeliveryMode, Message

from media_server.broker import envelope
from media_server.broker.envelope import Causes
from media_server.broker.rabbit_connection import CALL_WITHIN_S, RabbitConnection
from media_server.errors import Unavailable
from media_server.trace import TRACEPARENT

log = structlog.get_logger()

ANNOUNCE_WITHIN_S: Final = 2.0
MOST_ANNOUNCED: Final = 64
"""What may wait to be sent; more of it would be old news."""


class Events:
    """The events of one process.

    Args:
        now: seconds of the wall clock.
    """

    def __init__(self, connection: RabbitConnection, now: Callable[[], float]) -> None:
        self._connection = connection
        self._now = now
        self._announced: asyncio.Queue[tuple[str, Message]] = asyncio.Queue(MOST_ANNOUNCED)
        self._sending: asyncio.Task[None] | None = None

    async def tell(self, event_type: str, data: Mapping[str, Any], causes: Causes) -> None:
        """Publish; returns when the broker has it. What was announced before goes first, if it goes soon.

        Raises:
            Unavailable: `broker`.
        """
        message = self._message(event_type, data, causes)
        if self._sending is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ANNOUNCE_WITHIN_S):
                    await self._announced.join()
        await self._connection.publish(message, event_type, event=True, within_s=CALL_WITHIN_S)

    def announce(self, event_type: str, data: Mapping[str, Any], causes: Causes) -> None:
        """Publish soon or never."""
        if self._sending is None:
            self._sending = asyncio.create_task(self._send(), name="rabbitmq-announcements")
        with contextlib.suppress(asyncio.QueueFull):
            self._announced.put_nowait((event_type, self._message(event_type, data, causes)))

    async def close(self) -> None:
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send(self) -> None:
        while True:
            event_type, message = await self._announced.get()
            try:
                await self._connection.publish(message, event_type, event=True, within_s=ANNOUNCE_WITHIN_S)
            except Unavailable as error:
                log.debug("broker.announcement_dropped", event_type=event_type, reason=error.message)
            finally:
                self._announced.task_done()

    def _message(self, event_type: str, data: Mapping[str, Any], causes: Causes) -> Message:
        at = datetime.fromtimestamp(self._now(), UTC)
        return Message(
            envelope.write(event_type, data, causes, at=at),
            content_type="application/json",
            delivery_mode=DeliveryMode.PERSISTENT,
            message_id=envelope.event_id_of(event_type, data),
            correlation_id=causes.correlation_id,
            timestamp=at,
            type=event_type,
            headers={TRACEPARENT: causes.traceparent} if causes.traceparent else {},
        )
