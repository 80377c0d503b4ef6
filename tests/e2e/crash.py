"""Ending a server as a power cut does, at a moment of one's choosing, and what must not be left of it.

Owns: the tree of a server's processes, how a transaction of a running server is held from outside, and what
lies in its folders.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from e2e.server import Json, Server, eventually

DATABASE = "media-server.sqlite3"

GONE_WITHIN_S = 5.0
"""From a server's death until none of its processes is left."""

LOCKED_FOR_LOOKS = 8
"""A transaction that is seen under way so often in a row, 0.05 s apart, is held and not only slow."""

ENDLESS = """
    CREATE VIEW endless AS WITH RECURSIVE rows (i) AS (
        SELECT 1 UNION ALL SELECT i + 1 FROM rows LIMIT 20000000
    ) SELECT COUNT(*) AS n FROM rows
"""
"""What a held transaction counts: many seconds, and still an end for a server that nobody kills."""


# --- processes --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process, told from a later one of the same number by when it was started (in ticks since boot)."""

    pid: int
    parent: int
    started: int
    command: str

    @property
    def alive(self) -> bool:
        """Whether it still does anything: one that only waits to be reaped does not."""
        found = _process(self.pid)
        return found is not None and found.started == self.started


def _process(pid: int) -> Process | None:
    """As /proc/<pid>/stat has it: `pid (name) state parent ...`, the start time is the 22nd field."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        command = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ").strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[0] in "ZX":
        return None
    return Process(pid=pid, parent=int(fields[1]), started=int(fields[19]), command=command)


def tree(pid: int) -> list[Process]:
    """A process and all that it and its children started."""
    numbers = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    everyone = [found for number in numbers if (found := _process(number)) is not None]
    inside = {pid}
    while more := {one.pid for one in everyone if one.parent in inside} - inside:
        inside |= more
    return [one for one in everyone if one.pid in inside]


def forkserver(server: Server) -> Process:
    """The process that a job's child is forked from."""
    (found,) = [one for one in tree(server.pid) if "forkserver" in one.command and one.parent == server.pid]
    return found


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or only its parent has not yet asked how it ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state in "ZX"


def child(server: Server) -> Process | None:
    """The process of the one running job, if it runs."""
    # by its command too: while it loads its libraries the forkserver starts programs that look for them
    parent = forkserver(server)
    forks = (one for one in tree(server.pid) if one.parent == parent.pid and one.command == parent.command)
    return next(forks, None)


def wait_for_child(server: Server, *, unlike: Process | None = None) -> Process:
    """The process of the job, as soon as there is one other than `unlike`."""

    def found() -> Process | None:
        one = child(server)
        return one if one != unlike else None

    return eventually(found, "the job's process", every_s=0.005)


def wait_until_gone(processes: list[Process]) -> None:
    """Return once none of them is alive.

    Raises:
        AssertionError: one still is after GONE_WITHIN_S.
    """
    assert len(processes) >= 3, "a server, its forkserver and the resource tracker"
    names = ", ".join(f"{one.pid} {one.command[:80]}" for one in processes)
    eventually(
        lambda: None if any(one.alive for one in processes) else True,
        f"the end of {names}",
        within_s=GONE_WITHIN_S,
    )


def kill_alone(server: Server) -> None:
    """kill -9 the server and nothing else; its children must notice by themselves.

    Raises:
        AssertionError: one of them lives on.
    """
    processes = tree(server.pid)
    server.signal(signal.SIGKILL)
    wait_until_gone(processes)
    assert server.wait_for_exit() == -signal.SIGKILL


# --- the database -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def database(data_dir: Path) -> Iterator[sqlite3.Connection]:
    """The server's file, opened beside it; never waits for a lock."""
    connection = sqlite3.connect(data_dir / DATABASE, timeout=0, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


def recorded(data_dir: Path, job_id: str) -> tuple[Json, int | None]:
    """The job as it is on record, and the attempts of its message; None if no message waits."""
    with database(data_dir) as connection:
        (body,) = connection.execute("SELECT body FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
        message = connection.execute("SELECT attempt FROM deliveries WHERE job_id = ?", (job_id,)).fetchone()
    job: Json = json.loads(body)
    return job, message and message[0]


def runs_begun(data_dir: Path, track_id: str) -> int:
    """How often the track's one waiting message was given to a worker."""
    with database(data_dir) as connection:
        [(attempt,)] = connection.execute("SELECT attempt FROM deliveries WHERE track_id = ?", (track_id,))
    return int(attempt)


@contextlib.contextmanager
def held(data_dir: Path, moment: str) -> Iterator[None]:
    """From now on the transaction with this change in it does not come to its end.

    Its statement fires a trigger that counts for a long time: what was committed before it is there, it
    itself is not yet, and the server waits. Whoever is killed in it has not made the change. The trigger
    goes with the end of the block, which must be after the kill.

    Args:
        moment: as SQLite names it: `UPDATE ON jobs WHEN ...`.
    """
    with database(data_dir) as connection:
        connection.execute("PRAGMA busy_timeout = 5000")
        connection.execute(ENDLESS)
        connection.execute(f"CREATE TRIGGER held AFTER {moment} BEGIN SELECT n FROM endless; END")  # noqa: S608 - a test's own words
    try:
        yield
    finally:
        with database(data_dir) as connection:
            connection.execute("PRAGMA busy_timeout = 60000")
            connection.execute("DROP TRIGGER held")
            connection.execute("DROP VIEW endless")


def wait_until_held(data_dir: Path) -> None:
    """Return once a transaction does not come to its end."""
    looks = 0

    def locked() -> bool | None:
        nonlocal looks
        with database(data_dir) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
            except sqlite3.OperationalError as error:
                assert error.sqlite_errorcode == sqlite3.SQLITE_BUSY, error
                looks += 1
            else:
                looks = 0
        return True if looks >= LOCKED_FOR_LOOKS else None

    eventually(locked, "a transaction that is held", within_s=60)


# --- folders ----------------------------------------------------------------------------------------------


def files_below(folder: Path) -> set[str]:
    """The files in a folder and its folders, as paths relative to it."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def assert_nothing_is_left_over(server: Server) -> None:
    """No file of an attempt, of an upload or of an unfinished write, and no lock but the server's own.

    Soon: a job has ended for the outside a moment before its folder goes.
    """
    data = server.data_dir
    folders = [data / name for name in ("attempts", "incoming", "storage/uploads", "storage/.unfinished")]

    def left() -> list[str]:
        return [str(path.relative_to(data)) for folder in folders for path in folder.rglob("*")]

    eventually(lambda: not left() or None, "the end of all files of work that is done")
    assert len(list((data / "owners").iterdir())) == 1


def assert_stored_is_named(data_dir: Path, track_id: str) -> None:
    """Every file of the track is in its asset.json, and the other way round: no orphan, no hole."""
    folder = data_dir / "storage" / "tracks" / track_id
    asset = json.loads((folder / "asset.json").read_text())
    named = {asset["waveform"]["name"]} | {
        f"{rung['name']}/{file['name']}"
        for rung in asset["renditions"]
        for file in (rung["init"], *rung["segments"])
    }
    named |= {f"downloads/{download['file']['name']}" for download in asset["downloads"]}
    assert files_below(folder) == {"asset.json"} | {f"{asset['version']}/{name}" for name in named}
