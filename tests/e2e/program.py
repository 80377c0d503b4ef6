"""A program of ours as an operator runs it: a process group of its own, with its folder, settings and log.

Owns: starting it, reading its log, and that nothing of it is left when a test has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

Found = TypeVar("Found")
Json = dict[str, Any]
Setting = str | int | float | bool | Path

STOP_WITHIN_S = 30.0
LOOK_EVERY_S = 0.05

INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")
"""A setting of whoever runs the tests must not reach the program."""


def eventually(
    probe: Callable[[], Found | None], what: str, *, within_s: float = 30.0, every_s: float = LOOK_EVERY_S
) -> Found:
    """Ask until there is an answer.

    Raises:
        AssertionError: there is none within the time; `what` names what was waited for.
    """
    deadline = time.monotonic() + within_s
    never = threading.Event()
    while (found := probe()) is None:
        assert time.monotonic() < deadline, f"{what}: not within {within_s:g} s"
        never.wait(every_s)
    return found


class Program:
    """`media-server <arguments>` in a process group of its own.

    `env` are settings that differ from the defaults: DATA_DIR is a folder of `folder`, and logs are JSON.
    """

    def __init__(self, folder: Path, arguments: tuple[str, ...], env: Mapping[str, Setting]) -> None:
        settings: dict[str, Setting] = {"LOG_FORMAT": "json", "DATA_DIR": folder / "data", **env}
        self.settings = {name: _text(value) for name, value in settings.items()}
        self.data_dir = Path(self.settings["DATA_DIR"])
        self._arguments = arguments
        self._folder = folder
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def launch(self) -> None:
        """Start the process; again after a stop, with the same folder."""
        assert self._process is None, "it runs already"
        self._folder.mkdir(parents=True, exist_ok=True)
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        with self._news:
            self._lines.clear()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "media_server", *self._arguments],
            cwd=self._folder,  # where no .env lies
            env=inherited | self.settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Ask it to end, wait, and reap its whole process group; returns its exit status."""
        process = self._process
        assert process is not None, "it does not run"
        try:
            if number == signal.SIGKILL:
                _kill_group(process.pid)
            elif process.poll() is None:
                process.send_signal(number)
            return process.wait(STOP_WITHIN_S)
        finally:
            self._reap()

    def kill(self) -> None:
        """End it and all its children as a power cut does."""
        self.stop(signal.SIGKILL)

    def close(self) -> None:
        """Stop it if it runs; to be called any number of times."""
        if self._process is not None:
            self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None, "it does not run"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process alone, and do not wait."""
        os.kill(self.pid, number)

    def wait_for_exit(self, *, within_s: float = STOP_WITHIN_S) -> int:
        """Wait until it has ended by itself and reap its group; returns its exit status."""
        assert self._process is not None, "it does not run"
        status = self._process.wait(within_s)
        self._reap()
        return status

    def group_is_alive(self) -> bool:
        """Whether any process of its group, children too, is there."""
        return self._process is not None and _group_is_alive(self._process.pid)

    def _reap(self) -> None:
        process, reader = self._process, self._reader
        assert process is not None
        assert reader is not None
        _kill_group(process.pid)
        process.wait(STOP_WITHIN_S)
        reader.join(STOP_WITHIN_S)
        assert process.stdout is not None
        process.stdout.close()
        self._process = self._reader = None

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            with self._news:
                self._lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    @property
    def output(self) -> str:
        """Everything it wrote since it was started."""
        with self._news:
            return "\n".join(self._lines)

    def log(self, message: str | None = None) -> list[Json]:
        """Its log records, or those with this message; lines that are none are left out."""
        with self._news:
            records = [record for line in self._lines if (record := _record(line)) is not None]
        return [one for one in records if message is None or one.get("message") == message]

    def wait_for_log(self, message: str, *, within_s: float = 30.0, **fields: object) -> Json:
        """The first record with this message and these fields, waited for while it runs."""

        def found() -> Json | None:
            for record in self.log(message):
                if all(record.get(name) == value for name, value in fields.items()):
                    return record
            return None

        deadline = time.monotonic() + within_s
        with self._news:
            while (record := found()) is None:
                ended = not self.running
                left_s = deadline - time.monotonic()
                if left_s <= 0 or (ended and self._reader is not None and not self._reader.is_alive()):
                    why = "it has ended" if ended else f"not within {within_s:g} s"
                    raise AssertionError(f"log record {message} {fields}: {why}\n" + "\n".join(self._lines))
                self._news.wait(min(left_s, 0.25))
        return record


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _record(line: str) -> Json | None:
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None


def _group_is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
