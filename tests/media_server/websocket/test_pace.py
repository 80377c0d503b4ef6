"""media_server/websocket/pace.py"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from media_server.websocket.pace import Pace


def test_some_may_come_at_once_then_one_each_interval() -> None:
    pace = Pace(per_s=20.0, at_once=3, now_s=0.0)
    assert [pace.allows(0.0) for _ in range(4)] == [True, True, True, False]
    assert [pace.allows(0.05), pace.allows(0.05)] == [True, False]


@given(st.lists(st.floats(0, 2), max_size=200))
def test_never_more_than_the_burst_and_the_rate_allow(gaps: list[float]) -> None:
    pace, now_s, allowed = Pace(per_s=5.0, at_once=4, now_s=0.0), 0.0, 0
    for gap in gaps:
        now_s += gap
        allowed += pace.allows(now_s)
    assert allowed <= 4 + 5 * now_s + 1e-6
