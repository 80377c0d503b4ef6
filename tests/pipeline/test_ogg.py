"""Pages as RFC 3533 has them; an FFmpeg that checks their sums reads them in test_vorbis.py."""

from __future__ import annotations

import struct

import pytest
import signals
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ogg import CONTINUED, comment_header, header_pages, packets_of, pages_in, renumbered


def vorbis(tmp_path) -> bytearray:
    path = tmp_path / "a.ogg"
    signals.write(path, signals.music(0.2, channels=1), 48_000, "ogg", tags={"title": "T"})
    return bytearray(path.read_bytes())


def test_a_page_is_written_as_it_was_read_sum_included(tmp_path) -> None:
    """The sums that libsndfile wrote are right, so ours are."""
    data = vorbis(tmp_path)
    whole = bytes(data)
    pages = list(pages_in(data))
    assert len(pages) >= 3
    assert b"".join(page.to_bytes() for page in pages) == whole
    assert not data


def test_half_a_page_waits_for_its_rest(tmp_path) -> None:
    whole = vorbis(tmp_path)
    data, found = bytearray(), []
    for byte in whole:
        data.append(byte)
        found += list(pages_in(data))
    assert b"".join(page.to_bytes() for page in found) == bytes(whole)


def test_what_is_no_page_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a page"):
        list(pages_in(bytearray(40)))


@settings(max_examples=40)
@given(st.lists(st.integers(0, 800) | st.sampled_from([254, 255, 256, 65_025, 65_026, 70_000]), max_size=4))
def test_packets_come_out_of_their_pages_again(sizes: list[int]) -> None:
    """RFC 3533 6: lengths that are multiples of 255, and packets longer than a page."""
    packets = [bytes([number]) * size for number, size in enumerate(sizes)]
    pages = header_pages(packets, 7, 3)
    assert packets_of(pages) == packets
    assert [page.number for page in pages] == list(range(3, 3 + len(pages)))
    data = bytearray(b"".join(page.to_bytes() for page in pages))
    assert list(pages_in(data)) == pages


def test_a_packet_that_goes_on_is_marked_and_a_page_without_an_end_has_no_time() -> None:
    pages = header_pages([bytes(140_000)], 1, 0)
    assert [(page.flags, page.granule) for page in pages] == [(0, -1), (CONTINUED, -1), (CONTINUED, 0)]
    assert renumbered(pages[0], 5, 9).number == 9


def test_comments_are_counted_and_the_vendor_kept() -> None:
    """Vorbis I 5.2.1."""
    old = b"\x03vorbis" + struct.pack("<I", 3) + b"lib" + struct.pack("<I", 0) + b"\x01"
    new = comment_header(old, {"TITLE": "Ü"})
    line = "TITLE=Ü".encode()
    assert new == b"\x03vorbis\x03\0\0\0lib\x01\0\0\0" + struct.pack("<I", len(line)) + line + b"\x01"
