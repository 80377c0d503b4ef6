"""Which file of a track goes to the listener next, and whether its credit allows it.

Owns: the chosen rendition, the next segment in it, and the credit. A segment goes out while at least one byte
of credit is left; what it is longer than the credit becomes a debt. So a client never gets more than it
granted and one frame beyond. What was chosen before a seek or a change of rendition is not sent after it.
Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hls.asset import Asset, AssetRendition
from media_server.errors import BadRequest
from media_server.websocket.messages import MAX_CREDIT_BYTES, Flag, FrameHeader, Kind
from media_server.websocket.timeline import Timeline, listened_to_first
from pipeline.grid import RATE_HZ


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The file that comes next: `name` in the folder of `rendition`, of `version`; `turn` counts choices."""

    version: str
    rendition: str
    name: str
    header: FrameHeader
    turn: int


class Feed:
    """The files of one track in the order in which one listener gets them."""

    def __init__(self, asset: Asset, sample: int) -> None:
        """Begin at presented `sample`, in the lowest rendition of AAC.

        Args:
            asset: with at least one segment in one rendition.
        """
        chosen = listened_to_first(asset)
        assert chosen is not None  # who has nothing to hear is not let in
        self.asset = asset
        self.credit_bytes = 0
        self.chosen = asset.renditions[chosen].name
        self._order = [rendition.name for rendition in asset.renditions]
        self._timelines = _timelines(asset)
        self._init_of: str | None = None
        self._turn = 0
        self.go_to(sample)

    def take(self, asset: Asset) -> bool:
        """Take the track as it is now, and tell whether the version that plays has grown.

        A rendition keeps its index. Not another version: a whole one that plays stays fetchable.
        """
        known = self.asset
        # a whole version never changes, and to compare two costs as much as to send a message
        if asset.version != known.version or known.state == asset.state == "complete" or asset == known:
            return False
        self.asset, self._timelines = asset, self._timelines | _timelines(asset)
        self._order += [one.name for one in asset.renditions if one.name not in self._order]
        return True

    def is_replaced_by(self, asset: Asset) -> bool:
        """Whether nothing more will ever come of the version that plays."""
        return not self.is_complete and asset.version != self.asset.version

    @property
    def renditions(self) -> list[AssetRendition]:
        """In the order of their indices in frame headers."""
        return [self._timelines[name].rendition for name in self._order]

    def presentation(self) -> dict[str, Any]:
        """What a client must know of the track to begin."""
        asset = self.asset
        return {
            "track_id": asset.track_id,
            "version": asset.version,
            "complete": self.is_complete,
            "timescale": RATE_HZ,
            "duration_samples": asset.duration_samples,
            "duration": asset.duration_s,
            "renditions": [_described(rendition) for rendition in self.renditions],
        }

    @property
    def is_complete(self) -> bool:
        return self.asset.state == "complete"

    @property
    def is_at_end(self) -> bool:
        """Whether all there will ever be was sent."""
        return self.is_complete and self._next >= len(self._timeline)

    @property
    def next_sample(self) -> int:
        """The presented sample that the next segment begins with."""
        return max(0, self._timeline.first_sample(self._next))

    def grant(self, size_bytes: int) -> None:
        """Open so much more; what would pass MAX_CREDIT_BYTES is lost."""
        self.credit_bytes = min(MAX_CREDIT_BYTES, self.credit_bytes + size_bytes)

    def go_to(self, sample: int) -> None:
        """Send from presented `sample` on, and what a decoder needs before it."""
        self._begin_at(self._timeline.entry(sample))

    def change(self, name: object) -> None:
        """Go on in another rendition, at the first segment that leaves no hole.

        Raises:
            BadRequest: `rendition_not_found`.
        """
        if not isinstance(name, str) or not len(self._timelines.get(name, ())):
            playable = ", ".join(one for one, timeline in self._timelines.items() if len(timeline))
            raise BadRequest("rendition_not_found", f"there is no such rendition; there are {playable}")
        if name == self.chosen:
            return
        at_end, ahead = self.is_at_end, self._timeline.first_sample(self._next)
        self.chosen = name
        self._begin_at(len(self._timeline) if at_end else self._timeline.at(ahead))

    def wanted(self) -> Wanted | None:
        """The file to send next; None where credit or segments are used up."""
        timeline = self._timeline
        if self.credit_bytes < 1 or self._next >= len(timeline):
            return None
        index = self._order.index(self.chosen)
        if self._init_of != self.chosen:
            header = FrameHeader(kind=Kind.INIT, rendition=index, flags=Flag.NONE, number=0, first_sample=0)
            return self._want(timeline.rendition.init.name, header)
        last = self.is_complete and self._next == len(timeline) - 1
        header = FrameHeader(
            kind=Kind.SEGMENT,
            rendition=index,
            flags=(Flag.FIRST if self._is_first else Flag.NONE) | (Flag.LAST if last else Flag.NONE),
            number=self._next,
            first_sample=timeline.first_sample(self._next),
        )
        return self._want(timeline.rendition.segments[self._next].name, header)

    def frame(self, wanted: Wanted, payload: bytes) -> bytes | None:
        """The frame to send, which is then counted as sent; None if another choice was made meanwhile."""
        if wanted.turn != self._turn:
            return None
        frame = wanted.header.pack() + payload
        self.credit_bytes -= len(frame)
        if wanted.header.kind is Kind.INIT:
            self._init_of = wanted.rendition
        else:
            self._next += 1
            self._is_first = False
        return frame

    @property
    def _timeline(self) -> Timeline:
        return self._timelines[self.chosen]

    def _begin_at(self, number: int) -> None:
        self._next, self._is_first = number, True
        self._turn += 1

    def _want(self, name: str, header: FrameHeader) -> Wanted:
        return Wanted(
            version=self.asset.version, rendition=self.chosen, name=name, header=header, turn=self._turn
        )


def _timelines(asset: Asset) -> dict[str, Timeline]:
    return {rendition.name: Timeline(rendition) for rendition in asset.renditions}


def _described(rendition: AssetRendition) -> dict[str, Any]:
    return {
        "name": rendition.name,
        "codec": rendition.codec,
        "mime": f'audio/mp4; codecs="{rendition.codec}"',
        "bitrate": rendition.bitrate_bps,
        "channels": rendition.channels,
        "playable": bool(rendition.segments),
    }
