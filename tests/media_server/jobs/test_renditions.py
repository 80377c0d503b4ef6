"""One pass over a track: segments out, in their turn, and what they measure."""

from __future__ import annotations

import pytest
import signals

from media_server.jobs.events import Initialised, Message, Progress, SegmentMade
from media_server.jobs.renditions import make_renditions
from pipeline.ladder import Ladder, ladder_for
from pipeline.normalize import CodedLoudness, Gain

DURATION_S = 6.0
"""Two segments."""

SAMPLES = 288_000


def made(
    ladder: Ladder, span: tuple[float, float] = (0.0, 1.0)
) -> tuple[list[Message], dict[str, CodedLoudness]]:
    """All that a pass over a sine of -20 dBFS tells, and what it returns."""
    blocks = iter(signals.blocks(signals.sine(997, DURATION_S, amplitude=0.1)))
    passing, told = make_renditions(blocks, ladder, Gain(-6.0), SAMPLES, span), []
    while True:
        try:
            told.append(next(passing))
        except StopIteration as end:
            return told, end.value


def test_every_rendition_is_cut_told_and_measured() -> None:
    """The sum of the segments less the priming is the track; the level is on all of it."""
    told, measured = made(ladder_for(2, ("128k", "opus-128")))
    assert [*measured] == ["128k", "opus-128"]
    for name, coded in measured.items():
        [init] = [event for event, _ in told if isinstance(event, Initialised) and event.rendition == name]
        segments = [event for event, _ in told if isinstance(event, SegmentMade) and event.rendition == name]
        assert [segment.number for segment in segments] == [0, 1]
        assert sum(segment.duration for segment in segments) - init.priming_samples == SAMPLES
        # BS.1770-5 Annex 1: in both channels, 997 Hz at 0 dBFS is 0.0 LUFS
        assert coded.integrated_lufs == pytest.approx(-26.0, abs=0.1)


def test_the_progress_of_a_pass_is_its_part_of_the_stage() -> None:
    told, _ = made(ladder_for(2, ("128k",)), (0.25, 0.5))
    fractions = [event.fraction for event, _ in told if isinstance(event, Progress)]
    assert fractions == sorted(set(fractions))
    assert (fractions[0] > 0.25, fractions[-1] <= 0.5, len(fractions) > 5) == (True, True, True)


def test_of_no_rendition_no_pass_is_made() -> None:
    """A ladder may be of lossless renditions alone, or have none."""
    assert made(()) == ([], {})
