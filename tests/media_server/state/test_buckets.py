"""A bucket gives its burst at once and after that keeps the rate; time is a number that the tests move."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_server.state.buckets import Budget, LocalBuckets, wait_of

GUEST = Budget.of(100, 60.0, burst=20)


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def spent(buckets: LocalBuckets, name: str, budget: Budget, times: int) -> int:
    """How many of so many requests may be made."""
    return sum(buckets.take_now(name, budget) == 0 for _ in range(times))


def test_a_burst_may_be_made_at_once_and_no_more(clock: Clock) -> None:
    """contract, limits: 100/min (burst 20) without a token."""
    assert spent(LocalBuckets(clock), "a", GUEST, 25) == 20


def test_who_waits_as_told_may_go_on_and_who_comes_sooner_may_not(clock: Clock) -> None:
    buckets = LocalBuckets(clock)
    spent(buckets, "a", GUEST, 20)
    wait_s = buckets.take_now("a", GUEST)
    assert wait_s == pytest.approx(0.6)
    clock.now_s += wait_s - 0.001
    assert buckets.take_now("a", GUEST) > 0
    clock.now_s += 0.001
    assert buckets.take_now("a", GUEST) == 0


def test_a_refused_request_is_not_counted(clock: Clock) -> None:
    """Else who goes on asking would never be let in again."""
    buckets = LocalBuckets(clock)
    spent(buckets, "a", GUEST, 500)
    clock.now_s += 0.6
    assert buckets.take_now("a", GUEST) == 0


def test_looking_spends_nothing(clock: Clock) -> None:
    buckets = LocalBuckets(clock)
    assert [buckets.wait("a", GUEST) for _ in range(50)] == [0.0] * 50
    assert spent(buckets, "a", GUEST, 21) == 20
    assert buckets.wait("a", GUEST) == pytest.approx(0.6)


def test_names_do_not_share(clock: Clock) -> None:
    buckets = LocalBuckets(clock)
    spent(buckets, "a", GUEST, 21)
    assert spent(buckets, "b", GUEST, 21) == 20


@given(
    count=st.integers(1, 1000),
    burst=st.integers(1, 100),
    pauses_s=st.lists(st.floats(0, 30, allow_subnormal=False), min_size=1, max_size=300),
)
def test_no_window_holds_more_than_its_rate_and_a_burst(
    count: int, burst: int, pauses_s: list[float]
) -> None:
    clock, budget = Clock(), Budget.of(count, 60.0, burst=burst)
    buckets = LocalBuckets(clock)
    let_in = []
    for pause_s in pauses_s:
        clock.now_s += pause_s
        if buckets.take_now("a", budget) == 0:
            let_in.append(clock.now_s)
    for first, start_s in enumerate(let_in):
        for last in range(first, len(let_in)):
            assert last - first + 1 <= burst + (let_in[last] - start_s) / budget.interval_s + 1e-6


@given(st.floats(0, 1e6), st.integers(1, 1000), st.integers(1, 100))
def test_a_full_bucket_never_waits(now_s: float, count: int, burst: int) -> None:
    assert wait_of(now_s, now_s, Budget.of(count, 60.0, burst=burst)) < 1e-6


def test_full_buckets_are_forgotten(clock: Clock) -> None:
    """Addresses come and go for as long as a server runs."""
    buckets = LocalBuckets(clock)
    for number in range(1000):
        buckets.take_now(str(number), GUEST)
        clock.now_s += 0.6
    assert len(buckets) < 5


def test_a_flood_of_names_is_bounded_and_forgives_who_is_quiet(clock: Clock) -> None:
    buckets = LocalBuckets(clock, most_names=100)
    spent(buckets, "quiet", GUEST, 20)
    spent(buckets, "loud", GUEST, 19)
    for number in range(99):
        buckets.take_now(str(number), GUEST)
    assert buckets.take_now("loud", GUEST) == 0
    for number in range(100, 150):
        buckets.take_now(str(number), GUEST)
    assert len(buckets) == 100
    assert buckets.take_now("loud", GUEST) > 0
    assert buckets.take_now("quiet", GUEST) == 0


async def test_the_port_counts_as_the_process_does(clock: Clock) -> None:
    buckets = LocalBuckets(clock)
    assert [await buckets.take("a", GUEST) > 0 for _ in range(21)] == [False] * 20 + [True]
    await buckets.close()
    await buckets.close()
