"""media_server/websocket/timeline.py"""

from __future__ import annotations

import presentations
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_server.websocket.timeline import PREROLL_SAMPLES, Timeline, listened_to_first
from pipeline.grid import SEGMENT_SAMPLES

SONG = presentations.song(20.0)


@pytest.mark.parametrize(("name", "priming"), [("128k", 1024), ("opus-128", 120)])
def test_segments_begin_on_the_grid_less_the_priming(name: str, priming: int) -> None:
    """The grid counts from the first packet, priming included; listeners count from what is presented."""
    timeline = Timeline(SONG.rendition(name))
    assert timeline.first_sample(0) == -priming
    assert timeline.first_sample(2) == 2 * SEGMENT_SAMPLES - priming
    assert timeline.first_sample(len(timeline)) == SONG.duration_samples


@pytest.mark.parametrize(
    ("sample", "number"),
    [(0, 0), (SEGMENT_SAMPLES - 1025, 0), (SEGMENT_SAMPLES - 1024, 1), (959_999, 5), (960_000, 6)],
)
def test_a_sample_lies_in_one_segment(sample: int, number: int) -> None:
    assert Timeline(SONG.rendition("128k")).at(sample) == number


@given(st.integers(0, SONG.duration_samples))
def test_an_entry_leaves_the_decoder_its_preroll(sample: int) -> None:
    """RFC 7845 4.6: 80 ms before the first sample that shall sound right, where there are any."""
    timeline = Timeline(SONG.rendition("opus-128"))
    start = timeline.first_sample(timeline.entry(sample))
    assert start <= max(0, sample - PREROLL_SAMPLES)
    assert sample - start <= SEGMENT_SAMPLES + 24_000 + PREROLL_SAMPLES


def test_a_rendition_without_segments_has_nothing_to_enter() -> None:
    timeline = Timeline(presentations.song(segments=0).rendition("128k"))
    assert (len(timeline), timeline.entry(48_000)) == (0, 0)


def test_the_lowest_of_aac_is_heard_first_whatever_the_order() -> None:
    first = listened_to_first(SONG)
    assert first is not None
    assert SONG.renditions[first].name == "128k"
    only = presentations.asset(SONG.rendition("opus-128"), duration_samples=SONG.duration_samples)
    assert listened_to_first(only) == 0
    assert listened_to_first(presentations.song(segments=0)) is None
