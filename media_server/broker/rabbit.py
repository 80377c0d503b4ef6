"""The queue of jobs on RabbitMQ: any number of processes publish to it and receive from it.

A job is on the queue either as others wrote it (`track.uploaded` from the exchange) or as a message of ours.
Whoever receives it takes the lease on its track; while somebody holds that, the message waits in a retry
queue and no attempt is counted. What cannot be read is parked at once. The semantics are those of the
embedded queue, but for two: a job may be queued twice, and `withdraw` finds nothing: a track's tombstone
stops what is left.
Source: contract, Events; reliability F3, F7, F9.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog
from aio_pika.abc import AbstractIncomingMessage

from media_server.broker import envelope
from media_server.broker.base import Callback, Locks, ParkedMessage, QueueDepth
from media_server.broker.envelope import UPLOADED, Causes, Envelope, Refused, Work
from media_server.broker.rabbit_connection import RabbitConnection
from media_server.broker.rabbit_delivery import ATTEMPT_MARK, MARKED_S, TRACK_LEASE, RabbitDelivery
from media_server.broker.rabbit_events import Events
from media_server.broker.rabbit_inbox import Inbox, acknowledge, is_alive
from media_server.broker.rabbit_message import (
    JobMessage,
    is_ours,
    poison,
    read_job,
    sent_at,
    text,
)
from media_server.broker.rabbit_parked import parked_jobs
from media_server.broker.rabbit_topology import CRASH_NET
from media_server.errors import Unavailable
from media_server.ids import is_canonical_uuid
from media_server.trace import TRACEPARENT, of_job

log = structlog.get_logger()


class RabbitBroker:
    """One process's side of the queue, until `close`; the connection is started and closed by its owner.

    Args:
        put_callback: makes a callback safe, as the outbox does.
        read: turns an upload's event into work; raises Refused.
        lease_s: how long a track stays with a receiver that says nothing.
        concurrent: deliveries that may be in hand at once.
        now: seconds of the wall clock.
    """

    def __init__(
        self,
        connection: RabbitConnection,
        *,
        put_callback: Callable[[Callback], Awaitable[None]],
        locks: Locks,
        read: Callable[[Envelope], Work],
        lease_s: float,
        concurrent: int,
        now: Callable[[], float],
    ) -> None:
        self.connection = connection
        self.put_callback = put_callback
        self.locks = locks
        self.lease_s = lease_s
        self.now = now
        self.events = Events(connection, now)
        self._read = read
        self._inbox = Inbox(connection, connection.topology.queue, concurrent)
        self._in_hand: set[RabbitDelivery] = set()

    async def publish(
        self,
        job_id: str,
        track_id: str,
        body: bytes,
        *,
        delay_s: float = 0,
        traceparent: str | None = None,
    ) -> bool:
        """Make the message durable; always True: whether the job is queued already is not known."""
        # what is told of a job of ours hangs together by its id
        causes = Causes(correlation_id=job_id, traceparent=traceparent or of_job(job_id))
        job = JobMessage(job_id=job_id, track_id=track_id, body=body, causes=causes)
        topology = self.connection.topology
        await self.connection.publish(job.to_message(), topology.waiting_room(topology.queue, delay_s))
        return True

    async def receive(self) -> RabbitDelivery | None:
        """The next message that is due and whose track nobody works on; None if there is none.

        Also None while the broker or the leases cannot be reached. A cancelled receive leaves the queue as
        it was.
        """
        await self._abandon_the_forgotten()
        while (message := await self._inbox.take()) is not None:
            delivering = asyncio.ensure_future(self._deliver(message))
            try:
                delivery = await asyncio.shield(delivering)
            except asyncio.CancelledError:
                await self._undo(delivering, message)
                raise
            except Unavailable as error:
                log.warning("broker.receive_failed", code=error.code, reason=error.message)
                self._inbox.put_back(message)
                return None
            if delivery is not None:
                return delivery
        return None

    async def wait(self, timeout_s: float) -> None:
        """Until something came, or the time is over."""
        await self._inbox.wait(timeout_s)

    async def depth(self) -> QueueDepth:
        """What waits, retries that are not due yet included; the age of the oldest is not known."""
        topology = self.connection.topology
        queues = [topology.queue, *topology.waiting_rooms(topology.queue)]
        return QueueDepth(sum([await self.connection.count(queue) for queue in queues]), None)

    async def withdraw(self, track_id: str) -> int:  # noqa: ARG002 - the port's
        """Nothing: a message cannot be picked out of a queue."""
        return 0

    async def parked(self) -> list[ParkedMessage]:
        """What was given up, oldest first; messages that could not be read have no ids."""
        return await parked_jobs(self.connection)

    async def check(self) -> None:
        """Raise if a message could not be published now."""
        await self.connection.count(self.connection.topology.queue)

    async def stop_receiving(self) -> None:
        """Take nothing new: what was not received yet goes back for others. It may be called again."""
        for message in await self._inbox.stop():
            try:
                await self._give_back(message)
            except Unavailable as error:
                log.warning(
                    "broker.give_back_failed", reason=error.message
                )  # it comes again when we are gone

    async def close(self) -> None:
        await self.stop_receiving()
        await self.events.close()

    def ended(self, delivery: RabbitDelivery) -> None:
        """The delivery is not in hand any more."""
        self._in_hand.discard(delivery)
        self._inbox.stir()

    async def _deliver(self, message: AbstractIncomingMessage) -> RabbitDelivery | None:
        """Lease the track; None if the message went elsewhere instead."""
        try:
            job = self._job_of(message)
        except Refused as error:
            await self._park(message, error)
            return None
        fence = await self.locks.acquire(TRACK_LEASE.format(track_id=job.track_id), self.lease_s)
        if fence is None:
            topology = self.connection.topology
            await self.connection.publish(job.to_message(), topology.waiting_rooms(topology.queue)[0])
            await acknowledge(message)
            return None
        job, mark = await self._marked(job)
        delivery = RabbitDelivery(self, message, job, fence, mark)
        self._in_hand.add(delivery)
        return delivery

    async def _marked(self, job: JobMessage) -> tuple[JobMessage, int]:
        """Mark the attempt that begins; those that are marked already ended with their workers."""
        for spent in range(job.spent, job.spent + CRASH_NET):
            name = ATTEMPT_MARK.format(job_id=job.job_id, attempt=spent + 1)
            mark = await self.locks.acquire(name, MARKED_S)
            if mark is not None:
                return replace(job, spent=spent), mark
        return replace(job, spent=job.spent + CRASH_NET), 0

    def _job_of(self, message: AbstractIncomingMessage) -> JobMessage:
        if is_ours(message):
            job = read_job(message)
            if not is_canonical_uuid(job.job_id) or not is_canonical_uuid(job.track_id):
                raise Refused("bad_job", "the message of a job has no ids")
            return job
        event = envelope.parse(
            message.body,
            message.routing_key or "",
            sent_at=sent_at(message),
            traceparent=text(message.headers, TRACEPARENT),
        )
        if event.event_type != UPLOADED:
            raise Refused("unknown_event", f"{event.event_type} is no job")
        work = self._read(event)
        return JobMessage(
            job_id=work.job_id,
            track_id=work.track_id,
            body=work.body,
            causes=replace(event.causes, traceparent=event.causes.traceparent or of_job(work.job_id)),
        )

    async def _park(self, message: AbstractIncomingMessage, error: Refused) -> None:
        copy = poison(message, error.code, error.message, at=self.now())
        await self.connection.publish(copy, self.connection.topology.parked)
        await acknowledge(message)
        log.error("broker.parked", code=error.code, reason=error.message, routing_key=message.routing_key)

    async def _give_back(self, message: AbstractIncomingMessage) -> None:
        try:
            job = self._job_of(message)
        except Refused as error:
            return await self._park(message, error)
        await self.connection.publish(job.to_message(), self.connection.topology.queue)
        await acknowledge(message)
        return None

    async def _undo(
        self, delivering: asyncio.Future[RabbitDelivery | None], message: AbstractIncomingMessage
    ) -> None:
        """Let a receive that was cancelled come to its end, and lay the message down again."""
        [outcome] = await asyncio.gather(delivering, return_exceptions=True)
        if isinstance(outcome, RabbitDelivery):
            self._in_hand.discard(outcome)
            await outcome.unmark()
            await self.locks.release(TRACK_LEASE.format(track_id=outcome.track_id), outcome.fence)
        if outcome is not None and is_alive(message):
            self._inbox.put_back(message)

    async def _abandon_the_forgotten(self) -> None:
        """A delivery that nobody held on to for a lease was dropped by an error: it goes to its retry."""
        for delivery in [*self._in_hand]:
            if asyncio.get_running_loop().time() - delivery.held_at > self.lease_s:
                try:
                    await delivery.abandon()
                except Unavailable as error:
                    log.warning("broker.abandon_failed", job_id=delivery.job_id, reason=error.message)
