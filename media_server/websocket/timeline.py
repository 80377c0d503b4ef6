"""Which segment of a rendition holds which sample.

Owns: the map between presented samples (48 kHz, what a listener's position counts) and segment numbers. Pure.
Renditions of one codec cut identically; codecs differ by their priming.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import Final

from hls.asset import Asset, AssetRendition
from pipeline.grid import RATE_HZ

PREROLL_SAMPLES: Final = 3840
"""80 ms: what a decoder wants before the first sample that shall sound right (Opus: RFC 7845 4.6)."""


class Timeline:
    """The segments of one rendition in time; empty while a growing track has none."""

    def __init__(self, rendition: AssetRendition) -> None:
        self.rendition = rendition
        durations = (segment.duration for segment in rendition.segments)
        starts = [start - rendition.priming_samples for start in accumulate(durations, initial=0)]
        self._starts = [round(start * RATE_HZ / rendition.rate_hz) for start in starts]

    def __len__(self) -> int:
        return len(self.rendition.segments)

    def first_sample(self, number: int) -> int:
        """Where segment `number` begins, negative in the priming; for `len`, where the last one ends."""
        return self._starts[number]

    def at(self, sample: int) -> int:
        """The segment that holds presented `sample`; `len` where it lies at or behind the end of them all."""
        return max(0, bisect_right(self._starts, sample) - 1)

    def entry(self, sample: int) -> int:
        """The segment to begin with so that `sample` sounds right; never behind the last one."""
        return max(0, min(self.at(max(0, sample - PREROLL_SAMPLES)), len(self) - 1))


def listened_to_first(asset: Asset) -> int | None:
    """The index of the rendition to begin with, the lowest of AAC: every browser has it. None: no sound."""

    def rank(index: int) -> tuple[bool, int]:
        rendition = asset.renditions[index]
        return not rendition.codec.startswith("mp4a."), rendition.bitrate_bps

    playable = [index for index, rendition in enumerate(asset.renditions) if rendition.segments]
    return min(playable, key=rank, default=None)
