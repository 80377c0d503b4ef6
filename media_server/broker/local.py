"""The embedded queue: a table of deliveries with leases.

A message stays until it is acknowledged. Whoever receives it holds a lease with a fencing number that only
ever rises; a worker that lost its lease can no longer change anything. A lease is lost when another receive
finds it run out, or its owner dead. Two messages of one track are never out at once.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from media_server.broker.base import Callback, ParkedMessage, QueueDepth, Told
from media_server.broker.outbox import put_callback
from media_server.broker.owner import Owner
from media_server.database import Database
from media_server.errors import Conflict

_INSERT = """
    INSERT INTO deliveries (job_id, track_id, created_at, due_at, body) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (job_id) DO NOTHING
"""
_OWNERS = "SELECT DISTINCT owner FROM deliveries WHERE owner IS NOT NULL"
_FREE_OF = "UPDATE deliveries SET owner = NULL, leased_until = NULL WHERE owner = ?"
_FREE_EXPIRED = """
    UPDATE deliveries SET owner = NULL, leased_until = NULL WHERE owner IS NOT NULL AND leased_until <= ?
"""
# ids rise with time, whatever the clock does
_NEXT = """
    SELECT * FROM deliveries AS d WHERE owner IS NULL AND due_at <= ? AND NOT EXISTS (
        SELECT 1 FROM deliveries AS out WHERE out.track_id = d.track_id AND out.owner IS NOT NULL
    ) ORDER BY id LIMIT 1
"""
_NEXT_FENCE = "UPDATE fences SET last = last + 1 RETURNING last"
_LEASE = """
    UPDATE deliveries SET owner = :owner, leased_until = :until, fence = :fence, attempt = attempt + 1
    WHERE id = :id
"""
_HELD = "SELECT 1 FROM deliveries WHERE job_id = ? AND fence = ? AND owner IS NOT NULL"
_EXTEND = "UPDATE deliveries SET leased_until = ? WHERE job_id = ?"
_REMOVE = "DELETE FROM deliveries WHERE job_id = ?"
_POSTPONE = "UPDATE deliveries SET owner = NULL, leased_until = NULL, due_at = ? WHERE job_id = ?"
_GIVE_BACK = """
    UPDATE deliveries SET owner = NULL, leased_until = NULL, attempt = attempt - 1 WHERE job_id = ?
"""
_WITHDRAW = "DELETE FROM deliveries WHERE track_id = ? AND owner IS NULL"
_DEPTH = "SELECT COUNT(*), MIN(created_at) FROM deliveries WHERE owner IS NULL"
_PARK = """
    INSERT OR REPLACE INTO parked (job_id, track_id, parked_at, attempt, reason, body)
    SELECT job_id, track_id, ?, attempt, ?, body FROM deliveries WHERE job_id = ?
"""
_PARKED = "SELECT job_id, track_id, parked_at, attempt, reason, body FROM parked ORDER BY parked_at, job_id"


class LocalBroker:
    """The queue of one DATA_DIR; several processes may share it.

    Args:
        lease_s: how long a receiver that says nothing keeps its message, unless its process dies.
        now: seconds of the wall clock: what waits outlives a restart.
    """

    def __init__(self, database: Database, *, lease_s: float, owner: Owner, now: Callable[[], float]) -> None:
        self._database = database
        self._lease_s = lease_s
        self._owner = owner
        self._now = now
        self._stirred = asyncio.Event()

    async def publish(
        self,
        job_id: str,
        track_id: str,
        body: bytes,
        *,
        delay_s: float = 0,
        traceparent: str | None = None,  # noqa: ARG002 - the port's; nobody is told of the job on the way
    ) -> bool:
        """Make the message durable; False, and nothing changed, if that job is in the queue already."""
        now = self._now()
        row = (job_id, track_id, now, now + delay_s, body)
        inserted = await self._database.run(lambda connection: connection.execute(_INSERT, row).rowcount == 1)
        self._stirred.set()
        return inserted

    async def receive(self) -> LocalDelivery | None:
        """The oldest message that is due and whose track nobody works on, leased to this process.

        None if there is none. A cancelled receive leaves the queue as it was.
        """

        def lease(connection: sqlite3.Connection) -> LocalDelivery | None:
            now = self._now()
            self._free_lost(connection, now)
            row = connection.execute(_NEXT, (now,)).fetchone()
            if row is None:
                return None
            fence = int(connection.execute(_NEXT_FENCE).fetchone()[0])
            until = now + self._lease_s
            connection.execute(
                _LEASE, {"owner": self._owner.name, "until": until, "fence": fence, "id": row["id"]}
            )
            return LocalDelivery(
                broker=self,
                job_id=row["job_id"],
                track_id=row["track_id"],
                body=row["body"],
                attempt=row["attempt"] + 1,
                fence=fence,
            )

        def give_back(connection: sqlite3.Connection, delivery: LocalDelivery | None) -> None:
            if delivery is not None:
                connection.execute(_GIVE_BACK, (delivery.job_id,))

        self._stirred.clear()
        delivery = await self._database.run(lease, undo=give_back)
        if delivery is not None:
            self._stirred.set()  # there may be more for the others who wait
        return delivery

    async def wait(self, timeout_s: float) -> None:
        """Until something in this process may have made a receive worthwhile, or the time is over."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._stirred.wait()
        except TimeoutError:
            return

    async def depth(self) -> QueueDepth:
        """What waits, retries that are not due yet included."""

        def measure(connection: sqlite3.Connection) -> QueueDepth:
            now = self._now()
            self._free_lost(connection, now)
            waiting, oldest = connection.execute(_DEPTH).fetchone()
            return QueueDepth(waiting, max(0.0, now - oldest) if waiting else None)

        return await self._database.run(measure)

    async def withdraw(self, track_id: str) -> int:
        """Take the messages of a track that nobody works on out of the queue; how many they were."""
        return await self._database.run(
            lambda connection: connection.execute(_WITHDRAW, (track_id,)).rowcount
        )

    async def parked(self) -> list[ParkedMessage]:
        """What was given up, oldest first."""
        rows = await self._database.read(lambda connection: connection.execute(_PARKED).fetchall())
        return [ParkedMessage(**dict(row)) for row in rows]

    async def stop_receiving(self) -> None:
        """Nothing is on its way here: a message stays in the table until it is received."""

    async def check(self) -> None:
        """Raise if a message could not be published now."""
        await self._database.run(lambda connection: connection.execute(_DEPTH).fetchone())

    def _free_lost(self, connection: sqlite3.Connection, now: float) -> None:
        connection.execute(_FREE_EXPIRED, (now,))
        for (owner,) in connection.execute(_OWNERS).fetchall():
            if not self._owner.lives(owner):
                connection.execute(_FREE_OF, (owner,))

    async def _end(self, delivery: LocalDelivery, work: Callable[[sqlite3.Connection], object]) -> None:
        await self._while_held(delivery, work)
        self._stirred.set()  # its track is free

    async def _while_held(
        self, delivery: LocalDelivery, work: Callable[[sqlite3.Connection], object]
    ) -> None:
        def guarded(connection: sqlite3.Connection) -> None:
            if connection.execute(_HELD, (delivery.job_id, delivery.fence)).fetchone() is None:
                raise Conflict("lease_lost", f"the lease on job {delivery.job_id} is not ours any more")
            work(connection)

        await self._database.run(guarded)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalDelivery:
    """A message in hand. `attempt` counts from 1; ack, park, retry and release each end it.

    Raises (all but `is_current` and `extend`):
        Conflict: `lease_lost`; nothing was changed.
    """

    broker: LocalBroker = field(repr=False)
    job_id: str
    track_id: str
    body: bytes = field(repr=False)
    attempt: int
    fence: int

    async def announce(self, event_type: str, data: Mapping[str, Any]) -> None:
        """Nobody else listens to an embedded queue."""

    async def ack(self, callback: Callback | None = None, told: Told | None = None) -> None:  # noqa: ARG002 - the port's
        """Done: the message goes and the callback enters the outbox, both or neither."""
        await self.broker._end(self, lambda connection: self._finish(connection, callback))

    async def park(
        self,
        reason: str,
        callback: Callback | None = None,
        told: Told | None = None,  # noqa: ARG002 - the port's
    ) -> None:
        """Given up: as `ack`, and a copy of the message stays for people to look at."""

        def finish(connection: sqlite3.Connection) -> None:
            connection.execute(_PARK, (self.broker._now(), reason, self.job_id))
            self._finish(connection, callback)

        await self.broker._end(self, finish)

    async def retry(self, delay_s: float) -> None:
        """Once more, `delay_s` from now."""
        due_at = self.broker._now() + delay_s
        await self.broker._end(self, lambda connection: connection.execute(_POSTPONE, (due_at, self.job_id)))

    async def release(self) -> None:
        """Back to the queue as if it had not been received."""
        await self.broker._end(self, lambda connection: connection.execute(_GIVE_BACK, (self.job_id,)))

    async def extend(self) -> bool:
        """Hold it for another lease; False if it is somebody else's already."""
        until = self.broker._now() + self.broker._lease_s
        try:
            await self.broker._while_held(
                self, lambda connection: connection.execute(_EXTEND, (until, self.job_id))
            )
        except Conflict:
            return False
        return True

    async def is_current(self) -> bool:
        """Whether the lease still holds, at this moment."""
        held = (self.job_id, self.fence)
        return await self.broker._database.read(
            lambda connection: connection.execute(_HELD, held).fetchone() is not None
        )

    def _finish(self, connection: sqlite3.Connection, callback: Callback | None) -> None:
        connection.execute(_REMOVE, (self.job_id,))
        if callback is not None:
            put_callback(connection, callback, self.broker._now())
