"""Lanes: in order within one, by rank between them, and an error goes to who asks for the result."""

from __future__ import annotations

import threading
from collections import defaultdict
from functools import partial

import pytest

from pipeline.lanes import Lane, Lanes


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_lane_does_its_work_in_order_and_one_thing_at_a_time(threads: int) -> None:
    done: dict[int, list[int]] = defaultdict(list)
    at_work: set[int] = set()

    def work(lane: int, number: int) -> int:
        assert lane not in at_work
        at_work.add(lane)
        done[lane].append(number)
        at_work.remove(lane)
        return lane * 1000 + number

    rows = [Lane(rank=0, place=place) for place in range(3)]
    with Lanes(threads) as lanes:
        futures = [
            lanes.submit(row, partial(work, row.place, number)) for number in range(200) for row in rows
        ]
        results = [future.result(10) for future in futures]
    assert results == [place * 1000 + number for number in range(200) for place in range(3)]
    assert all(numbers == list(range(200)) for numbers in done.values())


def test_a_lower_rank_goes_first_and_equals_take_turns() -> None:
    """What listeners wait for is the beginning of every rendition."""
    begun, order = threading.Event(), []
    with Lanes(1) as lanes:
        lanes.submit(Lane(rank=0, place=9), lambda: begun.wait(10))  # until all the others are there
        late, first, second = (
            Lane(rank=2, place=0),
            Lane(rank=1, place=0),
            Lane(rank=1, place=1),
        )
        names = {id(late): "late", id(first): "first", id(second): "second"}
        futures = [
            lanes.submit(lane, partial(order.append, names[id(lane)]))
            for lane in (late, first, first, second, second, late)
        ]
        begun.set()
        for future in futures:
            future.result(10)
    assert order == ["first", "second", "first", "second", "late", "late"]


def test_an_error_is_raised_where_the_result_is_asked_for() -> None:
    def fail() -> None:
        raise ValueError("broken")

    lane = Lane(rank=0, place=0)
    with Lanes(1) as lanes:
        failing, after = lanes.submit(lane, fail), lanes.submit(lane, lambda: 1)
        with pytest.raises(ValueError, match="broken"):
            failing.result(10)
        assert after.result(10) == 1


def test_leaving_ends_the_threads() -> None:
    before = threading.active_count()
    with Lanes(4) as lanes:
        for place in range(8):
            lanes.submit(Lane(rank=0, place=place), lambda: None)
    assert threading.active_count() == before


def test_what_is_done_leaves_nothing_behind() -> None:
    """A track of hours is done in a hundred thousand pieces; what waits is bounded by who submits."""
    lane = Lane(rank=0, place=0)
    with Lanes(1) as lanes:
        for _ in range(50):
            for future in [lanes.submit(lane, lambda: None) for _ in range(20)]:
                future.result(10)
        assert lanes._pool._work_queue.qsize() <= 1
        assert not lane.waiting
