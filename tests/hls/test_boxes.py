"""The box syntax: ISO/IEC 14496-12 4.2."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hls.boxes import Box, box, full_box, walk


def test_a_box_is_its_size_its_kind_and_its_payload() -> None:
    """4.2: size counts the whole box, header included."""
    assert box(b"free", b"ab", b"c") == bytes.fromhex("0000000b 66726565 616263")


def test_a_full_box_opens_with_version_and_flags() -> None:
    """4.2 FullBox: 8 bits of version, 24 of flags."""
    assert full_box(b"tfdt", 1, 0x020000, b"\xff") == bytes.fromhex("0000000d 74666474 01020000 ff")


def test_walk_goes_from_sibling_to_sibling_and_not_inside() -> None:
    inner = box(b"mfhd")
    data = box(b"moof", inner) + box(b"mdat", b"12")
    moof, mdat = walk(data)
    assert moof == Box(kind=b"moof", start=0, payload_start=8, end=16)
    assert (mdat.kind, data[mdat.payload_start : mdat.end]) == (b"mdat", b"12")
    assert [found.kind for found in walk(data, moof.payload_start, moof.end)] == [b"mfhd"]


def test_walk_reads_a_64_bit_size() -> None:
    """4.2: size 1 means that a 64-bit size follows the kind."""
    data = bytes.fromhex("00000001 6d646174 0000000000000012 6162") + box(b"free")
    assert [(found.kind, found.payload_start, found.end) for found in walk(data)] == [
        (b"mdat", 16, 18),
        (b"free", 26, 26),
    ]


def test_walk_takes_size_zero_to_the_end() -> None:
    """4.2: size 0 means that the box is the last one and reaches to the end."""
    data = box(b"free", b"1") + bytes.fromhex("00000000 6d646174 616263")
    assert [found.end for found in walk(data)] == [9, len(data)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("0000000b 667265", "box at 0: 7 bytes left, a header is 8"),
        ("00000008 66726565 0000000b 667265", "box at 8: 7 bytes left, a header is 8"),
        ("00000008 66726565 00000009 66726565", "box b'free' at 8: size is 9 bytes, 8 are left"),
        ("00000007 66726565", "size is 7 bytes, 8 are left"),
        ("00000009 66726565", "size is 9 bytes, 8 are left"),
        ("00000001 66726565 0000000f", "size is 15 bytes, 12 are left"),
        ("00000001 66726565 000000000000000f 00", "size is 15 bytes, 17 are left"),
    ],
)
def test_walk_refuses_what_does_not_fit(data: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(walk(bytes.fromhex(data)))


@given(st.lists(st.tuples(st.binary(min_size=4, max_size=4), st.binary(max_size=40)), max_size=8))
def test_walk_finds_the_boxes_that_were_written(written: list[tuple[bytes, bytes]]) -> None:
    data = b"".join(box(kind, payload) for kind, payload in written)
    assert [(found.kind, data[found.payload_start : found.end]) for found in walk(data)] == written
