"""The multivariant playlist, and the bit rates it declares.

Owns: its text, and what BANDWIDTH means: measured from stored bytes, never the encoder's setting.
Source: bis 4.1 (segment bit rates), 4.4.6.2 (EXT-X-STREAM-INF), 4.4.2.1; Apple's authoring rules 9.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from hls.attributes import attribute_list, quoted_string, uri_line
from pipeline.grid import RATE_HZ


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One EXT-X-STREAM-INF with its URI; `codecs` as of RFC 6381."""

    uri: str
    bandwidth_bps: int
    average_bandwidth_bps: int
    codecs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MultivariantPlaylist:
    """The variants of one track in the order of its ladder; players start with the first.

    Raises:
        ValueError: there are none.
    """

    variants: tuple[Variant, ...]

    def __post_init__(self) -> None:
        if not self.variants:
            raise ValueError("a multivariant playlist needs at least one variant (bis 4.1)")

    def render(self) -> str:
        """The playlist as text, each line ended by LF.

        There is no EXT-X-VERSION: without it version 1 holds (bis 4.4.1.2), and nothing here needs more.
        INDEPENDENT-SEGMENTS stands here, for all playlists below (4.4.2.1): audio frames are sync samples.

        Raises:
            ValueError: a URI or a codec that cannot stand in a playlist.
        """
        lines = ["#EXTM3U", "#EXT-X-INDEPENDENT-SEGMENTS"]
        for variant in self.variants:
            attributes = attribute_list(
                {
                    "BANDWIDTH": str(variant.bandwidth_bps),
                    "AVERAGE-BANDWIDTH": str(variant.average_bandwidth_bps),
                    "CODECS": quoted_string(",".join(variant.codecs)),
                }
            )
            lines += [f"#EXT-X-STREAM-INF:{attributes}", uri_line(variant.uri)]
        return "\n".join(lines) + "\n"


class Measured(Protocol):
    """A segment of so many samples and bytes."""

    @property
    def duration(self) -> int: ...

    @property
    def bytes(self) -> int: ...


def average_bandwidth_bps(segments: Sequence[Measured], rate_hz: int = RATE_HZ) -> int:
    """Bits of all segments over their whole duration, rounded up; 0 for none (bis 4.1)."""
    return _bit_rate(
        sum(segment.bytes for segment in segments), sum(segment.duration for segment in segments), rate_hz
    )


def peak_bandwidth_bps(segments: Sequence[Measured], target_duration_s: int, rate_hz: int = RATE_HZ) -> int:
    """The largest bit rate of any run of segments that lasts 0.5 to 1.5 target durations (bis 4.1).

    Rounded up. A track too short for such a run has no peak but its average.
    """
    # twice the samples, to compare half target durations in integers
    shortest, longest = target_duration_s * rate_hz, 3 * target_duration_s * rate_hz
    peak = 0
    for first in range(len(segments)):
        total_bytes = duration = 0
        for segment in islice(segments, first, None):
            total_bytes += segment.bytes
            duration += segment.duration
            if 2 * duration > longest:
                break
            if 2 * duration >= shortest:
                peak = max(peak, _bit_rate(total_bytes, duration, rate_hz))
    return peak or average_bandwidth_bps(segments, rate_hz)


def _bit_rate(total_bytes: int, duration: int, rate_hz: int) -> int:
    return -(-8 * total_bytes * rate_hz // duration) if duration else 0
