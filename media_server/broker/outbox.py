"""The embedded outbox: callbacks that are due to the companion API, in order for each track.

A row is written in the transaction that ends its job, so a job that ended always has its callback. A job has
one row: the same end told twice is one callback; another end of it (it failed, and was asked for again)
takes the row's place. `sequence` rises with every telling of a track; a number may be missing, none comes
back with other content once it may have been sent.
Source: reliability I5 (monotonic per track).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from media_server.broker.base import Callback, OutboxCounts, PendingCallback
from media_server.broker.owner import Owner
from media_server.database import Database

CLAIM_S = 60.0
"""How long a sender may take for one attempt: several times its time-outs."""

ABOUT_THE_TELLING = frozenset({"attempt", "sequence"})
"""Fields that say which telling it is, not what is told."""

_OF_JOB = "SELECT id, sequence, tries, body FROM callbacks WHERE job_id = ?"
_LAST_SEQUENCE = "SELECT COALESCE(MAX(sequence), 0) FROM callbacks WHERE track_id = ?"
_REMOVE = "DELETE FROM callbacks WHERE id = ?"
_REPLACE_BODY = "UPDATE callbacks SET body = ? WHERE id = ?"
_INSERT = """
    INSERT INTO callbacks (job_id, track_id, sequence, created_at, due_at, body, traceparent)
    VALUES (:job_id, :track_id, :sequence, :now, :now, :body, :traceparent)
"""
_OWNERS = "SELECT DISTINCT owner FROM callbacks WHERE owner IS NOT NULL"
_FREE_OF = "UPDATE callbacks SET owner = NULL, leased_until = NULL WHERE owner = ?"
_FREE_EXPIRED = """
    UPDATE callbacks SET owner = NULL, leased_until = NULL WHERE owner IS NOT NULL AND leased_until <= ?
"""
_NEXT = """
    SELECT * FROM callbacks AS c
    WHERE status = 'pending' AND due_at <= ? AND owner IS NULL AND NOT EXISTS (
        SELECT 1 FROM callbacks AS earlier
        WHERE earlier.track_id = c.track_id AND earlier.status = 'pending' AND earlier.sequence < c.sequence
    ) ORDER BY due_at, id LIMIT 1
"""
_CLAIM = "UPDATE callbacks SET owner = ?, leased_until = ?, tries = tries + 1 WHERE id = ?"
_UNCLAIM = "UPDATE callbacks SET owner = NULL, leased_until = NULL, tries = tries - 1 WHERE id = ?"
_DELIVERED = """
    UPDATE callbacks SET status = 'delivered', error = NULL, owner = NULL, leased_until = NULL
    WHERE id = ?
"""
_AGAIN = """
    UPDATE callbacks SET due_at = ?, error = ?, owner = NULL, leased_until = NULL
    WHERE id = ? AND owner = ? AND status = 'pending'
"""
_PARK = """
    UPDATE callbacks SET status = 'parked', error = ?, owner = NULL, leased_until = NULL
    WHERE id = ? AND owner = ? AND status = 'pending'
"""
_UNPARK = """
    UPDATE callbacks SET status = 'pending', created_at = :now, due_at = :now, tries = 0, error = NULL
    WHERE id = :id AND status = 'parked' AND NOT EXISTS (
        SELECT 1 FROM callbacks AS later WHERE later.track_id = callbacks.track_id
            AND later.sequence > callbacks.sequence
            AND (later.status = 'delivered' OR later.owner IS NOT NULL)
    )
"""
_PARKED = "SELECT * FROM callbacks WHERE status = 'parked' ORDER BY id"
_COUNTS = "SELECT status, COUNT(*) FROM callbacks WHERE status <> 'delivered' GROUP BY status"


def put_callback(connection: sqlite3.Connection, callback: Callback, now: float) -> None:
    """Into the outbox, within the transaction that ends the job."""
    told = connection.execute(_OF_JOB, (callback.job_id,)).fetchone()
    if told is not None and _content(orjson.loads(told["body"])) == _content(callback.body):
        return
    body = orjson.dumps(dict(callback.body), option=orjson.OPT_SORT_KEYS)
    last = int(connection.execute(_LAST_SEQUENCE, (callback.track_id,)).fetchone()[0])
    if told is not None:
        never_sent = told["tries"] == 0
        if never_sent and told["sequence"] == last:
            connection.execute(_REPLACE_BODY, (body, told["id"]))
            return
        # a new id: whoever still has the old end in hand cannot report on this one
        connection.execute(_REMOVE, (told["id"],))
    row = {"job_id": callback.job_id, "track_id": callback.track_id, "sequence": last + 1}
    values = {**row, "now": now, "body": body, "traceparent": callback.traceparent}
    connection.execute(_INSERT, values)


class LocalOutbox:
    """The callbacks of one DATA_DIR; several processes may send them, never two the same one at once."""

    def __init__(self, database: Database, *, owner: Owner, now: Callable[[], float]) -> None:
        self._database = database
        self._owner = owner
        self._now = now

    async def claim(self) -> PendingCallback | None:
        """The next callback that is due, held by this process until it says what became of it.

        One that waits for its next try holds back the later ones of its track; a parked one does not.
        """

        def take(connection: sqlite3.Connection) -> PendingCallback | None:
            now = self._now()
            self._free_lost(connection, now)
            row = connection.execute(_NEXT, (now,)).fetchone()
            if row is None:
                return None
            connection.execute(_CLAIM, (self._owner.name, now + CLAIM_S, row["id"]))
            return _pending(row, tries=row["tries"] + 1)

        def give_back(connection: sqlite3.Connection, claimed: PendingCallback | None) -> None:
            if claimed is not None:
                connection.execute(_UNCLAIM, (claimed.id,))

        return await self._database.run(take, undo=give_back)

    async def done(self, callback_id: int) -> None:
        """It was delivered: a fact, also if the claim was lost meanwhile."""
        await self._change(_DELIVERED, (callback_id,))

    async def again(self, callback_id: int, delay_s: float, error: str) -> None:
        """It is due again `delay_s` from now; nothing happens if the claim was lost meanwhile."""
        await self._change(_AGAIN, (self._now() + delay_s, error, callback_id, self._owner.name))

    async def park(self, callback_id: int, error: str) -> None:
        """It is given up, for people to look at; nothing happens if the claim was lost meanwhile."""
        await self._change(_PARK, (error, callback_id, self._owner.name))

    async def retry_parked(self, callback_id: int) -> bool:
        """Due now and for another day; False if it is not parked, or its track was told something newer."""
        return await self._change(_UNPARK, {"id": callback_id, "now": self._now()}) == 1

    async def parked(self) -> list[PendingCallback]:
        """What was given up, oldest first."""
        rows = await self._database.read(lambda connection: connection.execute(_PARKED).fetchall())
        return [_pending(row, tries=row["tries"]) for row in rows]

    async def counts(self) -> OutboxCounts:
        rows = await self._database.read(lambda connection: connection.execute(_COUNTS).fetchall())
        counts: dict[str, int] = {row[0]: row[1] for row in rows}
        return OutboxCounts(counts.get("pending", 0), counts.get("parked", 0))

    def _free_lost(self, connection: sqlite3.Connection, now: float) -> None:
        connection.execute(_FREE_EXPIRED, (now,))
        for (owner,) in connection.execute(_OWNERS).fetchall():
            if not self._owner.lives(owner):
                connection.execute(_FREE_OF, (owner,))

    async def _change(self, sql: str, values: tuple[object, ...] | dict[str, object]) -> int:
        return await self._database.run(lambda connection: connection.execute(sql, values).rowcount)


def _content(body: Mapping[str, Any]) -> bytes:
    """What is told, comparable however it was written."""
    told = {name: value for name, value in body.items() if name not in ABOUT_THE_TELLING}
    return orjson.dumps(told, option=orjson.OPT_SORT_KEYS)


def _pending(row: sqlite3.Row, *, tries: int) -> PendingCallback:
    return PendingCallback(
        id=row["id"],
        job_id=row["job_id"],
        track_id=row["track_id"],
        sequence=row["sequence"],
        body={**orjson.loads(row["body"]), "sequence": row["sequence"]},
        tries=tries,
        created_at=row["created_at"],
        error=row["error"],
        traceparent=row["traceparent"],
    )
