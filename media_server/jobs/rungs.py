"""The renditions of a version that is being made: which have begun, and what is stored of each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from hls.asset import AssetRendition, StoredFile, StoredSegment
from hls.multivariant import average_bandwidth_bps
from hls.segmenter import Segment, init_name
from media_server.errors import Unavailable
from media_server.jobs.events import Initialised, SegmentMade
from pipeline.grid import at_grid_rate
from pipeline.ladder import RUNGS

MEDIA_TYPE = "audio/mp4"
"""hls.md 1.10: fMP4 audio is audio/mp4, in its init and its segments."""


@dataclass(slots=True)
class _Rung:
    init: StoredFile
    about: Initialised
    segments: list[StoredSegment] = field(default_factory=list)


class Rungs:
    """Takes init segments and segments in order; says where each is to be stored."""

    def __init__(self) -> None:
        self._rungs: dict[str, _Rung] = {}

    def __bool__(self) -> bool:
        return bool(self._rungs)

    def begin(self, event: Initialised, payload: bytes) -> str:
        """The path of the init segment in the version's folder."""
        name = init_name(payload)
        sha256 = hashlib.sha256(payload).hexdigest()
        stored = StoredFile(name=name, bytes=len(payload), sha256=sha256, media_type=MEDIA_TYPE)
        self._rungs[event.rendition] = _Rung(init=stored, about=event)
        return f"{event.rendition}/{name}"

    def add(self, event: SegmentMade, payload: bytes) -> str:
        """The path of the segment in the version's folder.

        Raises:
            Unavailable: `child_protocol`, it does not follow the one before it.
        """
        rung = self._rungs.get(event.rendition)
        if rung is None or event.number != len(rung.segments):
            raise Unavailable(
                "child_protocol", f"segment {event.number} of {event.rendition} came out of turn"
            )
        segment = Segment(number=event.number, pts=event.pts, duration=event.duration, data=payload)
        rung.segments.append(
            StoredSegment(
                name=segment.name, duration=segment.duration, bytes=len(payload), sha256=segment.sha256
            )
        )
        return f"{event.rendition}/{segment.name}"

    def have_begun(self, names: Iterable[str]) -> bool:
        """Whether each of these has a segment."""
        return all(name in self._rungs and self._rungs[name].segments for name in names)

    def must_be_whole(self, samples: int) -> None:
        """Return if each rendition presents that many samples at 48 kHz.

        Raises:
            Unavailable: `child_protocol`.
        """
        for name, rung in self._rungs.items():
            presented = sum(s.duration for s in rung.segments) - rung.about.priming_samples
            if at_grid_rate(presented, rung.about.rate_hz) != samples:
                made = f"rendition {name} has {presented} samples at {rung.about.rate_hz} Hz"
                raise Unavailable("child_protocol", f"{made}, the analysis counted {samples} at 48 kHz")

    @property
    def renditions(self) -> tuple[AssetRendition, ...]:
        """Those that have a segment, in the order of the ladder: not in that of their first packets."""
        order = {name: place for place, name in enumerate(RUNGS)}
        in_order = sorted(self._rungs.items(), key=lambda item: order.get(item[0], len(order)))
        return tuple(_rendition(name, rung) for name, rung in in_order if rung.segments)


def _rendition(name: str, rung: _Rung) -> AssetRendition:
    about = rung.about
    return AssetRendition(
        name=name,
        codec=about.codec,
        # a lossless coder is asked for no bit rate: what it took is the only one there is
        bitrate_bps=about.bitrate_bps or average_bandwidth_bps(rung.segments, about.rate_hz),
        rate_hz=about.rate_hz,
        channels=about.channels,
        priming_samples=about.priming_samples,
        init=rung.init,
        segments=tuple(rung.segments),
        bit_depth=about.bit_depth,
    )
