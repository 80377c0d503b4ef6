"""Packets come back out of a segment as they went in, and are found by index and by time."""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hls.boxes import box
from hls.cmaf import Track, media_segment
from hls.packets import CodedPacket, PacketMap, Place, read_packets
from hls.segmenter import Segment, Segmenter
from pipeline.ladder import Codec
from pipeline.media import Packet

PRIMING = {Codec.AAC: 1024, Codec.OPUS: 312, Codec.FLAC: 0}
Sound = tuple[Track, list[Packet], Any]


def cut(track: Track, packets: list[Packet]) -> list[Segment]:
    segmenter = Segmenter(track)
    return [segment for packet in packets for segment in segmenter.push(packet)] + segmenter.flush()


def segment_of(*sizes: int, last_duration: int = 960, decode_time: int = 0) -> bytes:
    """A segment of Opus packets of these sizes."""
    durations = [960] * (len(sizes) - 1) + [last_duration]
    packets = [
        Packet(pts=0, duration=duration, data=bytes([index % 256]) * size, trim_end=960 - duration)
        for index, (duration, size) in enumerate(zip(durations, sizes, strict=True))
    ]
    return media_segment(1, decode_time, packets, Codec.OPUS)


@pytest.mark.parametrize("codec", list(Codec))
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("samples", [1, 648, 649, 184_008, 184_009, 400_000])
def test_what_was_encoded_is_read_back_byte_for_byte(
    sound: Callable[..., Sound], codec: Codec, channels: int, samples: int
) -> None:
    """On the clock of the whole rendition, over all its segments."""
    track, packets, _ = sound(samples, channels, codec=codec)
    read = [packet for segment in cut(track, packets) for packet in read_packets(segment.data)]
    assert [packet.data for packet in read] == [packet.data for packet in packets]
    assert [packet.duration for packet in read] == [p.trim_start + p.duration for p in packets]
    assert [packet.decode_time for packet in read] == [i * codec.frame_samples for i in range(len(packets))]


@given(st.lists(st.integers(1, 400), min_size=1, max_size=40), st.integers(1, 960), st.integers(0, 2**40))
def test_any_sizes_are_read_back(sizes: list[int], last_duration: int, decode_time: int) -> None:
    """With one duration for all samples, in the header, and with one for each, in the run."""
    read = read_packets(segment_of(*sizes, last_duration=last_duration, decode_time=decode_time))
    assert [len(packet.data) for packet in read] == sizes
    assert [packet.duration for packet in read] == [960] * (len(sizes) - 1) + [last_duration]
    assert read[0].decode_time == decode_time


@given(st.integers(0, 460), st.integers(0, 255))
def test_a_damaged_segment_is_read_or_refused_and_never_overrun(at: int, byte: int) -> None:
    """One byte anywhere: ValueError, or packets that lie within the segment."""
    good = segment_of(40, 50, 60, last_duration=7)
    damaged = good[: at % len(good)] + bytes([byte]) + good[at % len(good) + 1 :]
    try:
        read = read_packets(damaged)
    except ValueError:
        return
    assert sum(len(packet.data) for packet in read) == 150


@given(st.integers(0, 460))
def test_a_segment_that_is_cut_off_is_refused(length: int) -> None:
    good = segment_of(40, 50, 60)
    with pytest.raises(ValueError, match=r"box|segment has no|bytes"):
        read_packets(good[: length % len(good)])


def replaced(segment: bytes, old: bytes, new: bytes) -> bytes:
    assert segment.count(old) == 1
    return segment.replace(old, new)


GOOD = segment_of(40, 50, 60)
FIRST_SIZE = struct.pack(">III", 40, 50, 60)


@pytest.mark.parametrize(
    ("segment", "message"),
    [
        (b"", "segment has no moof"),
        (GOOD + GOOD, "more than one b'styp'"),
        (replaced(GOOD, b"mdat", b"free"), "segment has no mdat"),
        (replaced(GOOD, b"traf", b"skip"), "segment has no traf"),
        (replaced(GOOD, b"tfdt", b"skip"), "segment has no tfdt"),
        (replaced(GOOD, b"sgpd", b"trun"), "more than one b'trun'"),
        (
            replaced(GOOD, FIRST_SIZE, struct.pack(">III", 41, 50, 60)),
            "samples have 151 bytes, mdat holds 150",
        ),
        (replaced(GOOD, FIRST_SIZE, struct.pack(">III", 0, 90, 60)), "no time or has no bytes"),
        (replaced(GOOD, b"trun\0\0\2\1\0\0\0\3", b"trun\0\0\2\1\0\0\0\2"), "trun of 2 samples"),
        (replaced(GOOD, b"trun\0\0\2\1", b"trun\0\0\6\1"), "trun has flags 0x601, expected 0x201"),
        (replaced(GOOD, b"tfhd\0\2\0\x28", b"tfhd\0\2\0\x29"), "tfhd has flags 0x20029"),
        (replaced(GOOD, b"tfhd\0\2\0\x28", b"tfhd\0\2\0\x20"), "tfhd has 16 bytes, expected 12"),
        (replaced(GOOD, b"tfdt\1", b"tfdt\0"), "expected 12 of version 1"),
        (GOOD + box(b"mdat"), "more than one b'mdat'"),
    ],
)
def test_what_is_no_segment_of_ours_is_refused(segment: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_packets(segment)


def test_data_that_begins_elsewhere_is_refused() -> None:
    """8.8.8: the offset counts from the moof; anything but mdat's payload would be other bytes."""
    at = GOOD.index(b"trun") + 12
    wrong = int.from_bytes(GOOD[at : at + 4], "big") - 8
    with pytest.raises(ValueError, match="data starts at"):
        read_packets(GOOD[:at] + struct.pack(">i", wrong) + GOOD[at + 4 :])


@st.composite
def maps(draw: st.DrawFn) -> tuple[list[int], int, int]:
    """Segments as the segmenter cuts them: whole frames, but for the last one's end."""
    frame = draw(st.sampled_from([960, 1024]))
    packets = draw(st.lists(st.integers(1, 200), min_size=1, max_size=8))
    durations = [count * frame for count in packets]
    durations[-1] -= draw(st.integers(0, frame - 1))
    return durations, frame, draw(st.sampled_from([0, 312, 1024]))


@given(maps())
def test_every_packet_has_one_place_in_order(made: tuple[list[int], int, int]) -> None:
    durations, frame, priming = made
    places = [
        Place(segment=segment, packet=packet)
        for segment, duration in enumerate(durations)
        for packet in range(-(-duration // frame))
    ]
    found = PacketMap(durations, frame, priming)
    assert [found.place_of(index) for index in range(found.packets)] == places


@given(maps(), st.data())
def test_a_position_lies_in_the_packet_that_is_found_for_it(
    made: tuple[list[int], int, int], data: st.DataObject
) -> None:
    durations, frame, priming = made
    found, end = PacketMap(durations, frame, priming), sum(durations) - priming
    position = data.draw(st.integers(-priming, end - 1))
    index = found.index_at(position)
    assert found.pts_of(index) <= position < found.pts_of(index) + frame
    place = found.place_of(index)
    starts = [0, *accumulate(durations)]
    assert starts[place.segment] <= position + priming < starts[place.segment + 1]


@given(maps(), st.integers(0, 10**9))
def test_before_the_beginning_is_the_first_packet_and_after_the_end_is_none(
    made: tuple[list[int], int, int], beyond: int
) -> None:
    durations, frame, priming = made
    found = PacketMap(durations, frame, priming)
    assert found.index_at(-priming - beyond) == 0
    assert found.index_at(sum(durations) - priming + beyond) == found.packets
    with pytest.raises(ValueError, match=f"there are {found.packets}"):
        found.place_of(found.packets)
    with pytest.raises(ValueError, match="packet is -1"):
        found.place_of(-1)


@pytest.mark.parametrize("codec", list(Codec))
def test_the_map_is_that_of_real_segments(sound: Callable[..., Sound], codec: Codec) -> None:
    track, packets, _ = sound(400_000, codec=codec)
    segments = cut(track, packets)
    found = PacketMap([s.duration for s in segments], codec.frame_samples, track.priming_samples)
    assert track.priming_samples == PRIMING[codec]
    assert found.packets == len(packets)
    assert found.pts_of(0) == -PRIMING[codec]
    for number, segment in enumerate(segments):
        found.check(number, read_packets(segment.data))


def test_packets_of_another_segment_or_length_are_found_out() -> None:
    found = PacketMap([1920, 1920, 1000], 960, 312)
    right = [
        CodedPacket(decode_time=3840, duration=960, data=b"a"),
        CodedPacket(decode_time=4800, duration=40, data=b"b"),
    ]
    found.check(2, right)
    for number, wrong in [(2, right[:1]), (1, right), (2, [*right, right[0]])]:
        with pytest.raises(ValueError, match=f"segment {number}: its packets are not"):
            found.check(number, wrong)


@pytest.mark.parametrize("durations", [[0], [960, 0], [961, 960], [-1]])
def test_segments_that_are_not_made_of_frames_are_refused(durations: list[int]) -> None:
    with pytest.raises(ValueError, match="expected frames of 960"):
        PacketMap(durations, 960, 312)


def test_a_rendition_without_a_segment_has_no_packets() -> None:
    empty = PacketMap([], 960, 312)
    assert (empty.packets, empty.index_at(0)) == (0, 0)
