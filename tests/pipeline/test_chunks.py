"""A long track is divided on the grid, by its length alone, and every packet is in one chunk."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.chunks import CHUNK_SAMPLES, LOOKAHEAD_FRAMES, PREROLL_FRAMES, Chunk, chunks_of
from pipeline.grid import RATE_HZ, SEGMENT_SAMPLES
from pipeline.ladder import RUNGS

LOSSY = ("64k", "128k", "320k", "opus-64", "opus-192")


def test_a_chunk_is_whole_segments_and_lasts_at_least_a_minute() -> None:
    assert CHUNK_SAMPLES % SEGMENT_SAMPLES == 0
    assert CHUNK_SAMPLES / RATE_HZ == 61.44


@pytest.mark.parametrize("name", LOSSY)
@pytest.mark.parametrize(
    ("samples", "count"),
    [(1, 1), (CHUNK_SAMPLES, 1), (2 * CHUNK_SAMPLES - 1, 1), (2 * CHUNK_SAMPLES, 2), (240 * RATE_HZ, 3)],
)
def test_a_track_has_as_many_chunks_as_are_whole(name: str, samples: int, count: int) -> None:
    assert len(chunks_of(RUNGS[name], samples)) == count


@given(name=st.sampled_from(LOSSY), samples=st.integers(0, 4 * 3600 * RATE_HZ))
def test_chunks_follow_one_another_on_the_grid(name: str, samples: int) -> None:
    """Each from where the last one stops; fed some before it, and what a coder looks ahead behind it."""
    frame = RUNGS[name].frame_samples
    chunks = chunks_of(RUNGS[name], samples)
    assert (chunks[0].first, chunks[0].fed_from) == (0, 0)
    assert (chunks[-1].stop, chunks[-1].fed_to) == (None, None)
    for before, after in pairwise(chunks):
        assert before.stop is not None
        assert before.fed_to is not None
        assert before.stop == after.first
        assert after.first * frame % SEGMENT_SAMPLES == 0
        assert before.fed_to == (before.stop + LOOKAHEAD_FRAMES) * frame
        assert after.fed_from == (after.first - PREROLL_FRAMES[RUNGS[name].codec]) * frame
    if len(chunks) > 1:
        assert CHUNK_SAMPLES <= samples - chunks[-1].first * frame < 2 * CHUNK_SAMPLES


def test_what_is_lossless_is_not_divided() -> None:
    """RFC 9639 9.1.5: the frames of a stream are numbered from its first."""
    assert chunks_of(RUNGS["lossless"], 10 * CHUNK_SAMPLES) == (
        Chunk(first=0, stop=None, fed_from=0, fed_to=None),
    )
