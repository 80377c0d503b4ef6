"""Where segments begin and end, and what they are called."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hls.cmaf import Track
from hls.segmenter import Segment, Segmenter, init_name
from pipeline.grid import SEGMENT_SAMPLES, SHORTEST_TAIL_SAMPLES
from pipeline.media import Packet

FRAME = 1024
CELL = 180  # frames of AAC in 3.84 s
Packets = Callable[..., list[Packet]]
Payload = Callable[[bytes, str], bytes]
Durations = Callable[[bytes], list[int]]


def cut(track: Track, packets: list[Packet]) -> list[Segment]:
    segmenter = Segmenter(track)
    return [segment for packet in packets for segment in segmenter.push(packet)] + segmenter.flush()


def test_a_segment_holds_the_packets_of_its_cell(track: Track, packets: Packets, payload: Payload) -> None:
    """The grid: segment k holds packets [180k, 180(k+1)), counted from the first, priming included."""
    coded = packets(3 * CELL)
    segments = cut(track, coded)
    assert [(segment.number, segment.pts, segment.duration) for segment in segments] == [
        (0, 0, SEGMENT_SAMPLES),
        (1, SEGMENT_SAMPLES, SEGMENT_SAMPLES),
        (2, 2 * SEGMENT_SAMPLES, SEGMENT_SAMPLES),
    ]
    for number, segment in enumerate(segments):
        held = coded[number * CELL : (number + 1) * CELL]
        assert payload(segment.data, "mdat") == b"".join(packet.data for packet in held)


def opus_packets(samples: int) -> list[Packet]:
    """`samples` presented samples behind a pre-skip of 312, in packets of 960."""
    packets = []
    for start in range(0, 312 + samples, 960):
        trim_start = 312 if start == 0 else 0
        trim_end = max(0, start + 960 - 312 - samples)
        packets.append(
            Packet(
                pts=max(0, start - 312),
                duration=960 - trim_start - trim_end,
                data=b"x",
                trim_start=trim_start,
                trim_end=trim_end,
            )
        )
    return packets


@pytest.mark.parametrize(
    ("samples", "durations"),
    [
        (1, [313]),
        (SEGMENT_SAMPLES - 312, [SEGMENT_SAMPLES]),
        (SEGMENT_SAMPLES - 311, [SEGMENT_SAMPLES + 1]),
        (SEGMENT_SAMPLES - 312 + 23_999, [SEGMENT_SAMPLES + 23_999]),
        (SEGMENT_SAMPLES - 312 + 24_000, [SEGMENT_SAMPLES, 24_000]),
        (3 * SEGMENT_SAMPLES - 312, [SEGMENT_SAMPLES] * 3),
    ],
)
def test_opus_is_cut_after_192_packets(opus_track: Track, samples: int, durations: list[int]) -> None:
    """The grid: 3.84 s of 20 ms packets, as long as AAC's segments; the exact length is what is presented."""
    segments = cut(opus_track, opus_packets(samples))
    assert [segment.duration for segment in segments] == durations
    assert sum(durations) - opus_track.priming_samples == samples


def test_fragments_are_numbered_from_one(track: Track, packets: Packets, payload: Payload) -> None:
    """ISO/IEC 14496-12 8.8.5: sequence numbers rise, in order of decoding."""
    segments = cut(track, packets(3 * CELL))
    assert [payload(segment.data, "moof/mfhd")[-1] for segment in segments] == [1, 2, 3]


def test_a_segment_comes_as_soon_as_the_next_is_long_enough(track: Track, packets: Packets) -> None:
    """It cannot come sooner: a piece under 0.5 s would have to join it."""
    segmenter = Segmenter(track)
    needed = CELL + -(-SHORTEST_TAIL_SAMPLES // FRAME)
    came = [bool(segmenter.push(packet)) for packet in packets(2 * CELL)]
    assert came.index(True) == needed - 1
    assert sum(came) == 1


@pytest.mark.parametrize(
    ("tail_packets", "last_duration", "durations"),
    [
        (0, FRAME, [CELL * FRAME]),
        (1, 1, [CELL * FRAME + 1]),
        (24, 23_999 - 23 * FRAME, [CELL * FRAME + 23_999]),
        (24, 24_000 - 23 * FRAME, [CELL * FRAME, 24_000]),
        (CELL, FRAME, [CELL * FRAME, CELL * FRAME]),
    ],
)
def test_a_last_piece_under_half_a_second_joins_the_one_before(
    track: Track, packets: Packets, tail_packets: int, last_duration: int, durations: list[int]
) -> None:
    segments = cut(track, packets(CELL + tail_packets, last_duration))
    assert [segment.duration for segment in segments] == durations


def test_a_track_under_half_a_second_is_one_segment(track: Track, packets: Packets) -> None:
    [segment] = cut(track, packets(2, 1))
    assert segment.duration == FRAME + 1


def test_nothing_in_is_nothing_out(track: Track) -> None:
    assert cut(track, []) == []


def test_another_rate_has_the_same_length_of_segment(track: Track, packets: Packets) -> None:
    """The grid is in seconds: at 24 kHz a cell of 3.84 s has half the frames."""
    segments = cut(replace(track, rate_hz=24_000), packets(CELL))
    assert [segment.duration / 24_000 for segment in segments] == [3.84, 3.84]
    [only] = cut(replace(track, rate_hz=24_000), packets(CELL // 2 + 11))
    assert only.duration / 24_000 == pytest.approx(3.84 + 11 * FRAME / 24_000)


def test_a_name_tells_the_number_and_the_content(track: Track, packets: Packets) -> None:
    """A name that changes with the content may be cached for ever."""
    [segment] = cut(track, packets(3))
    digest = hashlib.sha256(segment.data).hexdigest()
    assert segment.sha256 == digest
    assert segment.name == f"0-{digest[:8]}.m4s"
    assert init_name(b"abc") == "init-ba7816bf.mp4"  # FIPS 180-4, SHA-256 of "abc"


def test_the_same_packets_give_the_same_bytes(track: Track, packets: Packets) -> None:
    """A job that runs twice writes the same version."""
    assert cut(track, packets(400, 7)) == cut(track, packets(400, 7))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"duration": 1023}, "segment 0: packet at 2048 samples: frame is 1023 samples, expected 1024"),
        ({"pts": 1025}, "segment 0: packet at 2048 samples: pts is 1025 samples, expected 1024"),
        ({"trim_start": 1, "duration": 1023}, "trim_start is 1 samples, expected 0"),
    ],
)
def test_a_packet_that_does_not_continue_is_refused(
    track: Track, packets: Packets, wrong: dict[str, int], message: str
) -> None:
    """bis 3: timestamps run on; a hole here would be a hole in every listener's ear."""
    first, second, third = packets(3)
    segmenter = Segmenter(track)
    segmenter.push(first)
    segmenter.push(second)
    with pytest.raises(ValueError, match=message):
        segmenter.push(replace(third, **wrong))


def test_priming_that_the_track_does_not_declare_is_refused(track: Track, packets: Packets) -> None:
    """The edit list skips what the track says; packets that say otherwise would be cut wrongly."""
    with pytest.raises(ValueError, match="trim_start is 1024 samples, expected 0"):
        cut(replace(track, priming_samples=0), packets(3))


def test_nothing_may_follow_the_padding(track: Track, packets: Packets) -> None:
    """Only the last packet of a track is shortened at its end."""
    segmenter = Segmenter(track)
    for packet in packets(2, 1000):
        segmenter.push(packet)
    with pytest.raises(ValueError, match="segment 0: a packet follows one that was cut at its end"):
        segmenter.push(Packet(pts=1000, duration=FRAME, data=b"x"))


def test_priming_may_end_inside_a_packet(track: Track) -> None:
    """Apple's encoder primes with 2112 samples: two frames and 64 samples of the third."""
    coded = [
        Packet(pts=0, duration=0, trim_start=FRAME, data=b"1"),
        Packet(pts=0, duration=0, trim_start=FRAME, data=b"2"),
        Packet(pts=0, duration=FRAME - 64, trim_start=64, data=b"3"),
        Packet(pts=FRAME - 64, duration=100, trim_end=FRAME - 100, data=b"4"),
    ]
    [segment] = cut(replace(track, priming_samples=2112), coded)
    assert segment.duration - 2112 == FRAME - 64 + 100


@given(count=st.integers(2, 3 * CELL), last_duration=st.integers(1, FRAME))
def test_any_track_is_cut_without_hole_or_runt(
    track: Track, packets: Packets, payload: Payload, durations: Durations, count: int, last_duration: int
) -> None:
    """bis 3, 3.1.2: tfdt(n + 1) = tfdt(n) + durations; what goes in comes out; no short last segment."""
    coded = packets(count, last_duration)
    segments = cut(track, coded)
    end = 0
    for number, segment in enumerate(segments):
        [decode_time] = struct.unpack(">Q", payload(segment.data, "moof/traf/tfdt")[4:])
        assert (segment.number, segment.pts, decode_time) == (number, end, end)
        assert sum(durations(segment.data)) == segment.duration
        end += segment.duration
    assert end == sum(packet.trim_start + packet.duration for packet in coded)
    assert b"".join(payload(segment.data, "mdat") for segment in segments) == b"".join(
        packet.data for packet in coded
    )
    assert all(segment.duration == SEGMENT_SAMPLES for segment in segments[:-1])
    assert len(segments) == 1 or segments[-1].duration >= SHORTEST_TAIL_SAMPLES
    assert segments[-1].duration < SEGMENT_SAMPLES + SHORTEST_TAIL_SAMPLES


def flac_packets(samples: int, rate_hz: int) -> list[Packet]:
    """Blocks of 80 ms, the last one as short as it is."""
    frame = rate_hz * 2 // 25
    return [
        Packet(pts=start, duration=min(frame, samples - start), data=b"x")
        for start in range(0, samples, frame)
    ]


@pytest.mark.parametrize("rate_hz", [44_100, 96_000, 192_000])
def test_flac_is_cut_at_3_84_s_of_its_own_rate(flac_track: Track, rate_hz: int) -> None:
    """The grid: 48 blocks of 80 ms at every rate; a tail under half a second joins the one before."""
    track, cell = replace(flac_track, rate_hz=rate_hz), rate_hz * 96 // 25
    assert [s.duration for s in cut(track, flac_packets(2 * cell, rate_hz))] == [cell, cell]
    assert [s.duration for s in cut(track, flac_packets(cell + rate_hz // 2, rate_hz))] == [
        cell,
        rate_hz // 2,
    ]
    tail = rate_hz // 2 - 1
    assert [s.duration for s in cut(track, flac_packets(cell + tail, rate_hz))] == [cell + tail]


def test_only_the_last_frame_of_flac_may_be_short(flac_track: Track) -> None:
    """RFC 9639 9.1.1: of a fixed block size only the last block differs."""
    segmenter = Segmenter(flac_track)
    segmenter.push(Packet(pts=0, duration=100, data=b"x"))
    with pytest.raises(ValueError, match="a packet follows one that was cut at its end"):
        segmenter.push(Packet(pts=100, duration=7_680, data=b"x"))
    with pytest.raises(ValueError, match="frame is 7681 samples, expected 7680"):
        Segmenter(flac_track).push(Packet(pts=0, duration=7_681, data=b"x"))
