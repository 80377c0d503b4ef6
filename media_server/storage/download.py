"""Brings the body of an answer to a local file: hashed, bounded, and no slower than is worth waiting for.

Source: reliability F13.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from media_server.errors import LimitExceeded, Unavailable

PIECE_BYTES = 64 * 2**10
"""Small, so that a body which trickles is looked at often enough."""

LEAST_BYTES_PER_S = 16 * 2**10
"""128 kbit/s: what is slower comes slower than it plays."""

GRACE_S = 30.0
"""A body may be slower than that for as long."""


class Body(Protocol):
    """What is read piece by piece; the reading itself ends within the client's time."""

    def read(self, amt: int) -> bytes: ...


class Stopped(Exception):
    """Nobody waits for the file any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """What was written: the hash is of exactly these bytes."""

    sha256: str
    size_bytes: int


def download(
    body: Body,
    path: Path,
    stop: threading.Event,
    max_bytes: int | None = None,
    now: Callable[[], float] = time.monotonic,
) -> Downloaded:
    """Write the body to `path`, which must not exist; if it does not end well, nothing stays there.

    Raises:
        LimitExceeded: `too_large`, the body has more than `max_bytes`.
        Unavailable: `storage`, it comes too slowly.
        Stopped: `stop` is set.
        OSError: the disk refuses.
    """
    began, digest, size_bytes = now(), hashlib.sha256(), 0
    with path.open("xb") as file:
        try:
            while piece := body.read(PIECE_BYTES):
                size_bytes += len(piece)
                if max_bytes is not None and size_bytes > max_bytes:
                    raise too_large(f"more than {max_bytes}", max_bytes)
                digest.update(piece)
                file.write(piece)
                _must_go_on(size_bytes, now() - began, stop)
        except BaseException:
            path.unlink()
            raise
    return Downloaded(sha256=digest.hexdigest(), size_bytes=size_bytes)


def too_large(actual: str, max_bytes: int) -> LimitExceeded:
    """The error of a source with that many bytes."""
    limits = {"MAX_SOURCE_BYTES": float(max_bytes)}
    return LimitExceeded("too_large", f"the source has {actual} bytes, at most {max_bytes}", limits)


def _must_go_on(size_bytes: int, elapsed_s: float, stop: threading.Event) -> None:
    if stop.is_set():
        raise Stopped
    if elapsed_s > GRACE_S + size_bytes / LEAST_BYTES_PER_S:
        raise Unavailable("storage", f"the storage is too slow: {size_bytes} bytes in {elapsed_s:.0f} s")
