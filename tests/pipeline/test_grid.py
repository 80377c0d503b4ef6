"""The grid: one segment length that is whole in every codec, and the exact length of a track on it."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.grid import AAC_FRAME_SAMPLES, RATE_HZ, SEGMENT_SAMPLES, SHORTEST_TAIL_SAMPLES, at_grid_rate


@pytest.mark.parametrize(
    ("frames", "frame_samples"), [(180, AAC_FRAME_SAMPLES), (192, 960), (160, 1152), (48, 3840)]
)
def test_a_segment_is_a_whole_number_of_frames_of_every_codec(frames: int, frame_samples: int) -> None:
    """AAC, Opus at 20 ms, MP3, FLAC at 80 ms: renditions are cut at equal times."""
    assert frames * frame_samples == SEGMENT_SAMPLES


def test_a_segment_is_3_84_seconds_and_a_joined_tail_keeps_the_target_duration() -> None:
    """RFC 8216 4.3.3.1: the longest segment, rounded, is at most TARGETDURATION, which stays 4."""
    assert Fraction(SEGMENT_SAMPLES, RATE_HZ) == Fraction(384, 100)
    assert floor(Fraction(SEGMENT_SAMPLES + SHORTEST_TAIL_SAMPLES - 1, RATE_HZ) + Fraction(1, 2)) == 4


@pytest.mark.parametrize(
    ("samples", "rate_hz", "expected"),
    [
        (0, 44_100, 0),
        (1, 44_100, 1),
        (44_100, 44_100, 48_000),
        (44_100 * 241 + 17, 44_100, 48_000 * 241 + 19),
        (1, 192_000, 0),
        (2, 192_000, 1),  # a half goes up
        (123_457, 48_000, 123_457),
        (11_025 * 14_400, 11_025, 48_000 * 14_400),
    ],
)
def test_length_on_the_grid(samples: int, rate_hz: int, expected: int) -> None:
    assert at_grid_rate(samples, rate_hz) == expected


@given(samples=st.integers(0, 2**40), rate_hz=st.integers(1, 768_000))
def test_length_on_the_grid_is_exact_at_every_length(samples: int, rate_hz: int) -> None:
    """Rational arithmetic says the same; a float would be off by samples after some hours."""
    assert at_grid_rate(samples, rate_hz) == floor(Fraction(samples * RATE_HZ, rate_hz) + Fraction(1, 2))
