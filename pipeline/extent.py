"""How long a file says it is, and whether it reaches its own end.

Only what a container states exactly counts: an estimate from the bit rate says nothing about a file that was
cut off, and a header that promises less than there is harms nobody.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.audio.stream import AudioStream

_EXACT_CONTAINERS = frozenset({"wav", "flac", "aiff"})
OGG_MAX_PAGE_BYTES = 65_307
_OGG_END_OF_STREAM = 0x04
_UNKNOWN_SIZES = frozenset({0, 0xFFFFFFFF})
"""What writers put into a WAVE size that they never came back to fill in."""


def is_cut_off(path: Path, container: str) -> bool:
    """True if the file's structure shows that its end is missing."""
    if container == "ogg":
        return not _ends_with_last_page(path)
    return container == "wav" and _wave_is_short(path)


def declared_samples(stream: AudioStream, path: Path) -> int | None:
    """The fewest samples a whole file has by what its header states, or None where that is a guess."""
    if not stream.duration or stream.time_base is None:
        return None
    container = stream.container.format.name
    stated = int(stream.duration * stream.time_base * stream.codec_context.sample_rate)
    if container in _EXACT_CONTAINERS:
        return stated
    slack = (
        stream.codec_context.sample_rate // 10
    )  # padding and edit lists are counted differently by writers
    if container.startswith("mov") or (container == "mp3" and _has_frame_count(path)):
        return stated - slack
    return None


def _has_frame_count(path: Path) -> bool:
    """An MP3 states its length in a Xing, Info or VBRI header; without one FFmpeg only estimates."""
    with path.open("rb") as file:
        head = file.read(10)
        if head[:3] == b"ID3":
            size = (head[6] & 127) << 21 | (head[7] & 127) << 14 | (head[8] & 127) << 7 | head[9] & 127
            file.seek(10 + size)
        else:
            file.seek(0)
        first = file.read(4096)
    return any(mark in first for mark in (b"Xing", b"Info", b"VBRI"))


def _ends_with_last_page(path: Path) -> bool:
    """True if an Ogg file's last page is whole and marked as the end of its stream (RFC 3533 6)."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - OGG_MAX_PAGE_BYTES))
        tail = file.read(OGG_MAX_PAGE_BYTES)
    at = tail.rfind(b"OggS")
    page = tail[at:]
    if at < 0 or len(page) < 27 or len(page) < 27 + page[26]:
        return False
    whole = len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])
    return whole and bool(page[5] & _OGG_END_OF_STREAM)


def _wave_is_short(path: Path) -> bool:
    """True if the data chunk promises more bytes than the file has (EBU Tech 3306 for RF64's ds64)."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(12)
        data_bytes_64 = 0
        while len(header := file.read(8)) == 8:
            kind, length = header[:4], int.from_bytes(header[4:], "little")
            start = file.tell()
            if kind == b"ds64":
                data_bytes_64 = int.from_bytes(file.read(16)[8:], "little")
            if kind == b"data":
                stated = data_bytes_64 if length == 0xFFFFFFFF and data_bytes_64 else length
                return stated not in _UNKNOWN_SIZES and start + stated > size
            file.seek(start + length + (length & 1))
    return False
