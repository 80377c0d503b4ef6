"""Tags are counted before a demuxer looks through them."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import pytest
import sources
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import LimitExceeded
from pipeline.tag_bounds import MAX_TAG_BYTES, MAX_TAGS, check_tags


def synchsafe(number: int) -> bytes:
    return bytes(number >> shift & 127 for shift in (21, 14, 7, 0))


def id3(count: int, major: int = 4, name: bytes = b"TXXX", text: bytes = b"\3key\0v") -> bytes:
    if major == 2:
        frames = (name[:3] + len(text).to_bytes(3, "big") + text) * count
    else:
        length = synchsafe(len(text)) if major == 4 else len(text).to_bytes(4, "big")
        frames = (name + length + b"\0\0" + text) * count
    return b"ID3" + bytes([major, 0, 0]) + synchsafe(len(frames) + 100) + frames + bytes(100)


def comments(count: int, name: str = "KEY{}") -> bytes:
    texts = (name.format(number).encode() + b"=x" for number in range(count))
    listed = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return struct.pack("<I", 3) + b"me!" + struct.pack("<I", count) + listed


def flac(count: int, name: str = "KEY{}") -> bytes:
    block = comments(count, name)
    return b"fLaC\0\0\0\x22" + bytes(34) + b"\x84" + len(block).to_bytes(3, "big") + block


def mp4(count: int) -> bytes:
    listed = sources.atom(b"ilst", sources.atom(b"\xa9nam", b"x") * count)
    udta = sources.atom(b"udta", sources.atom(b"meta", bytes(4), sources.atom(b"hdlr", bytes(20)), listed))
    return sources.atom(b"mdat", bytes(99)) + sources.atom(b"moov", sources.atom(b"mvhd", bytes(9)), udta)


def wav(count: int) -> bytes:
    listed = b"INFO" + (b"INAM" + struct.pack("<I", 1) + b"x\0") * count
    return sources.riff(b"WAVE", (b"fmt ", bytes(16)), (b"data", bytes(99)), (b"LIST", listed))


CARRIERS: dict[str, tuple[str, Callable[[int], bytes]]] = {
    "id3v2.2": ("mp3", lambda count: id3(count, 2)),
    "id3v2.3": ("aac", lambda count: id3(count, 3)),
    "id3v2.4": ("mp3", id3),
    "pictures in id3": ("mp3", lambda count: id3(count, name=b"APIC")),
    "flac": ("flac", flac),
    "flac behind id3": ("flac", lambda count: id3(2) + flac(count - 2)),
    "pictures in flac": ("flac", lambda count: b"fLaC" + b"\6\0\0\1x" * count),
    "vorbis": ("ogg", lambda count: bytes(80) + b"\3vorbis" + comments(count)),
    "opus": ("ogg", lambda count: bytes(80) + b"OpusTags" + comments(count)),
    "mp4": ("mov", mp4),
    "riff": ("wav", wav),
}


@pytest.mark.parametrize(("demuxer", "made"), CARRIERS.values(), ids=CARRIERS)
def test_more_tags_than_anyone_needs_are_refused_before_they_are_read(
    demuxer: str, made: Callable[[int], bytes]
) -> None:
    """reliability.md fact 1, bad input 28: FFmpeg's time grows with the square of their number."""
    check_tags(io.BytesIO(made(MAX_TAGS)), demuxer)
    for many in (MAX_TAGS + 1, 40_000):
        with pytest.raises(LimitExceeded, match=str(MAX_TAGS)) as caught:
            check_tags(io.BytesIO(made(many)), demuxer)
        assert caught.value.code == "metadata_limit"


def test_comments_of_one_name_are_one() -> None:
    """FFmpeg joins them; the FLAC working group's test bench has a file with a thousand of each name."""
    check_tags(io.BytesIO(flac(20_000, "ARTIST")), "flac")
    with pytest.raises(LimitExceeded):
        check_tags(io.BytesIO(flac(100_001, "ARTIST")), "flac")


def test_a_title_may_be_long_and_a_picture_large_but_not_all_of_a_file() -> None:
    """Bad input 45: ten megabytes of title are cut, not refused."""
    check_tags(io.BytesIO(id3(1, text=bytes(10_000_000))), "mp3")
    check_tags(io.BytesIO(id3(2, name=b"APIC", text=bytes(MAX_TAG_BYTES // 2 + 1))), "mp3")
    with pytest.raises(LimitExceeded, match=str(MAX_TAG_BYTES)):
        check_tags(io.BytesIO(id3(2, text=bytes(MAX_TAG_BYTES // 2 + 1))), "mp3")


@given(st.binary(max_size=400), st.sampled_from(["mp3", "flac", "ogg", "mov", "wav", "aiff"]))
def test_any_bytes_are_counted_or_refused(data: bytes, demuxer: str) -> None:
    """What is broken is the demuxer's to say; counting neither fails nor goes round in circles."""
    for start in (b"", b"ID3\3\0\0\0\0\7\0", b"fLaC", b"\0\0\0\1moov", b"RIFF\0\0\0\0WAVE"):
        try:
            check_tags(io.BytesIO(start + data), demuxer)
        except LimitExceeded as error:
            assert error.code == "metadata_limit"
