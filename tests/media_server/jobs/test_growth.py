"""What there is of a version is shown early, in time, and never taken back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import presentations
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hls.asset import Asset
from media_server.jobs.growth import SHOW_EVERY_S, Growth

COMPLETE = presentations.song(60.0)


@dataclass(slots=True)
class Clock:
    """Monotonic seconds."""

    seconds: float = 100.0

    def __call__(self) -> float:
        return self.seconds


def grown(*segments: int) -> Asset:
    """A song with that many segments of each rendition."""
    return replace(
        COMPLETE,
        state="growing",
        renditions=tuple(
            replace(one, segments=one.segments[:count])
            for one, count in zip(COMPLETE.renditions, segments, strict=True)
        ),
    )


def test_a_first_version_is_shown_at_once() -> None:
    growth = Growth(None, Clock())
    assert growth.is_timely
    assert growth.shows(grown(1, 1, 1))
    assert not growth.has_begun


def test_a_complete_version_stays_until_another_is() -> None:
    """contract, storage: goes live only where the track has no complete version."""
    assert not Growth(COMPLETE, Clock()).is_timely


def test_more_of_it_is_shown_now_and_then() -> None:
    """Every two seconds, and less often where that takes long."""
    clock = Clock()
    growth = Growth(None, clock)
    growth.has_shown(grown(1, 1, 1), since_s=clock())
    assert growth.has_begun
    assert not growth.is_timely
    clock.seconds += SHOW_EVERY_S
    assert growth.is_timely
    assert not growth.shows(grown(1, 1, 1)), "nothing has come"
    assert growth.shows(grown(2, 1, 1))
    clock.seconds += 1.5
    growth.has_shown(grown(2, 1, 1), since_s=clock() - 1.5)
    clock.seconds += 14.9
    assert not growth.is_timely
    clock.seconds += 0.2
    assert growth.is_timely


@given(
    before=st.tuples(*[st.integers(1, 15)] * 3),
    now=st.tuples(*[st.integers(1, 15)] * 3),
)
def test_what_was_shown_never_gets_shorter(before: tuple[int, ...], now: tuple[int, ...]) -> None:
    """RFC 8216 6.2.1: an EVENT playlist is only appended to; here by an attempt after a crash."""
    growth = Growth(grown(*before), Clock())
    assert growth.shows(grown(*now)) == (
        now != before and all(n >= b for n, b in zip(now, before, strict=True))
    )


def test_another_version_takes_its_place() -> None:
    """The attempt before the crash planned another gain."""
    growth = Growth(replace(grown(9, 9, 9), version="fedcba9876543210"), Clock())
    assert not growth.shows(grown(9, 9, 8)), "not before it is as long"
    assert growth.shows(grown(9, 9, 9))


def test_nothing_grows_once_it_is_whole() -> None:
    clock = Clock()
    growth = Growth(None, clock)
    growth.has_shown(grown(1, 1, 1), since_s=clock())
    growth.end()
    clock.seconds += 1000
    assert not growth.is_timely
    assert not growth.has_begun


@pytest.mark.parametrize("live", [None, COMPLETE])
def test_of_what_nobody_has_seen_nothing_has_begun(live: Asset | None) -> None:
    assert not Growth(live, Clock()).has_begun
