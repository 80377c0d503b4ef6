"""A file that is written elsewhere reads, piece by piece, as the file that would have been written here."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.sink import PIECE_BYTES, Piece, Sink

steps = st.lists(st.tuples(st.integers(0, 40), st.binary(min_size=1, max_size=9), st.booleans()), max_size=20)


@settings(max_examples=50)
@given(steps)
def test_the_pieces_make_the_file(moves: list[tuple[int, bytes, bool]]) -> None:
    """Whatever is gone back to or skipped; each piece begins inside what is there."""
    sink, file, rebuilt = Sink(), io.BytesIO(), bytearray()
    pieces: list[Piece] = []
    for offset, data, take in moves:
        assert sink.seek(offset) == offset
        file.seek(offset)
        assert sink.write(data) == len(data)
        file.write(data)
        assert sink.tell() == file.tell()
        pieces += sink.take() if take else []
    for piece in pieces + sink.take(everything=True):
        assert piece.offset <= len(rebuilt)
        rebuilt[piece.offset : piece.offset + len(piece.data)] = piece.data
    assert bytes(rebuilt) == file.getvalue()


def test_seeking_counts_from_the_start_the_place_or_the_end() -> None:
    sink = Sink()
    sink.write(b"0123456789")
    assert [sink.seek(2), sink.seek(3, io.SEEK_CUR), sink.seek(-1, io.SEEK_END)] == [2, 5, 9]
    with pytest.raises(ValueError, match="starts at 0"):
        sink.seek(-1)
    assert sink.seekable()


def test_little_is_held_back_until_it_is_worth_a_message() -> None:
    sink = Sink()
    sink.write(b"x")
    assert sink.take() == []
    sink.write(bytes(PIECE_BYTES))
    assert [(piece.offset, len(piece.data)) for piece in sink.take()] == [(0, PIECE_BYTES + 1)]
    assert sink.take(everything=True) == []
