"""A rendition as one file: its init segment and its media segments, one after the other.

Owns: where in the stored files each byte of the whole lies. Source: CMAF 7.3.3.1 (a track file is the header
and the fragments in order).
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

from hls.asset import AssetRendition
from hls.stored import StoredFile, StoredSegment


@dataclass(frozen=True, slots=True)
class Slice:
    """Bytes `first` to `last` of the stored file `name`, both included."""

    name: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class WholeFile:
    """`names` of the stored files in order; `starts`: where each begins in the whole, then its size."""

    names: tuple[str, ...]
    starts: tuple[int, ...]

    @classmethod
    def of(cls, rendition: AssetRendition) -> WholeFile:
        """The whole file of a rendition as it is stored now."""
        files: list[StoredFile | StoredSegment] = [rendition.init, *rendition.segments]
        return cls(
            names=tuple(file.name for file in files),
            starts=tuple(accumulate((file.bytes for file in files), initial=0)),
        )

    @property
    def size_bytes(self) -> int:
        return self.starts[-1]

    def slices(self, first: int, last: int) -> tuple[Slice, ...]:
        """What bytes `first` to `last` (both included) of the whole are, in order.

        Raises:
            ValueError: they are not all in the file.
        """
        if not 0 <= first <= last < self.size_bytes:
            raise ValueError(f"bytes {first} to {last} are asked for, the file has {self.size_bytes}")
        found = []
        for number in range(bisect_right(self.starts, first) - 1, bisect_right(self.starts, last)):
            start, end = self.starts[number], self.starts[number + 1]
            found.append(Slice(self.names[number], max(first, start) - start, min(last + 1, end) - start - 1))
        return tuple(found)
