"""The box syntax of the ISO base media file format: writing, and walking over what was written.

Owns: sizes and headers. What a box means is its user's business.
Source: ISO/IEC 14496-12 4.2 (object structure).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

HEADER_BYTES = 8
LARGE_HEADER_BYTES = 16
SIZE_TO_THE_END = 0
SIZE_IS_64_BIT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Where a box lies in its file: [start, end) with its header, [payload_start, end) without."""

    kind: bytes
    start: int
    payload_start: int
    end: int


def box(kind: bytes, *payload: bytes) -> bytes:
    """A box of the four-character code `kind` around the joined `payload` (4.2)."""
    size = HEADER_BYTES + sum(map(len, payload))
    return b"".join((size.to_bytes(4, "big"), kind, *payload))


def full_box(kind: bytes, version: int, flags: int, *payload: bytes) -> bytes:
    """A box that opens with a version (8 bit) and flags (24 bit) (4.2, FullBox)."""
    return box(kind, version.to_bytes(1, "big"), flags.to_bytes(3, "big"), *payload)


def walk(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """The boxes that follow one another in data[start:end], without what is nested in them.

    To look into a container, walk again from its `payload_start` to its `end`.

    Raises:
        ValueError: a header is cut off, or a box is smaller than its header or larger than the space.
    """
    stop = len(data) if end is None else end
    position = start
    while position < stop:
        found = _box_at(data, position, stop)
        yield found
        position = found.end


def _box_at(data: bytes, start: int, stop: int) -> Box:
    payload_start = start + HEADER_BYTES
    if payload_start > stop:
        raise ValueError(f"box at {start}: {stop - start} bytes left, a header is {HEADER_BYTES}")
    size = int.from_bytes(data[start : start + 4], "big")
    kind = bytes(data[start + 4 : payload_start])
    if size == SIZE_IS_64_BIT:
        size = int.from_bytes(data[payload_start : payload_start + 8], "big")
        payload_start = start + LARGE_HEADER_BYTES
    elif size == SIZE_TO_THE_END:
        size = stop - start
    if payload_start > start + size or start + size > stop:
        raise ValueError(f"box {kind!r} at {start}: size is {size} bytes, {stop - start} are left")
    return Box(kind=kind, start=start, payload_start=payload_start, end=start + size)
