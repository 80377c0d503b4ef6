"""hls/whole.py"""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hls.whole import Slice, WholeFile

SIZES = (3, 5, 2)
FILES = (b"abc", b"defgh", b"ij")


def whole(sizes: tuple[int, ...] = SIZES) -> WholeFile:
    names = tuple(str(number) for number in range(len(sizes)))
    return WholeFile(names, tuple(accumulate(sizes, initial=0)))


@pytest.mark.parametrize(
    ("first", "last", "slices"),
    [
        (0, 9, (Slice("0", 0, 2), Slice("1", 0, 4), Slice("2", 0, 1))),
        (0, 0, (Slice("0", 0, 0),)),
        (2, 3, (Slice("0", 2, 2), Slice("1", 0, 0))),
        (3, 7, (Slice("1", 0, 4),)),
        (9, 9, (Slice("2", 1, 1),)),
    ],
)
def test_a_part_is_found_in_the_files_it_lies_in(first: int, last: int, slices: tuple[Slice, ...]) -> None:
    assert whole().slices(first, last) == slices


@pytest.mark.parametrize(("first", "last"), [(-1, 2), (3, 2), (0, 10), (10, 10)])
def test_what_is_not_in_the_file_is_refused(first: int, last: int) -> None:
    with pytest.raises(ValueError, match="the file has 10"):
        whole().slices(first, last)


@given(st.data(), st.lists(st.integers(1, 6), min_size=1, max_size=8))
def test_the_slices_of_a_part_are_that_part(data: st.DataObject, sizes: list[int]) -> None:
    """Whatever the files and the part: their bytes in order are the part's."""
    text = bytes(range(sum(sizes)))
    file = whole(tuple(sizes))
    first = data.draw(st.integers(0, len(text) - 1))
    last = data.draw(st.integers(first, len(text) - 1))
    found = b""
    for piece in file.slices(first, last):
        start = file.starts[int(piece.name)]
        assert piece.last < sizes[int(piece.name)]
        found += text[start + piece.first : start + piece.last + 1]
    assert found == text[first : last + 1]
