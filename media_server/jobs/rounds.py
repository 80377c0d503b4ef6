"""The child's part in making a ladder: rounds, until every rendition sounds as it was planned.

One round is nearly always enough. What it made is decoded and measured again; where the plan was missed there
is another with a better one, and where the coder has cut what is loud, with a coder that searches.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Final

from media_server.jobs import cage
from media_server.jobs.events import LadderMissed, Message, Remeasured
from media_server.jobs.intent import Intent
from media_server.jobs.renditions import make_renditions
from pipeline.audit import is_faithful
from pipeline.fidelity import is_cut, thorough
from pipeline.ladder import Ladder
from pipeline.level import Level
from pipeline.media import Block
from pipeline.normalize import CodedLoudness, Gain, GainPlan, corrected, misses
from pipeline.plan import final

LOSSY_SHARE: Final = 0.9
"""Of the time that the default ladder and a lossless rendition take together."""

ROUNDS: Final = 4
"""What still misses after them is published with a warning.

At a corrected level a coder decides otherwise, and a peak may pass the ceiling once more; another coder may
need a plan of its own.
"""


def make_ladder(
    ladder: Ladder,
    intent: Intent,
    *,
    opening: Callable[[GainPlan, Ladder], Iterator[Message]],
    track: Callable[[], Iterator[Block]],
    untouched: Callable[[], Iterable[Block]],
    max_duration_s: float,
) -> Generator[Message, None, tuple[GainPlan, bool]]:
    """Every rendition; returns the plan they were made by, and whether one misses it all the same.

    Args:
        opening: what is told of a plan, and of the renditions it is for, before their segments.
        track: starts a pass over the source at 48 kHz, equalized.
        untouched: starts one over its samples as they are.
    """
    analysis = intent.analysis
    lossy = tuple(rendition for rendition in ladder if not rendition.codec.is_lossless)
    lossless = tuple(rendition for rendition in ladder if rendition.codec.is_lossless)
    until = LOSSY_SHARE if lossless else 1.0
    plan = final(intent.plan, analysis, lossy, track)
    for left in reversed(range(ROUNDS)):
        yield from opening(plan, (*lossy, *lossless))
        level = Level(plan, analysis.channels)
        coded = yield from make_renditions(track(), lossy, level, analysis.samples, (0.0, until))
        for name, measured in coded.items():
            yield _remeasured(name, measured), b""
        better = corrected(plan, _held_to_it(lossy, coded))
        if not left or not (is_cut(lossy, coded) or better):
            break
        yield LadderMissed(), b""
        cage.allow_cpu(max_duration_s)
        if is_cut(lossy, coded):
            lossy = thorough(lossy)
        elif better is not None:
            plan = final(better, analysis, lossy, track)
    # listeners wait for the others; it has the samples of the source as they are, whatever the plan
    span = (until if lossy else 0.0, 1.0)
    yield from make_renditions(iter(untouched()), lossless, Gain(0.0), analysis.samples, span)
    return plan, any(misses(plan, each) for each in _held_to_it(lossy, coded))


def _held_to_it(ladder: Ladder, coded: Mapping[str, CodedLoudness]) -> list[CodedLoudness]:
    """What was measured of the renditions that the plan must hold for."""
    return [coded[rung.name] for rung in ladder if rung.name in coded and is_faithful(rung)]


def _remeasured(rendition: str, coded: CodedLoudness) -> Remeasured:
    return Remeasured(
        rendition=rendition, integrated_lufs=coded.integrated_lufs, true_peak_dbtp=coded.true_peak_dbtp
    )
