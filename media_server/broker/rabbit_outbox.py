"""The callbacks on RabbitMQ: a queue with retry queues, shared by all who send.

A callback is put there, confirmed, before its job's message is acknowledged. The headers of a message say how
often it was sent and when its job ended. A delay that no tier has is made of several. A callback that waits
for its next try does not hold back later ones of its track: `sequence` tells the receiver which is newer.
Source: reliability I5, F15.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

import orjson
import structlog
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractIncomingMessage

from media_server.broker.base import Callback, Locks, OutboxCounts, PendingCallback
from media_server.broker.rabbit_connection import RabbitConnection
from media_server.broker.rabbit_inbox import Inbox, acknowledge, is_alive
from media_server.broker.rabbit_message import (
    ERROR,
    LONGEST_ERROR,
    PARKED_AT,
    REASON,
    TRACK,
    Headers,
    again,
    moment,
    number,
    poison,
    stamp,
    text,
)
from media_server.broker.rabbit_parked import looked_at
from media_server.errors import Unavailable
from media_server.trace import TRACEPARENT

log = structlog.get_logger()

PREFETCH: Final = 4
"""One is sent at a time; the next ones are at hand."""

CALLBACK: Final = "callback"
TRIES, CREATED_AT, DUE_AT, SEQUENCE = "x-tries", "x-created-at", "x-due-at", "x-sequence"
DUE_WITHIN_S: Final = 0.5
"""Due as good as now: a shorter wait has no tier."""


class RabbitOutbox:
    """One process's side of the callbacks, until `close`.

    Args:
        now: seconds of the wall clock.
    """

    def __init__(self, connection: RabbitConnection, *, locks: Locks, now: Callable[[], float]) -> None:
        self._connection = connection
        self._topology = connection.topology
        self._locks = locks
        self._now = now
        self._inbox = Inbox(connection, self._topology.callbacks, PREFETCH)
        self._in_hand: dict[int, AbstractIncomingMessage] = {}
        self._counts = OutboxCounts(0, 0)

    async def put(self, callback: Callback) -> None:
        """Make the callback safe; it gets the next number of its track.

        Raises:
            Unavailable: `broker`, or the state that counts.
        """
        body = orjson.dumps(dict(callback.body))
        sequence = await self._locks.next_number(f"callback:{callback.track_id}")
        message = Message(
            body,
            content_type="application/json",
            delivery_mode=DeliveryMode.PERSISTENT,
            message_id=callback.job_id,
            type=CALLBACK,
            headers={
                TRACK: callback.track_id,
                SEQUENCE: sequence,
                CREATED_AT: stamp(self._now()),
                TRIES: 0,
                **({TRACEPARENT: callback.traceparent} if callback.traceparent else {}),
            },
        )
        await self._connection.publish(message, self._topology.callbacks)

    async def claim(self) -> PendingCallback | None:
        """The next callback that is due; None if there is none, or the broker is out of reach."""
        while (message := await self._inbox.take()) is not None:
            pending = _pending(message)
            try:
                if pending is None:
                    await self._move(message, self._topology.callbacks_parked, unread=True)
                elif self._is_in_hand(pending.id):
                    await acknowledge(message)  # the same one twice: its first confirm was lost
                elif (left_s := moment(message.headers, DUE_AT) - self._now()) > DUE_WITHIN_S:
                    await self._move(message, self._topology.waiting_room(self._topology.callbacks, left_s))
                else:
                    self._in_hand[pending.id] = message
                    return pending
            except Unavailable as error:
                log.warning("outbox.claim_failed", reason=error.message)
                self._inbox.put_back(message)
                return None
        return None

    async def done(self, callback_id: int) -> None:
        """It was delivered."""
        message = self._in_hand.pop(callback_id, None)
        if message is not None and not await acknowledge(message):
            log.warning("outbox.ack_lost", job_id=message.message_id)  # sent again under the same key

    async def again(self, callback_id: int, delay_s: float, error: str) -> None:
        """It is due again `delay_s` from now; nothing happens if the claim was lost meanwhile."""
        message = self._in_hand.pop(callback_id, None)
        if message is None:
            return
        headers: Headers = {
            TRIES: number(message.headers, TRIES) + 1,
            DUE_AT: stamp(self._now() + delay_s),
            ERROR: error[:LONGEST_ERROR],
        }
        room = self._topology.waiting_room(self._topology.callbacks, delay_s)
        await self._move_or_keep(message, room, headers)

    async def park(self, callback_id: int, error: str) -> None:
        """It is given up, for people to look at; nothing happens if the claim was lost meanwhile."""
        message = self._in_hand.pop(callback_id, None)
        if message is None:
            return
        headers: Headers = {
            TRIES: number(message.headers, TRIES) + 1,
            PARKED_AT: stamp(self._now()),
            REASON: "callback_refused",
            ERROR: error[:LONGEST_ERROR],
        }
        await self._move_or_keep(message, self._topology.callbacks_parked, headers)

    async def retry_parked(self, callback_id: int) -> bool:
        """Due now and for another day; False if it is not parked.

        Raises:
            Unavailable: `broker`.
        """
        async with looked_at(self._connection, self._topology.callbacks_parked) as messages:
            for message in messages:
                pending = _pending(message)
                if pending is not None and pending.id == callback_id:
                    anew: Headers = {TRIES: 0, CREATED_AT: stamp(self._now()), DUE_AT: 0}
                    await self._move(message, self._topology.callbacks, anew)
                    return True
        return False

    async def parked(self) -> list[PendingCallback]:
        """What was given up, oldest first.

        Raises:
            Unavailable: `broker`.
        """
        async with looked_at(self._connection, self._topology.callbacks_parked) as messages:
            every = [_pending(message, tries=number(message.headers, TRIES)) for message in messages]
        return [pending for pending in every if pending is not None]

    async def counts(self) -> OutboxCounts:
        """As they are, or as they last were while the broker is out of reach. What is in hand is pending."""
        queues = [self._topology.callbacks, *self._topology.waiting_rooms(self._topology.callbacks)]
        if self._connection.link is None:
            return self._counts
        try:
            waiting = sum([await self._connection.count(queue) for queue in queues])
            parked = await self._connection.count(self._topology.callbacks_parked)
        except Unavailable as error:
            log.debug("outbox.not_counted", reason=error.message)
        else:
            self._counts = OutboxCounts(waiting + len(self._in_hand) + self._inbox.size, parked)
        return self._counts

    async def close(self) -> None:
        """What is not sent yet is for others."""
        await self._inbox.stop()
        self._in_hand.clear()

    def _is_in_hand(self, callback_id: int) -> bool:
        held = self._in_hand.get(callback_id)
        return held is not None and is_alive(held)

    async def _move_or_keep(self, message: AbstractIncomingMessage, queue: str, headers: Headers) -> None:
        """Without a broker it is claimed again, as it was: one try too many, none too few."""
        try:
            await self._move(message, queue, headers)
        except Unavailable as error:
            log.warning("outbox.move_failed", job_id=message.message_id, reason=error.message)
            self._inbox.put_back(message)

    async def _move(
        self,
        message: AbstractIncomingMessage,
        queue: str,
        headers: Headers | None = None,
        *,
        unread: bool = False,
    ) -> None:
        if unread:
            copy = poison(message, "bad_callback", "this is no callback of ours", at=self._now())
        else:
            copy = again(message, headers or {})
        await self._connection.publish(copy, queue)
        await acknowledge(message)


def _pending(message: AbstractIncomingMessage, *, tries: int | None = None) -> PendingCallback | None:
    """The callback of a message; None if it is not one."""
    headers = message.headers
    job_id, track_id, sequence = message.message_id, text(headers, TRACK), number(headers, SEQUENCE)
    try:
        body = orjson.loads(message.body)
    except orjson.JSONDecodeError:
        return None
    if not job_id or not track_id or not sequence or not isinstance(body, dict):
        return None
    # the same in every process, so that what is shown can be asked for
    name = hashlib.sha256(f"{job_id}\n{sequence}".encode()).hexdigest()
    return PendingCallback(
        id=int(name[:12], 16),
        job_id=job_id,
        track_id=track_id,
        sequence=sequence,
        body={**body, "sequence": sequence},
        tries=number(headers, TRIES) + 1 if tries is None else tries,
        created_at=moment(headers, CREATED_AT),
        error=text(headers, ERROR),
        traceparent=text(headers, TRACEPARENT),
    )
