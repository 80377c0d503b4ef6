"""A job's message in hand: what is told when it ends, in which order, and who may still end it.

The message is acknowledged last: before it the callback is in its queue and the event on the exchange, each
confirmed. Whatever happens in between, the message comes again, and to do it all once more changes nothing.
An attempt is marked in the state while it lasts: a mark that is left says that its worker died.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

import structlog
from aio_pika.abc import AbstractIncomingMessage

from media_server.broker.base import Callback, Locks, Told
from media_server.broker.rabbit_connection import RabbitConnection
from media_server.broker.rabbit_events import Events
from media_server.broker.rabbit_inbox import acknowledge, is_alive
from media_server.broker.rabbit_message import ERROR, PARKED_AT, REASON, Headers, JobMessage, stamp
from media_server.errors import Conflict, Unavailable

log = structlog.get_logger()

TRACK_LEASE: Final = "track:{track_id}"
ATTEMPT_MARK: Final = "attempt:{job_id}:{attempt}"
MARKED_S: Final = 86_400.0
"""Longer than all attempts of a job and the waiting between them."""


class Desk(Protocol):
    """What a delivery needs of the broker that gave it."""

    @property
    def connection(self) -> RabbitConnection: ...
    @property
    def events(self) -> Events: ...
    @property
    def locks(self) -> Locks: ...
    @property
    def lease_s(self) -> float: ...
    @property
    def now(self) -> Callable[[], float]: ...
    @property
    def put_callback(self) -> Callable[[Callback], Awaitable[None]]: ...

    def ended(self, delivery: RabbitDelivery) -> None:
        """It is not in hand any more."""
        ...


class RabbitDelivery:
    """One delivery; `job.spent` does not count it.

    `fence` is the number of the lease on its track, `mark` that of its attempt.
    """

    def __init__(
        self, desk: Desk, message: AbstractIncomingMessage, job: JobMessage, fence: int, mark: int
    ) -> None:
        self._desk = desk
        self._message = message
        self._job = job
        self._ended = False
        self._mark = mark
        self.fence = fence
        self.held_at = asyncio.get_running_loop().time()

    @property
    def job_id(self) -> str:
        return self._job.job_id

    @property
    def track_id(self) -> str:
        return self._job.track_id

    @property
    def body(self) -> bytes:
        return self._job.body

    @property
    def attempt(self) -> int:
        return self._job.spent + 1

    async def announce(self, event_type: str, data: Mapping[str, Any]) -> None:
        """Tell the others on the exchange, soon or never."""
        self._desk.events.announce(event_type, data, self._job.causes)

    async def ack(self, callback: Callback | None = None, told: Told | None = None) -> None:
        """Done: the callback is safe, the event is out, the message goes; in this order."""
        await self._hold()
        await self._tell(callback, told)
        await self._end()

    async def park(self, reason: str, callback: Callback | None = None, told: Told | None = None) -> None:
        """Given up: as `ack`, and a copy of the message stays for people to look at."""
        await self._hold()
        headers: Headers = {REASON: reason, ERROR: reason, PARKED_AT: stamp(self._desk.now())}
        copy = self._again(spent=self.attempt).to_message(headers)
        await self._desk.connection.publish(copy, self._desk.connection.topology.parked)
        await self._tell(callback, told)
        await self._end()

    async def retry(self, delay_s: float) -> None:
        """Once more, after the tier that is nearest to `delay_s`."""
        await self._send_again(self.attempt, delay_s)

    async def release(self) -> None:
        """Back to the queue as if it had not been received."""
        await self._hold()
        await self.unmark()  # before others can receive it
        await self._send_again(self._job.spent, 0)

    async def extend(self) -> bool:
        """Hold the track's lease for as long again; a connection that was lost meanwhile does not matter."""
        if self._ended or not await self._renew():
            return False
        self.held_at = asyncio.get_running_loop().time()
        return True

    async def is_current(self) -> bool:
        """Whether this delivery can still be ended."""
        return not self._ended and is_alive(self._message) and await self._renew()

    async def abandon(self) -> None:
        """Send it again though the lease is over: nobody has ended it, and nobody else will.

        Raises:
            Unavailable: `broker`.
        """
        topology = self._desk.connection.topology
        if is_alive(self._message):
            room = topology.waiting_rooms(topology.queue)[0]
            await self._desk.connection.publish(self._again(spent=self.attempt).to_message(), room)
        await self._end()

    async def unmark(self) -> None:
        """The attempt is counted by the message, or does not count."""
        name = ATTEMPT_MARK.format(job_id=self.job_id, attempt=self.attempt)
        try:
            await self._desk.locks.release(name, self._mark)
        except Unavailable as error:
            log.warning("broker.mark_left", job_id=self.job_id, reason=error.message)  # one attempt too many

    async def _send_again(self, spent: int, delay_s: float) -> None:
        await self._hold()
        topology = self._desk.connection.topology
        room = topology.waiting_room(topology.queue, delay_s)
        await self._desk.connection.publish(self._again(spent=spent).to_message(), room)
        await self._end()

    async def _tell(self, callback: Callback | None, told: Told | None) -> None:
        if callback is not None:
            await self._desk.put_callback(callback)
        if told is not None:
            await self._desk.events.tell(*told, self._job.causes)

    async def _hold(self) -> None:
        """Go on only if nobody else can have the message or the track."""
        if not self._ended and is_alive(self._message) and await self._renew():
            return
        if not self._ended:
            await self._forget()  # its track is free for the delivery that follows
        raise Conflict("lease_lost", f"the delivery of job {self.job_id} is not ours any more")

    async def _end(self) -> None:
        acknowledged = await acknowledge(self._message)
        if acknowledged:
            await self.unmark()
        await self._forget()
        if not acknowledged:
            log.warning("broker.ack_lost", job_id=self.job_id)  # it comes again, and changes nothing then

    async def _forget(self) -> None:
        self._ended = True
        self._desk.ended(self)
        try:
            await self._desk.locks.release(self._lease, self.fence)
        except Unavailable as error:
            log.warning("broker.lease_left", track_id=self.track_id, reason=error.message)  # it runs out

    async def _renew(self) -> bool:
        return await self._desk.locks.renew(self._lease, self.fence, self._desk.lease_s)

    @property
    def _lease(self) -> str:
        return TRACK_LEASE.format(track_id=self.track_id)

    def _again(self, *, spent: int) -> JobMessage:
        job = self._job
        return JobMessage(
            job_id=job.job_id, track_id=job.track_id, body=job.body, spent=spent, causes=job.causes
        )
