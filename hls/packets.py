"""Coded packets out of stored segments: the way back, and where each packet lies.

Owns: reading the fragments that `cmaf` writes, and the arithmetic from presented samples to packets and
segments. A packet's `index` counts from the first of the rendition, priming included, so its decode time is
`index` times the codec's frame; presented sample 0 lies `priming_samples` after decode time 0.
Source: ISO/IEC 14496-12 8.8.7 (tfhd), 8.8.8 (trun), 8.8.12 (tfdt).
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from hls.boxes import Box, walk
from hls.cmaf import (
    DATA_OFFSET,
    DEFAULT_BASE_IS_MOOF,
    DEFAULT_SAMPLE_DURATION,
    DEFAULT_SAMPLE_FLAGS,
    SAMPLE_DURATION,
    SAMPLE_SIZE,
)

_TFHD_FLAGS = DEFAULT_BASE_IS_MOOF | DEFAULT_SAMPLE_FLAGS
_TRUN_FLAGS = DATA_OFFSET | SAMPLE_SIZE
_TRUN_HEAD = struct.Struct(">IIi")  # version and flags, number of samples, data offset
_TFHD_BYTES = {False: 12, True: 16}  # version and flags, track, the duration if it has one, sample flags
_TFDT_BYTES = 12  # version 1: 64 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedPacket:
    """One sample of a segment. Times count samples from the first packet of the rendition."""

    decode_time: int
    duration: int
    data: bytes


def read_packets(segment: bytes) -> list[CodedPacket]:
    """The packets of a media segment as `cmaf.media_segment` writes it, in order.

    Raises:
        ValueError: it is cut off, has another structure, or its sizes do not fill its `mdat` exactly.
    """
    boxes = _boxes(segment, 0, len(segment))
    moof, mdat = _child(boxes, b"moof"), _child(boxes, b"mdat")
    traf = _child(_boxes(segment, moof.payload_start, moof.end), b"traf")
    fields = _boxes(segment, traf.payload_start, traf.end)
    default_duration = _default_duration(_payload(segment, _child(fields, b"tfhd")))
    decode_time = _decode_time(_payload(segment, _child(fields, b"tfdt")))
    data_offset, rows = _run(_payload(segment, _child(fields, b"trun")), default_duration)
    if moof.start + data_offset != mdat.payload_start:
        raise ValueError(f"data starts at {moof.start + data_offset}, mdat's payload at {mdat.payload_start}")
    stated, there = sum(size for _, size in rows), mdat.end - mdat.payload_start
    if stated != there:
        raise ValueError(f"samples have {stated} bytes, mdat holds {there}")
    packets, at = [], mdat.payload_start
    for duration, size in rows:
        packets.append(CodedPacket(decode_time=decode_time, duration=duration, data=segment[at : at + size]))
        decode_time += duration
        at += size
    return packets


def _boxes(segment: bytes, start: int, end: int) -> dict[bytes, Box]:
    """What lies there; nothing of ours has two boxes of one kind side by side."""
    found: dict[bytes, Box] = {}
    for one in walk(segment, start, end):
        if one.kind in found:
            raise ValueError(f"segment has more than one {one.kind!r} at {start}")
        found[one.kind] = one
    return found


def _child(boxes: dict[bytes, Box], kind: bytes) -> Box:
    if kind not in boxes:
        raise ValueError(f"segment has no {kind.decode()}")
    return boxes[kind]


def _payload(segment: bytes, found: Box) -> bytes:
    return segment[found.payload_start : found.end]


def _default_duration(tfhd: bytes) -> int | None:
    """The duration of every sample, None where the run has one for each."""
    flags = int.from_bytes(tfhd[:4], "big")
    if flags & ~DEFAULT_SAMPLE_DURATION != _TFHD_FLAGS:
        raise ValueError(f"tfhd has flags {flags:#x}, expected {_TFHD_FLAGS:#x} and a duration at most")
    has_duration = bool(flags & DEFAULT_SAMPLE_DURATION)
    if len(tfhd) != _TFHD_BYTES[has_duration]:
        raise ValueError(f"tfhd has {len(tfhd)} bytes, expected {_TFHD_BYTES[has_duration]}")
    return int.from_bytes(tfhd[8:12], "big") if has_duration else None


def _decode_time(tfdt: bytes) -> int:
    if len(tfdt) != _TFDT_BYTES or tfdt[0] != 1:
        raise ValueError(f"tfdt has {len(tfdt)} bytes, expected {_TFDT_BYTES} of version 1")
    return int.from_bytes(tfdt[4:], "big")


def _run(trun: bytes, default_duration: int | None) -> tuple[int, list[tuple[int, int]]]:
    """The offset of the data, and duration and size of each sample."""
    if len(trun) < _TRUN_HEAD.size:
        raise ValueError(f"trun has {len(trun)} bytes, its head alone {_TRUN_HEAD.size}")
    flags, count, data_offset = _TRUN_HEAD.unpack_from(trun)
    expected = _TRUN_FLAGS if default_duration is not None else _TRUN_FLAGS | SAMPLE_DURATION
    if flags != expected:
        raise ValueError(f"trun has flags {flags:#x}, expected {expected:#x}")
    row = struct.Struct(">I" if default_duration is not None else ">II")
    rows_bytes = len(trun) - _TRUN_HEAD.size
    if rows_bytes != count * row.size:
        raise ValueError(f"trun of {count} samples has rows of {rows_bytes} bytes, not {count * row.size}")
    found = row.iter_unpack(trun[_TRUN_HEAD.size :])
    rows = [(default_duration, *sizes) if default_duration is not None else sizes for sizes in found]
    if any(duration < 1 or size < 1 for duration, size in rows):
        raise ValueError("a sample lasts no time or has no bytes")
    return data_offset, rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a packet lies: the segment's number and the packet's place in it, both counted from 0."""

    segment: int
    packet: int


class PacketMap:
    """Where the packets of one rendition lie. Each lasts one frame, only the very last may be shorter.

    Args:
        durations: of the segments, in samples, priming included.
        frame_samples: of the codec.
        priming_samples: before presented sample 0.
    Raises:
        ValueError: a segment lasts no time, or one but the last is no whole number of frames.
    """

    def __init__(self, durations: Sequence[int], frame_samples: int, priming_samples: int) -> None:
        self._frame_samples = frame_samples
        self._priming_samples = priming_samples
        self._durations = tuple(durations)
        for number, duration in enumerate(durations):
            if duration < 1 or (number < len(durations) - 1 and duration % frame_samples):
                raise ValueError(
                    f"segment {number}: duration is {duration} samples, expected frames of {frame_samples}"
                )
        self._ends = list(accumulate(-(-duration // frame_samples) for duration in durations))

    @property
    def packets(self) -> int:
        """How many there are."""
        return self._ends[-1] if self._ends else 0

    def index_at(self, position: int) -> int:
        """The packet that holds the presented sample `position`.

        Before the first packet it is the first; after the last sample it is `packets`.
        """
        decode_time = position + self._priming_samples
        if decode_time >= sum(self._durations):
            return self.packets  # the last packet may be cut before its frame ends
        return max(0, decode_time // self._frame_samples)

    def pts_of(self, index: int) -> int:
        """The presented sample that the packet starts at, negative in the priming."""
        return index * self._frame_samples - self._priming_samples

    def place_of(self, index: int) -> Place:
        """Where the packet `index` lies.

        Raises:
            ValueError: there is no such packet.
        """
        if not 0 <= index < self.packets:
            raise ValueError(f"packet is {index}, there are {self.packets}")
        segment = bisect_right(self._ends, index)
        return Place(segment=segment, packet=index - self._first_of(segment))

    def check(self, segment: int, packets: Sequence[CodedPacket]) -> None:
        """That these are the packets of the segment: as many, as long, and when they should be.

        Raises:
            ValueError: they are not.
        """
        times = [(packet.decode_time, packet.duration) for packet in packets]
        if times != self._times_of(segment):
            raise ValueError(f"segment {segment}: its packets are not at the times the asset has for them")

    def _times_of(self, segment: int) -> list[tuple[int, int]]:
        frame = self._frame_samples
        starts = [index * frame for index in range(self._first_of(segment), self._ends[segment])]
        end = starts[0] + self._durations[segment]
        return [(start, min(frame, end - start)) for start in starts]

    def _first_of(self, segment: int) -> int:
        return self._ends[segment - 1] if segment else 0
