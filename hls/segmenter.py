"""Packets of one rendition in, Segments out: a stage.

Owns: where segments begin and end, and what they are called. Segment k holds the packets of the grid's
cell k; a last piece under 0.5 s joins the one before, so a segment is held back until the next one is
known to be long enough. The packets must follow one another without a hole.
Sources: `pipeline.grid`; bis 3 (timestamps run on over segments).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from hls.cmaf import Track, media_segment
from pipeline.grid import RATE_HZ, SEGMENT_SAMPLES, SHORTEST_TAIL_SAMPLES
from pipeline.media import Packet

HASH_DIGITS_IN_NAME = 8
FIRST_SEQUENCE = 1  # ISO/IEC 14496-12 8.8.5: fragments are counted from 1, segments here from 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A media segment, ready to be stored.

    `number` counts from 0; `pts` is its decode time and `duration` its length, both in samples, counted
    from the first packet of the track, priming included.
    """

    number: int
    pts: int
    duration: int
    data: bytes

    @property
    def sha256(self) -> str:
        """Of `data`, in hex."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def name(self) -> str:
        """Its file name, which changes with its content: it may be cached for ever."""
        return f"{self.number}-{self.sha256[:HASH_DIGITS_IN_NAME]}.m4s"


def init_name(data: bytes) -> str:
    """The file name of an init segment, by its content."""
    return f"init-{hashlib.sha256(data).hexdigest()[:HASH_DIGITS_IN_NAME]}.mp4"


class Segmenter:
    """Cuts the packets of `track` on the grid."""

    def __init__(self, track: Track) -> None:
        self._track = track
        # one length for every codec and rate: 3.84 s is a whole number of frames of each
        cell_samples = SEGMENT_SAMPLES * track.rate_hz // RATE_HZ
        self._packets_a_segment = cell_samples // track.frame_samples
        self._shortest_tail = SHORTEST_TAIL_SAMPLES * track.rate_hz // RATE_HZ
        self._held: list[Packet] = []
        self._tail = 0  # samples held beyond the first cell
        self._number = 0
        self._cut_at = 0  # decode time of the first held packet
        self._end = 0  # decode time after the last held packet
        self._ended = False

    def push(self, packet: Packet) -> list[Segment]:
        """Take the next packet; return the segment that is complete because of it, if one is.

        Raises:
            ValueError: the packet does not continue the ones before it.
        """
        self._check(packet)
        self._held.append(packet)
        sample_duration = packet.trim_start + packet.duration
        self._end += sample_duration
        self._ended = sample_duration < self._track.frame_samples
        if len(self._held) > self._packets_a_segment:
            self._tail += sample_duration
        return [self._cut(self._packets_a_segment)] if self._tail >= self._shortest_tail else []

    def flush(self) -> list[Segment]:
        """The last segment: what is left, joined to the one held back if it is short."""
        return [self._cut(len(self._held))] if self._held else []

    def _cut(self, count: int) -> Segment:
        packets, self._held = self._held[:count], self._held[count:]
        duration = sum(packet.trim_start + packet.duration for packet in packets)
        data = media_segment(self._number + FIRST_SEQUENCE, self._cut_at, packets, self._track.codec)
        segment = Segment(number=self._number, pts=self._cut_at, duration=duration, data=data)
        self._number += 1
        self._cut_at += duration
        self._tail = 0
        return segment

    def _check(self, packet: Packet) -> None:
        frame = self._track.frame_samples
        priming = self._track.priming_samples
        # the last frame of FLAC has no padding: it is shorter than the others
        shortest = min(packet.frame_samples, frame) if self._track.codec.is_lossless else frame
        facts = {
            "frame": (packet.frame_samples, shortest),
            "pts": (packet.pts, max(0, self._end - priming)),
            "trim_start": (packet.trim_start, min(frame, max(0, priming - self._end))),
        }
        if self._ended:
            raise ValueError(f"segment {self._number}: a packet follows one that was cut at its end")
        for name, (actual, expected) in facts.items():
            if actual != expected:
                where = f"segment {self._number}: packet at {self._end} samples"
                raise ValueError(f"{where}: {name} is {actual} samples, expected {expected}")
