"""Where the encode of a long track is divided, so that its parts can be made side by side.

Pure. A chunk is made by an encoder of its own, which is fed some frames more at either side: before it, so
that its rate control and its overlap have settled when the chunk begins; after it, because coders look ahead.
The packets of these frames are dropped. What comes out depends on the division alone, and that on the track's
length: not on threads, not on their order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.grid import RATE_HZ, SEGMENT_SAMPLES
from pipeline.ladder import Codec, Rendition

CHUNK_SAMPLES = 16 * SEGMENT_SAMPLES
"""61.44 s at 48 kHz, on the grid; the last chunk has up to twice as many."""

PREROLL_FRAMES: Mapping[Codec, int] = {Codec.AAC: 192, Codec.OPUS: 48}
"""Four seconds of AAC, whose rate control takes that long to settle on music: then no join can be told from
what one encode makes there. On noise 48 frames are enough. Opus settles within 8 (benchmarks/README.md).
"""

LOOKAHEAD_FRAMES = 4
"""FFmpeg's AAC coder holds back one frame; the others none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Packets `first` up to but not including `stop`, and the samples that their encoder is fed.

    Packets are counted from the track's first, which holds the priming; samples from the first presented one.
    `stop` and `fed_to` are None for the track's end.
    """

    first: int
    stop: int | None
    fed_from: int
    fed_to: int | None


def chunks_of(rendition: Rendition, samples: int) -> tuple[Chunk, ...]:
    """The chunks of a rendition of that many samples at its rate, in order; at least one.

    A lossless one is not divided: its frames are numbered from the first.
    """
    if rendition.codec.is_lossless or rendition.rate_hz != RATE_HZ:
        return (Chunk(first=0, stop=None, fed_from=0, fed_to=None),)
    frame = rendition.frame_samples
    frames = CHUNK_SAMPLES // frame
    count = max(samples // CHUNK_SAMPLES, 1)
    return tuple(
        Chunk(
            first=number * frames,
            stop=None if number == count - 1 else (number + 1) * frames,
            fed_from=max(number * frames - PREROLL_FRAMES[rendition.codec], 0) * frame,
            fed_to=None if number == count - 1 else ((number + 1) * frames + LOOKAHEAD_FRAMES) * frame,
        )
        for number in range(count)
    )
