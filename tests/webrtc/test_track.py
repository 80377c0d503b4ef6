"""webrtc/track.py: when a packet is handed over, on a clock that only the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from fractions import Fraction

import pytest
from aiortc.mediastreams import MediaStreamError

from webrtc.track import LATE_S, RATE_HZ, StoredAudioTrack

FRAME = 960
FRAME_S = FRAME / RATE_HZ


@dataclass(frozen=True, slots=True)
class Coded:
    pts: int
    duration: int
    data: bytes


class Clock:
    """Time that passes only while somebody sleeps, or as the test says."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, wait_s: float) -> None:
        assert wait_s > 0
        self.now_s += wait_s


def frames(count: int, first_pts: int = -312) -> list[Coded]:
    return [Coded(first_pts + FRAME * n, FRAME, b"%d" % n) for n in range(count)]


async def source(packets: Iterable[Coded], failure: Exception | None = None) -> AsyncIterator[Coded]:
    for packet in packets:
        yield packet
    if failure is not None:
        raise failure


def track_of(
    packets: Iterable[Coded], clock: Clock | None = None, failure: Exception | None = None
) -> StoredAudioTrack:
    clock = clock or Clock()
    return StoredAudioTrack(source(packets, failure), now=clock, sleep=clock.sleep)


async def test_the_packets_are_handed_over_as_they_are() -> None:
    """The clock of RTP begins at 0 with the first packet, whatever that one's place in the track is."""
    track = track_of(frames(3, first_pts=500_000))
    packets = [await track.recv() for _ in range(3)]
    assert [bytes(packet) for packet in packets] == [b"0", b"1", b"2"]
    assert [packet.pts for packet in packets] == [0, FRAME, 2 * FRAME]
    assert {packet.time_base for packet in packets} == {Fraction(1, 48_000)}


async def test_the_first_packet_goes_at_once_and_each_other_when_it_is_due() -> None:
    clock = Clock()
    track = track_of(frames(4), clock)
    handed_over_s = []
    for _ in range(4):
        await track.recv()
        handed_over_s.append(clock.now_s - 1000.0)
    assert handed_over_s == pytest.approx([0, FRAME_S, 2 * FRAME_S, 3 * FRAME_S])


async def test_delays_do_not_add_up() -> None:
    """The schedule is absolute: each of 3000 packets fetched 5 ms late, and the last one is in time."""
    clock = Clock()
    track = track_of(frames(3001), clock)
    for _ in range(3001):
        clock.now_s += 0.005
        await track.recv()
    # 5 ms before the first, from where it all counts
    assert clock.now_s - 1000.005 == pytest.approx(3000 * FRAME_S)


async def test_a_late_packet_is_caught_up_with() -> None:
    """A hiccup shorter than what receivers hold back: what is due goes at once."""
    clock = Clock()
    track = track_of(frames(5), clock)
    await track.recv()
    clock.now_s += 3.5 * FRAME_S
    for _ in range(3):
        await track.recv()
    assert clock.now_s - 1000.0 == pytest.approx(3.5 * FRAME_S)
    await track.recv()
    assert clock.now_s - 1000.0 == pytest.approx(4 * FRAME_S)


async def test_after_a_long_silence_the_schedule_begins_anew() -> None:
    """A storage that hung for a minute is not followed by a minute of packets at once."""
    clock = Clock()
    track = track_of(frames(4), clock)
    await track.recv()
    clock.now_s += LATE_S + 60
    hung_until_s = clock.now_s
    for _ in range(3):
        await track.recv()
    assert clock.now_s - hung_until_s == pytest.approx(2 * FRAME_S)


async def test_it_ends_when_the_last_packet_has_been_heard() -> None:
    clock = Clock()
    track = track_of([*frames(2, first_pts=0), Coded(2 * FRAME, 100, b"last")], clock)
    for _ in range(3):
        await track.recv()
    assert not track.ended.is_set()
    with pytest.raises(MediaStreamError):
        await track.recv()
    assert clock.now_s - 1000.0 == pytest.approx((2 * FRAME + 100) / RATE_HZ)
    assert track.ended.is_set()
    assert track.finished
    assert track.error is None


async def test_no_packet_at_all_is_an_end_too() -> None:
    track = track_of([])
    with pytest.raises(MediaStreamError):
        await track.recv()
    assert (track.finished, track.started.is_set(), track.ended.is_set()) == (True, False, True)


async def test_a_source_that_fails_ends_the_track_and_is_passed_back() -> None:
    failure = OSError("out of reach")
    track = track_of(frames(1), failure=failure)
    await track.recv()
    with pytest.raises(MediaStreamError):
        await track.recv()
    assert track.error is failure
    assert (track.finished, track.ended.is_set(), track.readyState) == (False, True, "ended")


async def test_a_stopped_track_hands_over_nothing_more() -> None:
    """aiortc stops it when its peer is gone; it was not played to its end then."""
    track = track_of(frames(3))
    await track.recv()
    track.stop()
    track.stop()
    with pytest.raises(MediaStreamError):
        await track.recv()
    assert (track.started.is_set(), track.ended.is_set(), track.finished) == (True, True, False)
