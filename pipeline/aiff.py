"""Comments of an AIFF file, of which FFmpeg reads one chunk of two: `ANNO`, but not `COMT`.

Source: Audio Interchange File Format "AIFF", version 1.3, 7.0 (Comments Chunk).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

CHUNK = struct.Struct(">4sI")
COMMENT = struct.Struct(">IHH")
"""When it was written, the marker it belongs to or 0, the bytes of its text."""

MAX_CHUNKS = 1000
MAX_COMMENT_BYTES = 1 << 16


def comments(path: Path) -> str:
    """The text of all comments on the file itself, as lines; those on a place in the sound are left out.

    It is decoded as PyAV decodes tags: what is no UTF-8 comes as surrogates.
    """
    with path.open("rb") as file:
        return "\n".join(text.decode("utf-8", "surrogateescape") for text in _comments(file))


def _comments(file: BinaryIO) -> Iterator[bytes]:
    at = CHUNK.size + 4
    for _ in range(MAX_CHUNKS):
        file.seek(at)
        header = file.read(CHUNK.size)
        if len(header) < CHUNK.size:
            return
        kind, size_bytes = CHUNK.unpack(header)
        if kind == b"COMT":
            yield from _texts(file.read(min(size_bytes, MAX_COMMENT_BYTES)))
        at += CHUNK.size + size_bytes + (size_bytes & 1)


def _texts(chunk: bytes) -> Iterator[bytes]:
    at = 2  # behind their count, which the end of the chunk tells as well
    while at + COMMENT.size <= len(chunk):
        _, marker, size_bytes = COMMENT.unpack_from(chunk, at)
        at += COMMENT.size
        if not marker:
            yield chunk[at : at + size_bytes]
        at += size_bytes + (size_bytes & 1)
