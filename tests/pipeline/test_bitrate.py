"""The bit rate of a source is that of its densest ten seconds."""

from __future__ import annotations

import pytest

from pipeline.bitrate import BitRateMeter

FRAME, RATE_HZ = 1152, 44_100
FRAMES_A_SECOND = RATE_HZ / FRAME


def measured(*parts: tuple[float, int]) -> int:
    """Of passages of so many seconds, at so many bits a second each."""
    meter = BitRateMeter()
    for seconds, bps in parts:
        for _ in range(round(seconds * FRAMES_A_SECOND)):
            meter.push(round(bps / 8 / FRAMES_A_SECOND), FRAME, RATE_HZ)
    return meter.result()


@pytest.mark.parametrize("seconds", [1, 10, 25])
def test_a_constant_bit_rate_is_itself_whatever_the_length(seconds: float) -> None:
    assert measured((seconds, 128_000)) == pytest.approx(128_000, rel=0.01)


def test_pauses_do_not_make_the_music_poorer() -> None:
    """The mean of these is 136 kbit/s; a rendition of 128k would lose what the loud part has."""
    assert measured((30, 32_000), (20, 320_000), (10, 80_000)) == pytest.approx(320_000, rel=0.02)


def test_a_moment_is_no_passage() -> None:
    """One second at the end says nothing; within ten it counts for a tenth."""
    assert measured((20.2, 96_000), (1, 320_000)) == pytest.approx(96_000, rel=0.02)


def test_nothing_has_no_bit_rate() -> None:
    assert BitRateMeter().result() == 0
    silent = BitRateMeter()
    silent.push(400, 0, RATE_HZ)  # a packet that could not be decoded
    assert silent.result() == 0
