"""In which container a rendition is offered: fMP4 as it is stored, or MPEG-TS, rendered from that.

Owns: what each is called in URLs, and what a stored segment is in each: its name, length and size. Segments
of both lie in one folder and under the same hash, so that one signature opens both.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hls import mpegts
from hls.cmaf import framing_bytes
from hls.stored import StoredSegment
from pipeline.grid import RATE_HZ
from pipeline.ladder import Codec

STORED_EXTENSION, TRANSPORT_EXTENSION = ".m4s", ".ts"

TRANSPORT_MASTER = "master-ts.m3u8"
"""The multivariant playlist of all renditions in MPEG-TS."""


class SegmentFormat(StrEnum):
    """As a job's options spell it."""

    FMP4 = "fmp4"
    TS = "ts"

    def carries(self, codec: str, rate_hz: int) -> bool:
        """Whether a rendition may be offered in it: MPEG-TS holds the AAC of our grid, fMP4 everything.

        Args:
            codec: RFC 6381's name.
        """
        return self is SegmentFormat.FMP4 or (codec, rate_hz) == (Codec.AAC.rfc6381, RATE_HZ)

    def playlist(self, rendition: str) -> str:
        """The file name of a rendition's media playlist."""
        return f"stream_{rendition}{'-ts' if self is SegmentFormat.TS else ''}.m3u8"

    def offered(self, segments: tuple[StoredSegment, ...]) -> tuple[StoredSegment | RenderedSegment, ...]:
        """The segments of a rendition that it carries, as they are in it."""
        return segments if self is SegmentFormat.FMP4 else tuple(map(_in_transport, segments))


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedSegment:
    """A segment that is made of a stored one; `duration` counts samples at its rendition's rate."""

    name: str
    duration: int
    bytes: int


def stored_name(name: str) -> str:
    """The file that is stored of a segment which is offered under `name`."""
    base = name.removesuffix(TRANSPORT_EXTENSION)
    return name if base == name else base + STORED_EXTENSION


def _in_transport(segment: StoredSegment) -> RenderedSegment:
    """Whole frames: nothing in MPEG-TS shortens the last one."""
    frame_samples = Codec.AAC.frame_samples
    frames = -(-segment.duration // frame_samples)
    frame_bytes = segment.bytes - framing_bytes(segment.duration)
    return RenderedSegment(
        name=segment.name.removesuffix(STORED_EXTENSION) + TRANSPORT_EXTENSION,
        duration=frames * frame_samples,
        bytes=mpegts.size_bytes(frame_bytes, frames),
    )
