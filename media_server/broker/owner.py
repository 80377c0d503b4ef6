"""Which process holds a lease, and whether it still lives.

A process holds an flock on a file named after it; the kernel lets go of it however the process ends. So the
leases of a killed worker are free at once, not when they run out.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from pathlib import Path


class Owner:
    """This process as an owner of leases."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = uuid.uuid4().hex
        self._folder = folder
        self._path = folder / f"{self.name}.lock"
        # locked before it has its name: one who looked in between would take it for a dead process's
        unnamed = folder / f"{self.name}.new"
        self._descriptor = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unnamed.rename(self._path)
        self._closed = False

    def lives(self, name: str) -> bool:
        """True if the process that owns `name` still runs; the file of a dead one is removed."""
        if name == self.name:
            return True
        path = self._folder / f"{name}.lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            path.unlink(missing_ok=True)
            return False
        finally:
            os.close(descriptor)

    def sweep(self) -> None:
        """Remove what dead processes left."""
        for path in self._folder.glob("*.lock"):
            self.lives(path.stem)

    def close(self) -> None:
        # once: the number of a closed descriptor may be somebody else's by now
        if not self._closed:
            self._closed = True
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
