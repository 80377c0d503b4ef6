"""One round as a rule; another where the plan was missed, or a coder has cut what is loud."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
import signals

from media_server.jobs import cage
from media_server.jobs.events import LadderMissed, Message, Planned, Remeasured, SegmentMade
from media_server.jobs.intent import intent_of
from media_server.jobs.rounds import make_ladder
from pipeline.album import Share
from pipeline.analyze import Analyzer
from pipeline.ladder import Ladder, ladder_for
from pipeline.media import Block
from pipeline.normalize import GainPlan


@pytest.fixture(autouse=True)
def _no_limit_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    # the CPU bound is the child's; set here, it would be the test runner's
    monkeypatch.setattr(cage, "allow_cpu", lambda _: None)


def made(pcm: signals.Pcm, mode: str, *names: str) -> tuple[list[Message], GainPlan, bool]:
    """What is told, the plan that it was made by, and whether that was missed."""
    analyzer, ladder = Analyzer(len(pcm)), ladder_for(len(pcm), names)
    for block in signals.blocks(pcm):
        analyzer.push(block)
    intent = intent_of(
        analyzer.result(),
        ladder,
        mode=mode,
        target_lufs=-14.0,
        ceiling_dbtp=-1.0,
        others=Share(),
        most_gain_db=None,
    )

    def opening(plan: GainPlan, ladder: Ladder) -> Iterator[Message]:
        yield intent.told(plan, ladder, ()), b""

    def track() -> Iterator[Block]:
        return iter(signals.blocks(pcm))

    rounds = make_ladder(ladder, intent, opening=opening, track=track, untouched=track, max_duration_s=60.0)
    told: list[Message] = []
    while True:
        try:
            told.append(next(rounds))
        except StopIteration as end:
            plan, missed = end.value
            return told, plan, missed


def plans(told: list[Message]) -> list[Planned]:
    return [event for event, _ in told if isinstance(event, Planned)]


def test_music_takes_one_round() -> None:
    told, plan, missed = made(signals.music(5.0), "track", "128k", "opus-128")
    [only] = plans(told)
    assert not missed
    assert not only.is_thorough
    assert only.gain_db == plan.gain_db
    assert {event.rendition for event, _ in told if isinstance(event, Remeasured)} == {"128k", "opus-128"}


def test_a_loud_tone_is_made_again_by_the_coder_that_searches() -> None:
    """A sine of 55 Hz at -1 dBFS, its level left as it is: AAC gives it back whole."""
    told, _, _ = made(signals.sine(55, 5.0, amplitude=0.891), "off", "128k", "320k", "opus-128")
    first, second = plans(told)
    assert (first.is_thorough, second.is_thorough) == (False, True)
    assert first.gain_db == second.gain_db == 0.0
    measured = [event for event, _ in told if isinstance(event, Remeasured)]
    before = {event.rendition: event.integrated_lufs for event in measured[:3]}
    after = {event.rendition: event.integrated_lufs for event in measured[3:]}
    assert before["320k"] < before["opus-128"] - 2.0
    assert after["128k"] == pytest.approx(after["opus-128"], abs=0.1)
    assert after["320k"] == pytest.approx(after["opus-128"], abs=0.1)


def test_between_two_rounds_it_is_said_that_the_first_was_missed() -> None:
    """Half a track below the absolute gate comes out louder than its plan, for there is less of it."""
    told, plan, missed = made(signals.steps([(-69.4, 2), (-71.5, 2)]), "track", "128k")
    kinds = [type(event) for event, _ in told if not isinstance(event, SegmentMade)]
    assert not missed
    assert plans(told)[-1].gain_db == plan.gain_db
    for before, after in pairwise(kinds):
        assert (after is Planned) == (before is LadderMissed)
    assert kinds.count(LadderMissed) == len(plans(told)) - 1 >= 1


def test_what_is_lossless_comes_last_and_once() -> None:
    told, _, _ = made(signals.sine(55, 5.0, amplitude=0.891), "off", "128k", "lossless")
    names = [event.rendition for event, _ in told if isinstance(event, SegmentMade)]
    assert names.count("lossless") == 2
    assert "128k" not in names[names.index("lossless") :]
