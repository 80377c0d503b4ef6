"""Ogg pages: enough to give a stream other headers and a serial number that does not change.

Source: RFC 3533 6 (the page), Vorbis I 5 (comment header).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

CAPTURE = b"OggS"
HEADER = struct.Struct("<4sBBqIIIB")
CHECKSUM_AT = 22
MAX_SEGMENTS = 255
CONTINUED, FIRST = 1, 2
NO_PACKET_ENDS = -1

COMMENT_MAGIC = b"\x03vorbis"
FRAMING = b"\x01"

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """`lacing` has the lengths of its segments; `granule` is the last sample of its last whole packet."""

    flags: int
    granule: int
    serial: int
    number: int
    lacing: bytes
    body: bytes

    def to_bytes(self) -> bytes:
        head = HEADER.pack(
            CAPTURE, 0, self.flags, self.granule, self.serial, self.number, 0, len(self.lacing)
        )
        page = bytearray(head + self.lacing + self.body)
        struct.pack_into("<I", page, CHECKSUM_AT, checksum(page))
        return bytes(page)


def checksum(page: bytes | bytearray) -> int:
    """CRC-32 as Ogg has it: most significant bit first, from 0, not inverted (RFC 3533 6).

    zlib's is the same sum of mirrored bytes, mirrored.
    """
    mirrored = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)


def pages_in(data: bytearray) -> Iterator[Page]:
    """The whole pages at the start of `data`, which are taken out of it.

    Raises:
        ValueError: it does not start with a page.
    """
    while len(data) >= HEADER.size:
        capture, _, flags, granule, serial, number, _, segments = HEADER.unpack_from(data)
        if capture != CAPTURE:
            raise ValueError(f"expected a page, got {bytes(data[:4])!r}")
        lacing = bytes(data[HEADER.size : HEADER.size + segments])
        start = HEADER.size + segments
        end = start + sum(lacing)
        if len(lacing) < segments or len(data) < end:
            return
        yield Page(
            flags=flags,
            granule=granule,
            serial=serial,
            number=number,
            lacing=lacing,
            body=bytes(data[start:end]),
        )
        del data[:end]


def packets_of(pages: Iterable[Page]) -> list[bytes]:
    """The packets that end in these pages."""
    packets, part = [], b""
    for page in pages:
        at = 0
        for length in page.lacing:
            part += page.body[at : at + length]
            at += length
            if length < MAX_SEGMENTS:
                packets.append(part)
                part = b""
    return packets


def header_pages(packets: Iterable[bytes], serial: int, number: int) -> list[Page]:
    """Packets without time on as few pages as they need, counted from `number`."""
    segments = [
        (packet[at : at + MAX_SEGMENTS], at + MAX_SEGMENTS > len(packet))
        for packet in packets
        for at in range(0, len(packet) + 1, MAX_SEGMENTS)
    ]
    pages: list[Page] = []
    for start in range(0, len(segments), MAX_SEGMENTS):
        of_page = segments[start : start + MAX_SEGMENTS]
        goes_on = start > 0 and not segments[start - 1][1]
        pages.append(
            Page(
                flags=CONTINUED if goes_on else 0,
                granule=0 if any(ends for _, ends in of_page) else NO_PACKET_ENDS,
                serial=serial,
                number=number + len(pages),
                lacing=bytes(len(segment) for segment, _ in of_page),
                body=b"".join(segment for segment, _ in of_page),
            )
        )
    return pages


def renumbered(page: Page, serial: int, number: int) -> Page:
    """The page in another place of another stream."""
    return replace(page, serial=serial, number=number)


def comment_header(like: bytes, comments: Mapping[str, str]) -> bytes:
    """Vorbis's second header (Vorbis I 5.2.1) with the vendor of `like` and these comments."""
    vendor_bytes = struct.unpack_from("<I", like, len(COMMENT_MAGIC))[0]
    start = len(COMMENT_MAGIC) + 4
    vendor = like[start : start + vendor_bytes]
    lines = [f"{name}={text}".encode() for name, text in comments.items()]
    counted = b"".join(struct.pack("<I", len(line)) + line for line in lines)
    head = COMMENT_MAGIC + struct.pack("<I", len(vendor)) + vendor
    return head + struct.pack("<I", len(lines)) + counted + FRAMING
