"""How many tags a file has, counted before a demuxer sees them.

FFmpeg looks through all tags for each new one: forty thousand of them, in a file of a megabyte, cost half a
minute. So they are counted by the structure that holds them, without reading their text. What a count misses
(a chunk of ID3 inside of AIFF, a tag without order) ends at the probe's bound of CPU time.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

from pipeline.errors import LimitExceeded

MAX_TAGS = 900
"""Pictures among them, each of which is a stream; FFmpeg takes a thousand. Well-kept files have a hundred."""

MAX_TAG_BYTES = 1 << 24
"""Of all together, but for pictures. What is long costs little, and is cut when it is cleaned."""

MAX_COMMENTS, MAX_NAME_BYTES = 100_000, 64
"""Of Vorbis: looking at so many takes a tenth of a second."""

_OGG_HEAD_BYTES = 1 << 16
_VORBIS, _OPUS = b"\x03vorbis", b"OpusTags"
_FLAC_COMMENT, _FLAC_LAST = 4, 0x80
_PICTURES = (b"APIC", b"PIC", b"GEOB", b"covr")
_BEFORE_CHILDREN = {b"moov": 0, b"udta": 0, b"meta": 4}
"""Boxes on the way to `ilst`, and the bytes each has in front of its children."""


def check_tags(file: BinaryIO, demuxer: str) -> None:
    """Return if the tags of the file may be read.

    Args:
        demuxer: as `sniff` names it; it chooses what is looked at. An ID3v2 tag may stand before anything.
    Raises:
        LimitExceeded: `metadata_limit`.
    """
    count, size_bytes = 0, 0
    for name, length in islice(_tags(file, demuxer), MAX_TAGS + 1):
        count += 1
        size_bytes += 0 if name in _PICTURES else length
    if count > MAX_TAGS:
        raise LimitExceeded("metadata_limit", f"the file has more than {MAX_TAGS} tags")
    if size_bytes > MAX_TAG_BYTES:
        allowed = f"at most {MAX_TAG_BYTES} are read"
        raise LimitExceeded("metadata_limit", f"the file has {size_bytes} bytes of tags, {allowed}")


def _tags(file: BinaryIO, demuxer: str) -> Iterator[tuple[bytes, int]]:
    """Name and length of each tag that can be found."""
    file.seek(0)
    head = file.read(10)
    start = 0
    if head[:3] == b"ID3" and len(head) == 10:
        start = 10 + synchsafe(head[6:])
        yield from _id3_frames(file, head[3], start)
    if demuxer == "flac":
        yield from _flac_comments(file, start + 4)
    elif demuxer == "ogg":
        yield from _ogg_comments(file)
    elif demuxer == "mov":
        yield from _atoms(file, 0, file.seek(0, 2))
    elif demuxer == "wav":
        yield from _info_chunks(file)


def _id3_frames(file: BinaryIO, major: int, end: int) -> Iterator[tuple[bytes, int]]:
    """ID3v2.2 3.2, 2.3 3.3, 2.4 4: a name, a length, from 2.3 on two bytes of flags, and the text."""
    header_bytes, name_bytes, at = (6, 3, 10) if major == 2 else (10, 4, 10)
    while at + header_bytes <= end:
        file.seek(at)
        header = file.read(header_bytes)
        if len(header) < header_bytes or not header[0]:  # the padding behind the last
            return
        number = header[name_bytes : 2 * name_bytes]
        length = synchsafe(number) if major == 4 else int.from_bytes(number, "big")
        yield header[:name_bytes], length
        at += header_bytes + length


def _flac_comments(file: BinaryIO, at: int) -> Iterator[tuple[bytes, int]]:
    """RFC 9639 8.6, and 8.8 for the blocks of pictures, of which each is a tag here."""
    size_bytes = file.seek(0, 2)
    while True:
        file.seek(at)
        header = file.read(4)
        if len(header) < 4:
            return
        kind, length = header[0] & 0x7F, int.from_bytes(header[1:], "big")
        if at + 4 + length > size_bytes:  # broken, and the demuxer's to say
            return
        if kind == _FLAC_COMMENT:
            yield from _named_comments(file, at + 4 + length)
        elif kind:
            yield b"covr", length
        if header[0] & _FLAC_LAST:
            return
        at += 4 + length


def _named_comments(file: BinaryIO, end: int) -> Iterator[tuple[bytes, int]]:
    """Each name once, as FFmpeg joins what has one name, but the size of all."""
    seen: set[bytes] = set()
    file.seek(int.from_bytes(file.read(4), "little"), 1)
    count = int.from_bytes(file.read(4), "little")
    for _ in range(min(count, MAX_COMMENTS)):
        at, length = file.tell() + 4, int.from_bytes(file.read(4), "little")
        if at + length > end:
            return
        name = file.read(min(length, MAX_NAME_BYTES)).partition(b"=")[0].upper()
        if name not in seen:
            seen.add(name)
            yield b"", length
        file.seek(at + length)
    if count > MAX_COMMENTS:
        raise LimitExceeded(
            "metadata_limit", f"the file has {count} comments, at most {MAX_COMMENTS} are read"
        )


def _ogg_comments(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Vorbis I 5, RFC 7845 5.2: how many there are stands in front of them; pages cut through the rest."""
    file.seek(0)
    head = file.read(_OGG_HEAD_BYTES)
    for marker in (_VORBIS, _OPUS):
        if (at := head.find(marker)) >= 0:
            file.seek(at + len(marker))
            file.seek(int.from_bytes(file.read(4), "little"), 1)
            yield from ((b"", 0) for _ in range(int.from_bytes(file.read(4), "little")))
            return


def _atoms(file: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, int]]:
    """The children of `ilst`, which lies in `meta` in `udta` in `moov` (ISO 14496-12 4.2, 8.10)."""
    while at + 8 <= end:
        file.seek(at)
        header = file.read(16)
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        header_bytes = 8
        if length == 1:
            length, header_bytes = int.from_bytes(header[8:], "big"), 16
        length = length or end - at
        if length < header_bytes:
            return
        body, after = at + header_bytes, min(at + length, end)
        if kind == b"ilst":
            yield from _children(file, body, after)
        elif kind in _BEFORE_CHILDREN:
            yield from _atoms(file, body + _BEFORE_CHILDREN[kind], after)
        at = after


def _children(file: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, int]]:
    while at + 8 <= end:
        file.seek(at)
        header = file.read(8)
        length = max(int.from_bytes(header[:4], "big"), 8)
        yield header[4:], length
        at += length


def _info_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """The chunks in each LIST of the kind INFO (RIFF MCI 2-14)."""
    at, end = 12, file.seek(0, 2)
    while at + 8 <= end:
        file.seek(at)
        header = file.read(12)
        length = int.from_bytes(header[4:8], "little")
        after = at + 8 + length + (length & 1)
        if header[:4] == b"LIST" and header[8:] == b"INFO":
            inside = at + 12
            while inside + 8 <= min(after, end):
                file.seek(inside)
                chunk = file.read(8)
                size = int.from_bytes(chunk[4:], "little")
                yield chunk[:4], size
                inside += 8 + size + (size & 1)
        at = after


def synchsafe(four: bytes) -> int:
    """A 28-bit size of ID3v2 (id3v2.4 6.2)."""
    return (four[0] & 127) << 21 | (four[1] & 127) << 14 | (four[2] & 127) << 7 | four[3] & 127
