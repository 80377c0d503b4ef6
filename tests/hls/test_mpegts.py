"""A transport stream made of stored segments: the syntax, the clock, and that no segment needs another."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from itertools import pairwise
from typing import Any

import av
import numpy as np
import pytest
import transport_stream
from hypothesis import given, settings
from hypothesis import strategies as st

from hls.cmaf import Track
from hls.mpegts import AUDIO_PID, FRAMES_A_PES, PROGRAM_MAP_PID, size_bytes, transport_segment
from hls.packets import CodedPacket, read_packets
from hls.segmenter import Segment, Segmenter
from pipeline.media import Packet

FRAME = 1024
TICKS_A_FRAME = 1920
"""1024 samples at 48 kHz in 90 kHz: whole, so timestamps cannot drift."""
CLOCK_CYCLE = 2**33 * 300
STEREO = 0b001 << 5
Sound = tuple[Track, list[Packet], Any]


def coded(*sizes: int, first: int = 0) -> list[CodedPacket]:
    """Frames of these sizes, which begin like a channel pair; `first` is the first's number in the track."""
    return [
        CodedPacket(
            decode_time=(first + place) * FRAME,
            duration=FRAME,
            data=bytes([STEREO | place % 32]) + bytes([(place * 7 + size) % 256]) * (size - 1),
        )
        for place, size in enumerate(sizes)
    ]


def cut(track: Track, packets: list[Packet]) -> list[Segment]:
    segmenter = Segmenter(track)
    return [segment for packet in packets for segment in segmenter.push(packet)] + segmenter.flush()


def rendered(sound: Sound) -> list[bytes]:
    track, packets, _ = sound
    return [transport_segment(s.number, read_packets(s.data)) for s in cut(track, packets)]


def test_a_segment_opens_with_pat_and_pmt() -> None:
    """bis 3.1.1; 2.4.4.3, 2.4.4.8: program 1, its one stream ADTS (0x0F), which has the clock too."""
    stream = transport_segment(18, coded(9, 9))
    pat = "47 4000 12 00 00b00d 0001 c1 00 00 0001 f000 2ab104b2"
    pmt = "47 5000 12 00 02b012 0001 c1 00 00 e100 f000 0f e100 f000 b69bc0d9"
    assert stream[:188] == bytes.fromhex(pat).ljust(188, b"\xff")
    assert stream[188:376] == bytes.fromhex(pmt).ljust(188, b"\xff")
    assert transport_stream.crc32(bytes.fromhex(pat)[5:]) == 0
    assert transport_stream.crc32(bytes.fromhex(pmt)[5:]) == 0


def test_the_first_packet_has_a_clock_a_pes_header_and_a_frame() -> None:
    """2.4.3.4: stuffed field of 152 bytes, random access and PCR 0.3 s; 2.4.3.6: 40 bytes, PTS 1 s; ADTS."""
    first = transport_segment(0, coded(9, 9))[376:564]
    assert first[:4] == bytes.fromhex("47 4100 30")
    assert first[4:157] == bytes.fromhex("98 50 000034bc 7e00") + b"\xff" * 145
    assert first[157:171] == bytes.fromhex("000001 c0 0028 848005 210005bf21")
    assert first[171:178] == bytes.fromhex("fff14c80021ffc")
    assert first[178:] == coded(9)[0].data + b"\xff"  # the sync byte of the second frame


@pytest.mark.parametrize(
    ("frames_before", "coded_pts"),
    [
        (0, "21 0005 bf21"),  # 90 000
        (180, "21 001b 4b21"),
        ((2**33 - 90_000) // TICKS_A_FRAME, "2f ffff fa21"),
        ((2**33 - 90_000) // TICKS_A_FRAME + 1, "21 0001 0921"),  # after 26.5 h it starts anew
    ],
)
def test_a_timestamp_has_33_bits(frames_before: int, coded_pts: str) -> None:
    """2.4.3.7: PTS = (90 kHz x time) mod 2^33."""
    [pes] = transport_stream.pes_of(transport_segment(7, coded(9, 9, first=frames_before)), AUDIO_PID)
    assert pes.pts == (90_000 + frames_before * TICKS_A_FRAME) % 2**33
    assert pes.header[9:14] == bytes.fromhex(coded_pts)


@pytest.mark.parametrize(("stuffing", "field"), [(0, ""), (1, "00"), (2, "0100"), (3, "0200ff")])
def test_a_packet_is_stuffed_by_an_adaptation_field_of_any_length(stuffing: int, field: str) -> None:
    """2.4.3.5: one byte is the length 0 alone, two have flags. The last packet keeps a byte of payload."""
    # 32 packets, 8 of them with a clock; 183 bytes are stuffed into the last, and these into the one before
    payload = 32 * 184 - 8 * 8 - 183 - stuffing
    stream = transport_segment(0, coded(1400, 1400, 1400, payload - 14 - 4 * 7 - 3 * 1400))
    before, last = stream[-376:-188], stream[-188:]
    assert len(stream) == 34 * 188
    assert before[3] >> 4 == (3 if field else 1)
    assert before[4 : 4 + stuffing] == bytes.fromhex(field)
    assert last[3:-1] == b"\x3f" + b"\xb6\0" + b"\xff" * 181


sizes = st.lists(st.integers(1, 1536), min_size=1, max_size=203) | st.lists(
    st.integers(1, 12), min_size=1, max_size=203
)


@settings(max_examples=40)
@given(sizes, st.integers(0, 10**6), st.integers(0, 2**36))
def test_any_frames_come_out_as_they_went_in(sizes: list[int], number: int, first: int) -> None:
    """At their times, in as many packets as was said before, on counters that a neighbour continues."""
    frames = coded(*sizes, first=first)
    stream = transport_segment(number, frames)
    assert len(stream) == size_bytes(sum(sizes), len(sizes))
    parts = transport_stream.packets(stream)
    audio = [part for part in parts if part.pid == AUDIO_PID]
    assert [(part.pid, part.counter) for part in parts[:2]] == [
        (0, number % 16),
        (PROGRAM_MAP_PID, number % 16),
    ]
    assert [part.counter for part in audio] == [place % 16 for place in range(len(parts) - 2)]
    assert len(audio) % 16 == 0
    found = transport_stream.pes_of(stream, AUDIO_PID)
    assert [data for pes in found for _, data in pes.frames] == [frame.data for frame in frames]
    assert [pes.pts for pes in found] == [
        (90_000 + (first + place) * TICKS_A_FRAME) % 2**33 for place in range(0, len(sizes), FRAMES_A_PES)
    ]


@settings(max_examples=40)
@given(sizes, st.integers(0, 2**36))
def test_every_frame_has_arrived_when_it_is_due(sizes: list[int], first: int) -> None:
    """2.4.2: by its clock a PES is there before its first frame is heard, and the clock never goes back."""
    stream = transport_segment(3, coded(*sizes, first=first))
    clocks: list[int] = []
    for pes in transport_stream.pes_of(stream, AUDIO_PID):
        due = pes.pts * 300
        assert pes.clocks, "each PES begins with a clock"
        assert all(0 < (due - clock) % CLOCK_CYCLE <= 27_000_000 * 7 // 10 for clock in pes.clocks)
        clocks += pes.clocks
    assert all(0 < (b - a) % CLOCK_CYCLE < CLOCK_CYCLE // 2 for a, b in pairwise(clocks))


@pytest.mark.parametrize("bitrate_bps", [64_000, 320_000])
def test_clocks_are_a_tenth_of_a_second_apart_at_most(sound: Callable[..., Sound], bitrate_bps: int) -> None:
    """2.7.2; 2.7.4: timestamps at most 0.7 s. Mono has half the bit rate: the lowest rung there is."""
    channels = 1 if bitrate_bps == 64_000 else 2
    stream = b"".join(rendered(sound(100_000, channels, bitrate_bps)))
    found = transport_stream.pes_of(stream, AUDIO_PID)
    clocks = [clock for pes in found for clock in pes.clocks]
    assert max(b - a for a, b in pairwise(clocks)) <= 2_700_000
    assert max(b.pts - a.pts for a, b in pairwise(found)) <= 63_000


def test_segments_run_on_from_one_another_whoever_renders_them_in_whatever_order(
    sound: Callable[..., Sound],
) -> None:
    """bis 3: counters of every PID and timestamps go on over the boundary; nobody needs the one before."""
    track, packets, _ = sound(400_000)
    stored = [(segment.number, segment.data) for segment in cut(track, packets)]
    made = {number: transport_segment(number, read_packets(data)) for number, data in reversed(stored)}
    stream = b"".join(made[number] for number in sorted(made))
    counters: dict[int, int] = {}
    for packet in transport_stream.packets(stream):
        assert packet.counter == (counters.get(packet.pid, -1) + 1) % 16
        counters[packet.pid] = packet.counter
    assert set(counters) == {0, AUDIO_PID, PROGRAM_MAP_PID}
    found = transport_stream.pes_of(stream, AUDIO_PID)
    frames_before = np.cumsum([0, *(len(pes.frames) for pes in found)])[:-1]
    assert [pes.pts for pes in found] == [90_000 + TICKS_A_FRAME * int(count) for count in frames_before]
    assert [data for pes in found for _, data in pes.frames] == [packet.data for packet in packets]


@pytest.mark.parametrize("channels", [1, 2])
def test_pyav_decodes_the_priming_and_whole_frames(sound: Callable[..., Sound], channels: int) -> None:
    """No edit list: source sample 0 is heard after the 1024 of the priming, and the last frame is whole."""
    samples = 100_000
    made = sound(samples, channels)
    with av.open(BytesIO(b"".join(rendered(made))), format="mpegts") as container:
        [stream] = container.streams
        assert (stream.codec_context.name, stream.codec_context.channels) == ("aac", channels)
        frames = list(container.decode(stream))
    decoded = np.concatenate([frame.to_ndarray() for frame in frames], axis=1)
    assert decoded.shape[1] == -(-(FRAME + samples) // FRAME) * FRAME
    assert frames[0].time == pytest.approx(1.0)
    assert {b.pts - a.pts for a, b in pairwise(frames)} == {TICKS_A_FRAME}
    length = 8_192
    correlation = np.correlate(decoded[0, : length + 4 * FRAME], made[2][0, :length], "full")
    assert int(correlation.argmax()) - (length - 1) == FRAME


def test_what_is_not_aac_on_our_grid_is_refused(sound: Callable[..., Sound]) -> None:
    """Opus has frames of 960 samples; a hole would shift all that follows."""
    with pytest.raises(ValueError, match="segment 5 is not made of frames of 1024 samples"):
        transport_segment(5, [])
    frames = coded(9, 9, 9)
    with pytest.raises(ValueError, match="not made of frames"):
        transport_segment(5, [frames[0], frames[2]])
    opus = [CodedPacket(decode_time=place * 960, duration=960, data=b"\x20") for place in range(2)]
    with pytest.raises(ValueError, match="not made of frames"):
        transport_segment(5, opus)
