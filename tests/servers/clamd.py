"""An antivirus scanner of our own: a private clamd with one made-up signature; no database is downloaded.

Needs Debian's `clamav-daemon`.
"""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from servers.freeze import freeze
from servers.ports import free_ports

PROGRAM = "clamd"
START_WITHIN_S, END_WITHIN_S = 30.0, 10.0
LOOK_EVERY_S = 0.02

INFECTION = b"no-virus-but-what-the-tests-call-one"
"""A file that has it anywhere is what the signature looks for."""

SIGNATURE = "Tests.Made.Up-1"
MAX_FILE_BYTES, MAX_STREAM_BYTES = 1 << 20, 2 << 20
"""Above the first clamd looks no further, above the second it takes no more."""


class NotInstalledError(Exception):
    """There is no clamd on this machine."""


class PrivateClamd:
    """One scanner, from `start` to `close`; it listens on a Unix socket and on a port."""

    def __init__(self) -> None:
        if shutil.which(PROGRAM) is None:
            raise NotInstalledError(f"no {PROGRAM} on PATH: install the package clamav-daemon")
        self._folder = Path(tempfile.mkdtemp(prefix="clamd-"))
        self.path = str(self._folder / "clamd.sock")
        (self.port,) = free_ports(1)
        self._log = self._folder / "clamd.log"
        self._process: subprocess.Popen[bytes] | None = None
        signatures = self._folder / "signatures"
        signatures.mkdir()
        (signatures / "own.ndb").write_text(f"{SIGNATURE}:0:*:{INFECTION.hex()}\n")
        lines = (
            *(f"LocalSocket {self.path}", "TCPAddr 127.0.0.1", f"TCPSocket {self.port}"),
            *(f"DatabaseDirectory {signatures}", f"TemporaryDirectory {self._folder}"),
            *("Foreground yes", f"User {getpass.getuser()}", "MaxThreads 2", "ExitOnOOM yes"),
            *(f"StreamMaxLength {MAX_STREAM_BYTES}", f"MaxFileSize {MAX_FILE_BYTES}", "AlertExceedsMax yes"),
        )
        self._settings = self._folder / "clamd.conf"
        self._settings.write_text("\n".join(lines) + "\n")

    def start(self) -> PrivateClamd:
        """Start it and wait until it answers.

        Raises:
            RuntimeError: it ended or does not answer; with the end of its log.
        """
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [PROGRAM, "--config-file", str(self._settings)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_WITHIN_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"clamd does not run: {self._log.read_text()[-2000:]}")
            time.sleep(LOOK_EVERY_S)
        return self

    def pause(self) -> None:
        """Freeze it; from then on nothing answers."""
        assert self._process is not None
        freeze(self._process)

    def close(self) -> None:
        """End it on the spot and leave nothing behind; to be called any number of times."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(END_WITHIN_S)
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> PrivateClamd:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1)
                connection.connect(self.path)
                connection.sendall(b"zPING\0")
                return connection.recv(16) == b"PONG\0"
        except OSError:
            return False
