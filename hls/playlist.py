"""The media playlist of one rendition.

Owns: its text. Durations go in as exact samples and come out as decimal seconds; nothing is nominal.
Source: bis 4.4.3, 4.4.4, 6.2.1; Apple's authoring rules 7 and 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hls.attributes import attribute_list, quoted_string, uri_line

VERSION = 3
"""bis 8: decimal seconds in EXTINF need it; a higher number would only shut clients out (6.2.1)."""

VERSION_WITH_MAP = 6
"""bis 8: EXT-X-MAP without I-FRAMES-ONLY needs it."""

MICROSECONDS = 1_000_000


class PlaylistType(StrEnum):
    """EXT-X-PLAYLIST-TYPE (bis 4.4.3.5): VOD never changes, EVENT only grows at its end."""

    VOD = "VOD"
    EVENT = "EVENT"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaylistSegment:
    """One line of the list: a URI and the samples the segment lasts."""

    uri: str
    duration: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaPlaylist:
    """A list of fMP4 segments with one init segment, or without one of segments that need none.

    `rate_hz` is what the durations count in. `target_duration_at_least_s` is for lists that grow: their
    TARGETDURATION must hold for segments that do not exist yet.

    Raises:
        ValueError: a VOD list that has not ended.
    """

    kind: PlaylistType
    rate_hz: int
    map_uri: str | None
    segments: tuple[PlaylistSegment, ...]
    ended: bool = True
    target_duration_at_least_s: int = 1

    def __post_init__(self) -> None:
        if self.kind is PlaylistType.VOD and not self.ended:
            raise ValueError("a VOD playlist must not change (bis 6.2.1), so it must have ended")

    @property
    def target_duration_s(self) -> int:
        """bis 4.4.3.1: each EXTINF, rounded to the nearest integer, must not exceed it."""
        longest = max((segment.duration for segment in self.segments), default=0)
        return max(self.target_duration_at_least_s, target_duration_s(longest, self.rate_hz))

    def render(self) -> str:
        """The playlist as text, each line ended by LF.

        Raises:
            ValueError: a URI that cannot stand in a playlist.
        """
        lines = [
            "#EXTM3U",
            f"#EXT-X-VERSION:{VERSION_WITH_MAP if self.map_uri else VERSION}",
            f"#EXT-X-TARGETDURATION:{self.target_duration_s}",
            "#EXT-X-MEDIA-SEQUENCE:0",
            f"#EXT-X-PLAYLIST-TYPE:{self.kind}",
        ]
        if self.kind is PlaylistType.EVENT:
            # players begin a list that grows at its end, but a song at its beginning; 4.4.2.2 advises against
            # an offset near the end, which here runs away faster than anybody listens
            lines.append("#EXT-X-START:TIME-OFFSET=0,PRECISE=YES")
        if self.map_uri:
            lines.append(f"#EXT-X-MAP:{attribute_list({'URI': quoted_string(self.map_uri)})}")
        for segment in self.segments:
            lines += [f"#EXTINF:{_seconds(segment.duration, self.rate_hz)},", uri_line(segment.uri)]
        if self.ended:
            lines.append("#EXT-X-ENDLIST")
        return "\n".join(lines) + "\n"


def target_duration_s(longest: int, rate_hz: int) -> int:
    """Whole seconds for a list whose longest segment has `longest` samples: rounded half up, >= 1."""
    return max(1, (2 * longest + rate_hz) // (2 * rate_hz))


def _seconds(samples: int, rate_hz: int) -> str:
    """Decimal seconds to the nearest microsecond.

    Each is rounded by itself: half a microsecond a segment is less than a frame over any list (4.4.4.1).
    """
    microseconds = (2 * samples * MICROSECONDS + rate_hz) // (2 * rate_hz)
    return f"{microseconds // MICROSECONDS}.{microseconds % MICROSECONDS:06d}"
