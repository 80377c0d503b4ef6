"""The storage port: whole objects under keys such as `tracks/{track_id}/asset.json`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Protocol

from media_server.errors import NotFound

_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
"""No part starts with a dot: neither `.` nor `..`, nor what an adapter hides from keys."""

MAX_KEY_CHARACTERS = 1024
"""S3's longest key; below the longest path of every file system."""

ANY_BYTES = "application/octet-stream"
"""The type of a file that nobody has looked into."""

Keys = list[str]


class Storage(Protocol):
    """What every adapter does. A call that is cancelled has no effect after it has raised.

    Raises:
        NotFound: `object_not_found`, also for a key that could not be one.
        Unavailable: the storage is out of reach, or full (`storage_full`).
    """

    async def put(self, key: str, data: bytes, *, media_type: str, cache_control: str = "") -> None:
        """Store the object, whole and durable, over what was there.

        Args:
            cache_control: what a CDN that reads the storage itself may keep, as the HTTP header says it.
        """
        ...

    async def put_file(
        self, key: str, path: Path, *, media_type: str = ANY_BYTES, cache_control: str = ""
    ) -> None:
        """Store the bytes of a local file as `put` does; the file itself may be moved away."""
        ...

    async def get(self, key: str) -> bytes:
        """The object's bytes."""
        ...

    async def read(self, key: str, start: int, stop: int) -> bytes:
        """Bytes `start` up to but not including `stop`, 0 <= start <= stop; fewer where the object ends."""
        ...

    async def get_file(self, key: str, path: Path) -> None:
        """Bring the object to the local file `path`, which must not exist; it may share its bytes."""
        ...

    async def move(self, key: str, to: str) -> None:
        """Give the object another key, over what was there."""
        ...

    async def list(self, prefix: str) -> Keys:
        """The keys below a prefix that ends with a slash, sorted."""
        ...

    async def delete(self, prefix: str) -> int:
        """Remove every object below a prefix that ends with a slash, or the one object of a key.

        Returns how many they were; none is no error.
        """
        ...

    async def check(self) -> None:
        """Raise if an object could not be stored now."""
        ...


def parts_of(key: str) -> tuple[str, ...]:
    """The parts of a key or, without its last slash, of a prefix.

    Raises:
        NotFound: `object_not_found`, it is not made of plain names and single slashes, or too long.
    """
    parts = tuple(key.removesuffix("/").split("/"))
    if len(key) > MAX_KEY_CHARACTERS or not all(_PART.fullmatch(part) for part in parts):
        raise object_not_found()
    return parts


def key_parts(key: str) -> tuple[str, ...]:
    """The parts of a key.

    Raises:
        NotFound: as `parts_of`, and for a prefix.
    """
    if key.endswith("/"):
        raise object_not_found()
    return parts_of(key)


def object_not_found() -> NotFound:
    """The error; it does not say which, for a key may be a listener's guess."""
    return NotFound("object_not_found", "there is no such object")
