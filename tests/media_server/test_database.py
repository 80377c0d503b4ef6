"""The SQLite file: what a transaction promises, and what becomes of the machine's troubles."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from media_server.database import MIGRATIONS, Database
from media_server.errors import Unavailable


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(tmp_path / "db.sqlite3")
    yield opened
    await opened.close()


ADD = "INSERT INTO tracks (track_id, created_at, body) VALUES ('a', '', x'')"


def count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT COUNT(*) FROM tracks").fetchone()[0])


async def test_a_transaction_returns_what_the_work_returns(database: Database) -> None:
    await database.run(lambda connection: connection.execute(ADD))
    assert await database.run(count) == 1
    assert await database.read(count) == 1


async def test_an_error_takes_the_whole_transaction_back(database: Database) -> None:
    def fail_halfway(connection: sqlite3.Connection) -> None:
        connection.execute(ADD)
        raise KeyError("halfway")

    with pytest.raises(KeyError, match="halfway"):
        await database.run(fail_halfway)
    assert await database.run(count) == 0


async def test_what_was_answered_survives_a_power_cut(database: Database) -> None:
    """SQLite: in WAL mode only synchronous=FULL (2) syncs the log at every commit."""

    def pragmas(connection: sqlite3.Connection) -> tuple[str, int, int]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        journal, synchronous, foreign_keys = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names
        )
        return journal, synchronous, foreign_keys

    assert await database.read(pragmas) == ("wal", 2, 1)


async def test_another_process_sees_what_was_written(database: Database, tmp_path: Path) -> None:
    other = Database(tmp_path / "db.sqlite3")
    await database.run(lambda connection: connection.execute(ADD))
    assert await other.read(count) == 1
    await other.close()


async def test_a_read_waits_for_no_writer(database: Database, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "db.sqlite3", isolation_level=None) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute(ADD)
        assert await database.read(count) == 0
        writer.execute("COMMIT")
    writer.close()
    assert await database.read(count) == 1


async def test_a_lock_that_stays_is_a_service_that_is_busy(database: Database, tmp_path: Path) -> None:
    await database.run(lambda connection: connection.execute("PRAGMA busy_timeout = 1"))
    with sqlite3.connect(tmp_path / "db.sqlite3", isolation_level=None) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable) as caught:
            await database.run(count)
        writer.execute("ROLLBACK")
    writer.close()
    assert caught.value.code == "database_busy"
    assert await database.run(count) == 0


async def test_a_full_disk_takes_the_transaction_back_and_the_next_one_works(database: Database) -> None:
    """F16: recovers alone."""

    def fill(connection: sqlite3.Connection) -> None:
        pages = int(connection.execute("PRAGMA page_count").fetchone()[0])
        connection.execute(f"PRAGMA max_page_count = {pages}")
        connection.execute("INSERT INTO tracks VALUES ('a', '', zeroblob(100000))")

    with pytest.raises(Unavailable) as caught:
        await database.run(fill)
    assert caught.value.code == "storage_full"
    assert await database.run(count) == 0


async def test_a_mistake_in_a_statement_is_our_bug(database: Database) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await database.run(lambda connection: connection.execute("SELECT * FROM nowhere"))
    assert await database.run(count) == 0


async def test_close_may_be_called_twice_and_nothing_runs_after_it(database: Database) -> None:
    await database.close()
    await database.close()
    with pytest.raises(Unavailable, match="closed"):
        await database.run(count)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite3"
    path.write_bytes(b"not a database at all" * 1000)
    with pytest.raises(Unavailable, match="damaged"):
        Database(path)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be opened"):
        Database(tmp_path / "nowhere" / "db.sqlite3")


async def test_a_file_of_a_newer_server_keeps_its_version(tmp_path: Path) -> None:
    """F25: old and new servers mixed, rollback safe."""
    path = tmp_path / "db.sqlite3"
    await Database(path).close()
    newer = sqlite3.connect(path)
    assert newer.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    newer.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 7}")
    newer.execute("ALTER TABLE tracks ADD COLUMN mood TEXT")
    older = Database(path)
    await older.run(lambda connection: connection.execute(ADD))
    await older.close()
    assert newer.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 7,)
    newer.close()


@pytest.mark.parametrize("number", range(10))
async def test_many_open_a_new_file_at_once(tmp_path: Path, number: int) -> None:
    """Without a lock of our own about one such crowd in forty meets SQLITE_BUSY at once."""
    everybody = threading.Barrier(8)

    def open_with_the_others(_: int) -> Database:
        everybody.wait(10)
        return Database(tmp_path / "db.sqlite3")

    with ThreadPoolExecutor(8) as threads:
        opened = list(threads.map(open_with_the_others, range(8)))
    await opened[0].run(lambda connection: connection.execute(ADD))
    assert [await database.read(count) for database in opened] == [1] * 8
    for database in opened:
        await database.close()


async def test_a_cancelled_caller_waits_for_the_end_of_its_transaction(database: Database) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(connection: sqlite3.Connection) -> None:
        connection.execute(ADD)
        begun.set()
        go_on.wait(10)

    caller = asyncio.create_task(database.run(slow))
    await asyncio.to_thread(begun.wait, 10)
    caller.cancel()
    await asyncio.wait({caller}, timeout=0.02)
    assert not caller.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert await database.run(count) == 1


async def test_a_result_that_nobody_receives_is_undone(database: Database) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def take(connection: sqlite3.Connection) -> str:
        connection.execute(ADD)
        begun.set()
        go_on.wait(10)
        return "a"

    def undo(connection: sqlite3.Connection, taken: str) -> None:
        connection.execute("DELETE FROM tracks WHERE track_id = ?", (taken,))

    caller = asyncio.create_task(database.run(take, undo=undo))
    await asyncio.to_thread(begun.wait, 10)
    caller.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert await database.run(count) == 0
    assert await database.run(take, undo=undo) == "a"
    assert await database.run(count) == 1
