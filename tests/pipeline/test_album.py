"""The one gain of an album: what decides it, and that it is a function of the tracks alone."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import signals
from hypothesis import given
from hypothesis import strategies as st

from pipeline.album import HIGHEST_TARGET_LUFS, Share, album_gain, merged, plan_of, share_of
from pipeline.analyze import Analysis, Analyzer
from pipeline.audit import Audit
from pipeline.encode import Encoder
from pipeline.ladder import ladder_for
from pipeline.level import Level
from pipeline.media import Block
from pipeline.normalize import STEP_DB, stepped
from pipeline.plan import final
from pipeline.programme import ABSOLUTE_GATE_LUFS, BINS, BINS_PER_LU, Programme

LADDER = ladder_for(2, ("128k",))


def at(lufs: float, blocks: int = 1_000) -> Programme:
    """A programme of one level, in the bin that ends there."""
    return Programme(((round((lufs - ABSOLUTE_GATE_LUFS) * BINS_PER_LU) - 1, blocks),))


def share(lufs: float | None, most_gain_db: float | None = 50.0, target_lufs: float = -14.0) -> Share:
    return Share(
        programme=Programme() if lufs is None else at(lufs),
        target_lufs=target_lufs,
        true_peak_dbtp=None if most_gain_db is None else -1.0 - most_gain_db,
        most_gain_db=most_gain_db,
    )


SHARES = st.builds(
    Share,
    programme=st.dictionaries(st.integers(0, BINS - 1), st.integers(1, 1_000), max_size=5).map(
        lambda blocks: Programme(tuple(sorted(blocks.items())))
    ),
    target_lufs=st.floats(-70, 0),
    true_peak_dbtp=st.none() | st.floats(-60, 6),
    most_gain_db=st.none() | st.floats(-20, 60),
)


def analysed(pcm: signals.Pcm) -> Analysis:
    analyzer = Analyzer(len(pcm))
    for block in signals.blocks(pcm):
        analyzer.push(block)
    return analyzer.result()


@pytest.mark.parametrize(
    ("shares", "gain_db", "reason"),
    [
        ([share(-20.0)], 6.0, "target"),
        ([share(-9.0)], -5.0, "target"),
        ([share(-20.0), share(-20.0)], 6.0, "target"),
        ([share(-20.0), share(-35.0)], 6.0, "target"),  # a quiet interlude is under the gate of the album
        ([share(-20.0), share(-23.0)], 7.25, "target"),  # -21.25 LUFS, the mean of their power
        ([share(-20.0, 2.0)], 2.0, "ceiling"),
        ([share(-20.0), share(-40.0, 1.5)], 1.5, "ceiling"),  # the smallest room counts, whoever has it
        ([share(-20.0, 2.03)], 2.0, "ceiling"),  # a step, never above what is borne
        ([share(-20.0, -3.01)], -3.05, "ceiling"),
        ([share(-20.0), share(-20.0, target_lufs=-16.0)], 4.0, "target"),  # the lowest wish
        ([share(None, None)], 0.0, "silence"),
        ([share(None, 3.0)], 0.0, "silence"),
        ([share(None, -2.0)], -2.0, "ceiling"),
        ([share(-20.0), share(None, None)], 6.0, "target"),
        (
            [share(-20.0), share(None, 1.0)],
            1.0,
            "ceiling",
        ),  # clicks have no loudness, but a peak
        ([], 0.0, "silence"),
    ],
)
def test_the_gain_brings_the_album_to_the_target_as_far_as_each_track_bears_it(
    shares: list[Share], gain_db: float, reason: str
) -> None:
    """ReplayGain album gain; EBU R 128: the maximum true peak of no track passes the ceiling."""
    gain = album_gain(merged(shares))
    assert (gain.gain_db, gain.reason) == (gain_db, reason)


@given(st.lists(SHARES, max_size=6), st.randoms())
def test_the_gain_is_a_function_of_the_tracks_alone(shares: list[Share], chance) -> None:
    """Whoever is made last, and whoever adds up: each of them comes to the same gain, to the bit."""
    shuffled = list(shares)
    chance.shuffle(shuffled)
    half = len(shares) // 2
    halves = merged([merged(shuffled[:half]), merged(shuffled[half:])])
    assert album_gain(halves) == album_gain(merged(shares))
    assert merged([*shares, Share()]) == merged(shares)


@given(st.lists(SHARES, min_size=1, max_size=6))
def test_the_gain_is_a_step_that_every_track_bears(shares: list[Share]) -> None:
    gain = album_gain(merged(shares))
    assert gain.gain_db / STEP_DB == pytest.approx(round(gain.gain_db / STEP_DB), abs=1e-6)
    for one in shares:
        assert one.most_gain_db is None or gain.gain_db <= one.most_gain_db + 1e-6
    if gain.integrated_lufs is not None:
        assert gain.integrated_lufs + gain.gain_db <= min(s.target_lufs for s in shares) + 1e-6


@given(st.lists(SHARES, min_size=1, max_size=6), st.floats(0.1, 5))
def test_a_track_that_bears_less_never_raises_the_gain(shares: list[Share], by_db: float) -> None:
    """What making a track shows can only lower the gain: makings come to an end."""
    before = album_gain(merged(shares)).gain_db
    weaker = shares[0].shown(before, before - by_db)
    after = album_gain(merged([weaker, *shares[1:]])).gain_db
    assert before - by_db - STEP_DB <= after <= before
    assert shares[0].shown(before, before) == shares[0]


def test_the_highest_target_is_no_wish() -> None:
    assert merged([]).target_lufs == HIGHEST_TARGET_LUFS == Share().target_lufs
    assert merged([Share(), share(-20.0)]) == share(-20.0)


def test_a_share_has_the_headroom_that_its_loudest_seconds_need() -> None:
    """Clipped noise comes up when it is coded: it bears less than its peak leaves, whatever the album is."""
    clipped = signals.noise(3.0, rms=0.5).clip(-0.5, 0.5)
    analysis = analysed(clipped)
    got = share_of(analysis, LADDER, target_lufs=-14.0, ceiling_dbtp=-1.0)
    nominal_db = -1.0 - analysis.true_peak_dbtp
    assert nominal_db - 3 < got.most_gain_db < nominal_db - 0.1
    assert got.programme == analysis.programme
    assert got.true_peak_dbtp == analysis.true_peak_dbtp
    gain = album_gain(merged([got, share(-30.0)]))
    plan = final(plan_of(gain, analysis, target_lufs=-14.0, ceiling_dbtp=-1.0), analysis, LADDER, list)
    assert plan.gain_db == gain.gain_db
    audited = _coded_peak_dbtp(clipped, plan)
    assert audited <= -1.0


def _coded_peak_dbtp(pcm: signals.Pcm, plan) -> float:
    level, encoder = Level(plan, 2), Encoder(LADDER[0])
    blocks = [out for block in signals.blocks(pcm) for out in level.push(block)]
    packets = [packet for block in blocks for packet in encoder.push(block)] + encoder.flush()
    audit = Audit(encoder.rendition, encoder.codec_config)
    audit.push(packets)
    return audit.result().true_peak_dbtp


def test_what_a_track_was_seen_to_bear_before_it_bears_no_more_of() -> None:
    analysis = analysed(signals.music(2.0))
    fresh = share_of(analysis, LADDER, target_lufs=-14.0, ceiling_dbtp=-1.0)
    lower = share_of(analysis, LADDER, target_lufs=-14.0, ceiling_dbtp=-1.0, most_gain_db=-7.5)
    higher = share_of(analysis, LADDER, target_lufs=-14.0, ceiling_dbtp=-1.0, most_gain_db=30.0)
    assert lower == replace(fresh, most_gain_db=-7.5)
    assert higher == fresh


def test_digital_silence_bears_any_gain() -> None:
    got = share_of(analysed(signals.silence(1.0)), LADDER, target_lufs=-14.0, ceiling_dbtp=-1.0)
    assert (got.most_gain_db, got.true_peak_dbtp, got.programme) == (None, None, Programme())


def test_a_track_stays_as_far_from_its_album_as_it_is() -> None:
    """Planned: its own loudness with the album's gain; the target is the album's, not the track's."""
    quiet = analysed(signals.music(3.0, peak=0.1))
    gain = album_gain(merged([share(-20.0)]))
    plan = plan_of(gain, quiet, target_lufs=-14.0, ceiling_dbtp=-1.0)
    assert plan.planned_lufs == pytest.approx(quiet.loudness.integrated_lufs + 6.0)
    assert math.isclose(plan.gain_db, 6.0)
    assert plan.is_shared
    blank = analysed(signals.silence(1.0))
    assert plan_of(gain, blank, target_lufs=-14.0, ceiling_dbtp=-1.0).planned_lufs is None


def test_a_block_above_every_bin_counts_in_the_last() -> None:
    meter = Analyzer(1)
    meter.push(Block(pts=0, pcm=signals.sine(1_000, 1.0, amplitude=1e4, channels=1)))
    analysis = meter.result()
    [(last, count)] = analysis.programme.blocks
    assert last == BINS - 1
    assert count > 0
    assert analysis.levels.integrated_lufs == pytest.approx(77.0, abs=0.1)


@given(st.lists(st.tuples(SHARES, st.floats(0, 3)), min_size=1, max_size=8))
def test_an_album_is_settled_after_as_many_rounds_as_it_has_tracks(
    tracks: list[tuple[Share, float]],
) -> None:
    """However much less each bears than its trial said: each round but the last finds one out."""
    shares = [share for share, _ in tracks]
    bears = [
        math.inf if share.most_gain_db is None else stepped(share.most_gain_db - less)
        for share, less in tracks
    ]
    for _ in range(len(tracks) + 1):
        gain_db = album_gain(merged(shares)).gain_db
        made = [min(gain_db, real_db) for real_db in bears]
        shares = [share.shown(gain_db, made_db) for share, made_db in zip(shares, made, strict=True)]
        if album_gain(merged(shares)).gain_db == gain_db:
            break
    assert set(made) == {gain_db}
