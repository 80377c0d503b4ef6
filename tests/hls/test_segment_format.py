"""What a stored segment is called and how large it is in each container, known without reading it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hls.mpegts import transport_segment
from hls.packets import read_packets
from hls.segment_format import SegmentFormat, stored_name
from hls.segmenter import Segment, Segmenter
from hls.stored import StoredSegment

Sound = Callable[..., tuple[Any, list[Any], Any]]


def cut(track: Any, packets: list[Any]) -> list[Segment]:
    segmenter = Segmenter(track)
    return [segment for packet in packets for segment in segmenter.push(packet)] + segmenter.flush()


def stored(segment: Segment) -> StoredSegment:
    return StoredSegment(
        name=segment.name, duration=segment.duration, bytes=len(segment.data), sha256=segment.sha256
    )


@pytest.mark.parametrize(("samples", "channels"), [(1, 2), (184_000, 1), (210_000, 2)])
def test_the_size_in_mpegts_is_known_from_what_is_stored(sound: Sound, samples: int, channels: int) -> None:
    """bis 4.1: BANDWIDTH is true for the bytes that are sent; EXTINF for the whole frames in them."""
    for segment in cut(*sound(samples, channels)[:2]):
        packets = read_packets(segment.data)
        [offered] = SegmentFormat.TS.offered((stored(segment),))
        assert offered.bytes == len(transport_segment(segment.number, packets))
        assert offered.duration == 1024 * len(packets)
        assert offered.name == segment.name.replace(".m4s", ".ts")


def test_fmp4_is_offered_as_it_is_stored() -> None:
    segment = StoredSegment(name="0-0a1b2c3d.m4s", duration=5_000, bytes=700, sha256="0a" * 32)
    assert SegmentFormat.FMP4.offered((segment,)) == (segment,)


def test_a_segment_is_stored_once_whatever_it_is_asked_for_as() -> None:
    assert stored_name("7-0a1b2c3d.ts") == stored_name("7-0a1b2c3d.m4s") == "7-0a1b2c3d.m4s"
    assert stored_name("init-0a1b2c3d.mp4") == "init-0a1b2c3d.mp4"


@pytest.mark.parametrize(
    ("codec", "rate_hz", "carried"),
    [
        ("mp4a.40.2", 48_000, True),
        ("mp4a.40.2", 44_100, False),
        ("Opus", 48_000, False),
        ("fLaC", 48_000, False),
    ],
)
def test_mpegts_carries_the_aac_of_the_grid(codec: str, rate_hz: int, carried: bool) -> None:
    """A 2.25: FLAC only in fMP4; Opus in TS plays nearly nowhere."""
    assert SegmentFormat.TS.carries(codec, rate_hz) is carried
    assert SegmentFormat.FMP4.carries(codec, rate_hz)


def test_each_format_has_a_playlist_of_its_own() -> None:
    assert [one.playlist("128k") for one in SegmentFormat] == ["stream_128k.m3u8", "stream_128k-ts.m3u8"]
