"""The gain that a track is to have: its own, or its album's."""

from __future__ import annotations

import pytest
import signals

from media_server.jobs.intent import Intent, intent_of
from pipeline.album import Share
from pipeline.analyze import Analysis, Analyzer
from pipeline.ladder import ladder_for
from pipeline.normalize import lowered
from pipeline.programme import ABSOLUTE_GATE_LUFS, BINS_PER_LU, Programme
from pipeline.replaygain import FileLoudness

LOUD = Share(
    programme=Programme(((round((-10.0 - ABSOLUTE_GATE_LUFS) * BINS_PER_LU), 5_000),)),
    target_lufs=-14.0,
    true_peak_dbtp=-2.0,
    most_gain_db=1.0,
)
"""Eight minutes at -10 LUFS."""

LADDER = ladder_for(2, ("128k", "lossless"))


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    """A few quiet seconds."""
    analyzer = Analyzer(2)
    for block in signals.blocks(signals.music(2.0, peak=0.05)):
        analyzer.push(block)
    return analyzer.result()


def intended(analysis: Analysis, mode: str, others: Share) -> Intent:
    return intent_of(
        analysis,
        LADDER,
        mode=mode,
        target_lufs=-14.0,
        ceiling_dbtp=-1.0,
        others=others,
        most_gain_db=None,
    )


def test_in_mode_track_the_others_are_nothing_to_it(analysis: Analysis) -> None:
    intent = intended(analysis, "track", LOUD)
    assert intent.plan.planned_lufs == pytest.approx(-14.0)
    assert not intent.plan.is_shared
    assert intent.album is None
    assert intent.told(intent.plan, LADDER, ()).album is None


def test_in_mode_album_a_track_has_the_gain_of_all(analysis: Analysis) -> None:
    """The loud ones decide it, and how loud the album is is told."""
    intent = intended(analysis, "album", LOUD)
    assert intent.plan.gain_db == pytest.approx(-4.0, abs=0.06)
    assert intent.plan.planned_lufs == pytest.approx(analysis.loudness.integrated_lufs - 4.0, abs=0.06)
    told = intent.told(intent.plan, LADDER, ("silent",)).album
    assert told is not None
    assert told.integrated_lufs == pytest.approx(-10.0, abs=0.02)
    assert told.true_peak_dbtp == -2.0
    assert told.blocks == analysis.programme.blocks
    assert intent.album == FileLoudness(integrated_lufs=told.integrated_lufs, true_peak_dbtp=-2.0)


def test_alone_a_track_is_its_own_album(analysis: Analysis) -> None:
    """Within a step, and what two meters differ by."""
    alone, own = intended(analysis, "album", Share()), intended(analysis, "track", Share())
    assert alone.plan.gain_db == pytest.approx(own.plan.gain_db, abs=0.1)


def test_what_had_to_be_lowered_is_told_to_bear_no_more(analysis: Analysis) -> None:
    """So that the others come down as well; a gain that was kept says nothing of what it bears."""
    intent = intended(analysis, "album", LOUD)
    kept = intent.told(intent.plan, LADDER, ()).album
    assert kept.most_gain_db == intent.share.most_gain_db > intent.plan.gain_db
    less = lowered(intent.plan, 0.33)
    assert intent.told(less, LADDER, ()).album.most_gain_db == less.gain_db
    assert less.gain_db == pytest.approx(intent.plan.gain_db - 0.35)


@pytest.mark.parametrize(
    ("names", "begins"), [(("128k", "lossless"), ("128k",)), (("lossless",), ("lossless",))]
)
def test_what_is_lossless_begins_only_where_nothing_else_does(
    analysis: Analysis, names: tuple[str, ...], begins: tuple[str, ...]
) -> None:
    """It is made after the others, for which most listeners wait."""
    intent = intended(analysis, "track", Share())
    assert intent.told(intent.plan, ladder_for(2, names), ()).begins == begins
