"""The embedded server's one SQLite file.

Owns: the connection, on a thread of its own, and the tables of everyone who keeps rows here. WAL, so that
other processes read and write beside us; synchronous=FULL, so that what was answered survives a power cut.
A migration only adds: the server of the version before must still work on the file after a rollback.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from media_server.errors import Unavailable

Result = TypeVar("Result")

BUSY_TIMEOUT_S = 5.0
"""How long another process may hold the write lock."""

MIGRATIONS = (
    (
        # the body comes last: what decides about a row is read without walking through its pages
        """
        CREATE TABLE deliveries (
            id INTEGER PRIMARY KEY AUTOINCREMENT, job_id TEXT NOT NULL UNIQUE, track_id TEXT NOT NULL,
            created_at REAL NOT NULL, due_at REAL NOT NULL, attempt INTEGER NOT NULL DEFAULT 0,
            fence INTEGER NOT NULL DEFAULT 0, owner TEXT, leased_until REAL, body BLOB NOT NULL
        )
        """,
        "CREATE INDEX deliveries_leased ON deliveries (track_id) WHERE owner IS NOT NULL",
        # all that is asked of those that wait, so that looking for one that is due reads no bodies
        """
        CREATE INDEX deliveries_waiting ON deliveries (id, due_at, track_id, created_at)
        WHERE owner IS NULL
        """,
        "CREATE TABLE fences (id INTEGER PRIMARY KEY CHECK (id = 1), last INTEGER NOT NULL)",
        "INSERT INTO fences VALUES (1, 0)",
        """
        CREATE TABLE parked (
            job_id TEXT PRIMARY KEY, track_id TEXT NOT NULL, parked_at REAL NOT NULL,
            attempt INTEGER NOT NULL, reason TEXT NOT NULL, body BLOB NOT NULL
        )
        """,
        """
        CREATE TABLE callbacks (
            id INTEGER PRIMARY KEY AUTOINCREMENT, job_id TEXT NOT NULL UNIQUE, track_id TEXT NOT NULL,
            sequence INTEGER NOT NULL, created_at REAL NOT NULL, due_at REAL NOT NULL,
            tries INTEGER NOT NULL DEFAULT 0, status TEXT NOT NULL DEFAULT 'pending', error TEXT,
            owner TEXT, leased_until REAL, body BLOB NOT NULL
        )
        """,
        "CREATE UNIQUE INDEX callbacks_by_track ON callbacks (track_id, sequence)",
        "CREATE INDEX callbacks_pending ON callbacks (track_id, sequence) WHERE status = 'pending'",
        "CREATE INDEX callbacks_claimed ON callbacks (owner) WHERE owner IS NOT NULL",
        "CREATE INDEX callbacks_by_status ON callbacks (status, due_at)",
        """
        CREATE TABLE jobs (
            job_id TEXT PRIMARY KEY, track_id TEXT NOT NULL, status TEXT NOT NULL, created_at TEXT NOT NULL,
            updated_at TEXT NOT NULL, revision INTEGER NOT NULL, body BLOB NOT NULL
        )
        """,
        "CREATE UNIQUE INDEX jobs_by_revision ON jobs (revision)",
        "CREATE INDEX jobs_by_time ON jobs (created_at, job_id)",
        "CREATE INDEX jobs_by_track ON jobs (track_id, created_at, job_id)",
        "CREATE INDEX jobs_by_status ON jobs (status, created_at, job_id)",
        "CREATE TABLE tracks (track_id TEXT PRIMARY KEY, created_at TEXT NOT NULL, body BLOB NOT NULL)",
        "CREATE INDEX tracks_by_time ON tracks (created_at, track_id)",
    ),
    (
        "CREATE TABLE leases (name TEXT PRIMARY KEY, fence INTEGER NOT NULL, held_until REAL NOT NULL)",
        "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
    ),
    ("ALTER TABLE callbacks ADD COLUMN traceparent TEXT",),
)
"""What leads from each version of the file (`PRAGMA user_version`) to the next, statement by statement."""

UNAVAILABLE = {
    sqlite3.SQLITE_BUSY: ("database_busy", "another process keeps the database locked"),
    sqlite3.SQLITE_LOCKED: ("database_busy", "another process keeps the database locked"),
    sqlite3.SQLITE_FULL: ("storage_full", "there is no room for the database to grow"),
    sqlite3.SQLITE_IOERR: ("database", "the database cannot be read or written"),
    sqlite3.SQLITE_READONLY: ("database", "the database cannot be written to"),
    sqlite3.SQLITE_CANTOPEN: ("database", "the database cannot be opened"),
    sqlite3.SQLITE_CORRUPT: ("database", "the database is damaged"),
    sqlite3.SQLITE_NOTADB: ("database", "the database is damaged"),
}
"""SQLite's primary result codes that tell of the machine; every other one is a mistake in a statement."""


class Database:
    """`run` and `read` run a function inside one transaction on the connection's thread.

    Raises:
        Unavailable: `database_busy`, `storage_full` or `database`.
    """

    def __init__(self, path: Path) -> None:
        self._thread = ThreadPoolExecutor(1, "sqlite")
        try:
            self._connection = self._thread.submit(_open, path).result()
        except BaseException:
            self._thread.shutdown()
            raise
        self._closed = False

    async def run(
        self,
        work: Callable[[sqlite3.Connection], Result],
        *,
        undo: Callable[[sqlite3.Connection, Result], object] | None = None,
    ) -> Result:
        """Do the work in a transaction that is on the disk before this returns; an error takes it back.

        A caller that is cancelled waits for the end of its transaction, so nothing of it comes later.

        Args:
            undo: takes the result back in a transaction of its own if nobody is left to receive it.
        Raises:
            Exception: what the work raised.
        """
        return await self._on_thread("BEGIN IMMEDIATE", work, undo)

    async def read(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Look at one moment of the file; waits for no writer and must not write."""
        return await self._on_thread("BEGIN", work, None)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
            self._thread.shutdown(wait=False)

    async def _on_thread(
        self,
        begin: str,
        work: Callable[[sqlite3.Connection], Result],
        undo: Callable[[sqlite3.Connection, Result], object] | None,
    ) -> Result:
        if self._closed:
            raise Unavailable("database", "the database is closed")
        loop = asyncio.get_running_loop()
        working = loop.run_in_executor(self._thread, self._transaction, begin, work)
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            await asyncio.wait({working})
            if working.exception() is None and undo is not None:
                take_back = partial(_with_result, undo, working.result())
                undoing = loop.run_in_executor(self._thread, self._transaction, begin, take_back)
                await asyncio.wait({undoing})
                undoing.exception()  # the lease runs out by itself then; the cancellation is what counts
            raise

    def _transaction(self, begin: str, work: Callable[[sqlite3.Connection], Result]) -> Result:
        with _translated():
            self._connection.execute(begin)
            try:
                result = work(self._connection)
                self._connection.execute("COMMIT")
            except BaseException:
                # a full disk rolls back by itself
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        return result


def _with_result(
    undo: Callable[[sqlite3.Connection, Result], object], result: Result, connection: sqlite3.Connection
) -> None:
    undo(connection, result)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        # the low byte is the primary code; errors of the Python module carry none
        known = UNAVAILABLE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
        if known is None:
            raise
        raise Unavailable(*known) from error


def _open(path: Path) -> sqlite3.Connection:
    """The connection, with the schema up to date; a file of a newer server stays as it is."""
    with _translated(), _alone(path):
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            _migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def _migrate(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    for migration in MIGRATIONS[version:]:
        for statement in migration:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {max(version, len(MIGRATIONS))}")
    connection.execute("COMMIT")


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time opens the file.

    SQLite does not always wait for the lock when it switches to WAL: of 1200 first openings, eight at once,
    four failed.
    """
    try:
        descriptor = os.open(
            path.with_name(f"{path.name}-open"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
    except OSError as error:
        raise Unavailable("database", f"the database cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
