"""What FFmpeg's muxer leaves out of an M4A: room for the index at the front, and tags of our own name.

A player starts an M4A whose `moov` comes first while it still loads. The muxer keeps the room it is told to,
fills it at the end and puts a `free` box behind; ReplayGain and ISRC, for which iTunes has no atom, go into
that. Sources: ISO/IEC 14496-12 (boxes), QuickTime File Format (`ilst`, `----`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from pipeline.about import About
from pipeline.grid import AAC_FRAME_SAMPLES
from pipeline.outputs import Output
from pipeline.replaygain import replaygain_tags
from pipeline.sink import Piece

MEAN = b"com.apple.iTunes"
UTF8 = 1  # the well-known type of a `data` box
CHUNK_BYTES = 1 << 20  # FFmpeg's muxer begins another chunk there
BOX_BYTES = 8
FIXED_BYTES = 4096
"""For the boxes of one size; FFmpeg's take about 1100."""


def reserved_bytes(about: About, output: Output, samples: int) -> int:
    """Room that is enough for the `moov` of that many samples: four bytes a frame, and the tags."""
    frames = samples // AAC_FRAME_SAMPLES + 4
    coded_bytes = samples * (output.bitrate_bps or 0) // (8 * output.rate_hz)
    chunks = 2 * coded_bytes // CHUNK_BYTES + 2
    tags = sum(len(text.encode()) + 128 for text in about.tags.values())
    cover = len(about.cover.data) if about.cover else 0
    return FIXED_BYTES + 4 * frames + 32 * chunks + tags + cover


def freeform_tags(about: About) -> dict[str, str]:
    """The tags that stand in `----` boxes."""
    kept = {"ISRC": about.tags["isrc"]} if about.tags.get("isrc") else {}
    return {**kept, **replaygain_tags(about.loudness, about.album)}


def with_freeform(pieces: list[Piece], about: About) -> list[Piece]:
    """The last pieces of a file with these tags in its `ilst`.

    The muxer may write the `moov` in several: one that is larger than its buffer gets its sizes afterwards.

    Raises:
        ValueError: the room is too small.
    """
    at = next(number for number, piece in enumerate(pieces) if piece.data[4:8] == b"moov")
    start, room = pieces[at].offset, bytearray()
    for piece in pieces[at:]:
        place = piece.offset - start
        room[place : place + len(piece.data)] = piece.data
    return [*pieces[:at], Piece(start, _filled(bytes(room), freeform_tags(about)))]


def _filled(room: bytes, tags: dict[str, str]) -> bytes:
    """The `moov` with these tags, and a `free` box that is so much smaller."""
    (_, moov_end, _), (_, end, kind), *_ = _boxes(room)
    moov = _with_tags(room[BOX_BYTES:moov_end], b"".join(_freeform(*tag) for tag in tags.items()))
    left = end - len(moov)
    if kind != b"free" or left < BOX_BYTES:
        raise ValueError(f"the index has {len(moov)} bytes, there is room for {end - BOX_BYTES}")
    return moov + _box(b"free", bytes(left - BOX_BYTES)) + room[end:]


def _with_tags(movie: bytes, freeform: bytes) -> bytes:
    """A `moov` of these children, the last of which holds the tags, if there are any."""
    children = [movie[start:stop] for start, stop, kind in _boxes(movie) if kind != b"udta"]
    found = [movie[start:stop] for start, stop, kind in _boxes(movie) if kind == b"udta"]
    listed = b""
    if found:
        meta = found[0][BOX_BYTES:]
        inner = meta[BOX_BYTES + 4 :]
        listed = next(inner[a + BOX_BYTES : b] for a, b, kind in _boxes(inner) if kind == b"ilst")
    handler = _box(b"hdlr", struct.pack(">II4s4s9x", 0, 0, b"mdir", b"appl"))
    meta = _box(b"meta", bytes(4) + handler + _box(b"ilst", listed + freeform))
    return _box(b"moov", b"".join(children) + _box(b"udta", meta))


def _freeform(name: str, text: str) -> bytes:
    return _box(
        b"----",
        _box(b"mean", bytes(4) + MEAN)
        + _box(b"name", bytes(4) + name.encode())
        + _box(b"data", struct.pack(">II", UTF8, 0) + text.encode()),
    )


def _box(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I4s", BOX_BYTES + len(payload), kind) + payload


def _boxes(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Start, end and kind of each box in a row."""
    at = 0
    while at + BOX_BYTES <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        yield at, at + size, kind
        at += max(size, BOX_BYTES)
