"""The nouns every stage passes on: PCM Blocks, coded Packets, and what a probe saw.

Time is an integer count of samples at a rate that the stream states; seconds appear only in text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """A run of PCM.

    `pts` is the index of its first sample since the start of the track (>= 0); `pcm` has the shape
    (channels, samples), float32, full scale +-1.0. The rate is the stream's.
    """

    pts: int
    pcm: Pcm

    @property
    def samples(self) -> int:
        return int(self.pcm.shape[1])

    @property
    def end(self) -> int:
        return self.pts + self.samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One coded frame.

    `pts` is the presented sample its presented part starts at; `duration` the presented samples.
    trim_start + duration + trim_end is the codec's frame size: the priming of an encoder is the
    `trim_start` of its first packets, the padding of the last frame its `trim_end`. FLAC has neither, and its
    last frame is shorter.
    """

    pts: int
    duration: int
    data: bytes
    trim_start: int = 0
    trim_end: int = 0

    @property
    def frame_samples(self) -> int:
        return self.trim_start + self.duration + self.trim_end

    def later(self, samples: int) -> Packet:
        """The same frame, that many samples later."""
        return replace(self, pts=self.pts + samples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """An embedded picture as the source carries it: bytes and the media type its own header says."""

    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaInfo:
    """What the probe saw in a source file, before anything was decoded.

    `container` and `codec` are FFmpeg's names. `duration_s` is the header's claim (it may lie) or None.
    `tags` are cleaned: lower-case keys, no control characters, at most 1024 characters a value.
    """

    container: str
    codec: str
    rate_hz: int
    channels: int
    duration_s: float | None = None
    bit_rate_bps: int | None = None
    bit_depth: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    has_cover: bool = False
    warnings: tuple[str, ...] = ()
