"""A Redis of our own: a free port, its own folder; nothing of a system's server is used.

Needs Debian's `redis-server` (or `valkey-server`).
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from servers.freeze import freeze
from servers.ports import free_ports

PROGRAMS = ("valkey-server", "redis-server")
START_WITHIN_S, STOP_WITHIN_S = 10.0, 10.0
LOOK_EVERY_S = 0.01


class NotInstalledError(Exception):
    """There is no Redis on this machine."""


class PrivateRedis:
    """One server, from `start` to `close`; it may be stopped, killed, paused and started again in between.

    Args:
        options: of redis-server's command line, such as `--requirepass`, `a password`.
        persist: every write is on the disk before it is answered; else a restart begins empty.
    """

    def __init__(self, *options: str, persist: bool = False) -> None:
        program = next(filter(None, map(shutil.which, PROGRAMS)), None)
        if program is None:
            raise NotInstalledError(
                f"none of {', '.join(PROGRAMS)} on PATH: install the package redis-server"
            )
        (self.port,) = free_ports(1)
        self._folder = Path(tempfile.mkdtemp(prefix="redis-"))
        self._log = self._folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._command = [
            *(program, "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._folder)),
            *("--save", "", "--appendonly", "yes" if persist else "no", "--appendfsync", "always"),
            *("--maxmemory", "128mb", "--maxmemory-policy", "noeviction", *options),
        ]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> PrivateRedis:
        """Start the server, also after a stop or a kill, and wait until it answers.

        Raises:
            RuntimeError: it ended or does not answer; with the end of its log.
        """
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_WITHIN_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Redis does not run: {self._log.read_text()[-2000:]}")
            time.sleep(LOOK_EVERY_S)
        return self

    def stop(self) -> None:
        """End it in order."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it on the spot: kill -9."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(STOP_WITHIN_S)

    def restart(self) -> None:
        """Stop it and start it again."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it; from then on nothing answers."""
        assert self._process is not None
        freeze(self._process)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop it and leave nothing behind; to be called any number of times."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> PrivateRedis:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answers(self) -> bool:
        """An open port is not enough: it may still load its file. One that wants a password is ready."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 0.5) as connection:
                connection.settimeout(1)
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False
