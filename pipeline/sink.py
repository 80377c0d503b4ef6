"""A file that is written elsewhere: what a muxer writes, as pieces with their place.

Muxers come back to what they wrote, to fill in lengths and sums. The process that runs them may write no
file, so each piece says where it goes, and later ones may lie over earlier ones.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

PIECE_BYTES = 1 << 18
"""What is held back until it is worth a message."""


@dataclass(frozen=True, slots=True)
class Piece:
    """`data` at byte `offset` of the file, which reaches at least to there."""

    offset: int
    data: bytes


class Sink:
    """What PyAV and soundfile take for a file opened to write."""

    def __init__(self) -> None:
        self._at = 0
        self._size = 0
        self._start = 0
        self._held = bytearray()
        self._pieces: list[Piece] = []

    def write(self, data: bytes | memoryview) -> int:
        """Put `data` where the file stands; how many bytes that were."""
        if self._at != self._start + len(self._held):
            self._close_piece()
        self._held += data
        self._at += len(data)
        self._size = max(self._size, self._at)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Stand elsewhere; what lies behind the end is filled with zeros, as in a file.

        Raises:
            ValueError: before the start.
        """
        to = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence] + offset
        if to < 0:
            raise ValueError(f"seek to {to}, the file starts at 0")
        if to > self._size:
            self._at = self._size
            self.write(bytes(to - self._size))
        self._at = to
        return to

    def tell(self) -> int:
        return self._at

    def seekable(self) -> bool:
        return True

    def take(self, *, everything: bool = False) -> list[Piece]:
        """The pieces that are finished, in the order in which they were written."""
        if everything or len(self._held) >= PIECE_BYTES:
            self._close_piece()
        pieces, self._pieces = self._pieces, []
        return pieces

    def _close_piece(self) -> None:
        if self._held:
            self._pieces.append(Piece(self._start, bytes(self._held)))
            self._held.clear()
        self._start = self._at
