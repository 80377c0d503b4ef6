"""Buckets that several servers share, and what is left of them while their Redis is gone, frozen or full.

Source: reliability F11: the limits fall to local buckets, never to none, and nobody waits for Redis.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from redis import Redis
from servers.redis import NotInstalledError, PrivateRedis
from structlog.testing import capture_logs

from media_server.state.buckets import Budget
from media_server.state.redis_buckets import DEADLINE_S, RETRY_S, RedisBuckets

GUEST = Budget.of(100, 60.0, burst=20)
SLOW = Budget.of(1, 3600.0, burst=20)
"""Gives nothing back within a test, however slow the machine is."""

PATIENT_S = 20.0
"""A deadline that a busy machine keeps."""

WITHIN_S = 10.0


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


Connect = Callable[..., RedisBuckets]


@pytest.fixture(scope="module")
def program() -> Iterator[PrivateRedis]:
    try:
        server = PrivateRedis()
    except NotInstalledError as error:
        pytest.skip(str(error))
    with server:
        yield server


@pytest.fixture
def redis(program: PrivateRedis) -> Iterator[PrivateRedis]:
    """A server that runs and is empty; a test may do to it what it likes."""
    program.resume()
    program.restart()
    yield program
    program.resume()


@pytest.fixture
async def connect(redis: PrivateRedis) -> AsyncIterator[Connect]:
    """One more server with the same Redis."""
    async with AsyncExitStack() as opened:

        def connect(clock: Callable[[], float] = time.monotonic, **options: float) -> RedisBuckets:
            buckets = RedisBuckets(redis.url, clock=clock, **{"deadline_s": PATIENT_S, **options})  # type: ignore[arg-type]
            opened.push_async_callback(buckets.close)
            return buckets

        yield connect


async def spent(buckets: RedisBuckets, budget: Budget, times: int, name: str = "a") -> int:
    """How many of so many requests may be made."""
    return sum([await buckets.take(name, budget) == 0 for _ in range(times)])


async def test_two_servers_share_one_budget(connect: Connect) -> None:
    """requirements D6: shared through Redis."""
    one, other = connect(), connect()
    let_in = [await buckets.take("a", SLOW) == 0 for _ in range(15) for buckets in (one, other)]
    assert let_in == [True] * 20 + [False] * 10
    assert await one.take("b", SLOW) == 0


async def test_requests_at_the_same_moment_spend_no_more_than_the_burst(connect: Connect) -> None:
    one, other = connect(), connect()
    waits_s = await asyncio.gather(*(buckets.take("a", SLOW) for _ in range(30) for buckets in (one, other)))
    assert sum(wait_s == 0 for wait_s in waits_s) == 20


async def test_who_is_refused_elsewhere_is_told_when_to_come_again(connect: Connect) -> None:
    one, other = connect(), connect()
    assert await spent(one, SLOW, 20) == 20
    assert 3500 < await other.take("a", SLOW) <= 3600


async def test_what_is_kept_names_nobody_and_goes_when_the_bucket_is_full(
    redis: PrivateRedis, connect: Connect
) -> None:
    await spent(connect(), GUEST, 3, name="guest address 203.0.113.9")
    with Redis.from_url(redis.url) as client:
        [key] = client.keys("*")
        assert key.startswith(b"{veza}:bucket:")
        assert b"203.0.113.9" not in key
        assert 0 < client.pttl(key) <= 1800


async def test_a_clock_of_redis_that_went_back_shuts_nobody_out(
    redis: PrivateRedis, connect: Connect
) -> None:
    """reliability F17: a bucket from the future counts as an empty one, not as one for an hour."""
    buckets = connect()
    await buckets.take("a", GUEST)
    with Redis.from_url(redis.url) as client:
        [key] = client.keys("*")
        client.set(key, 4_000_000_000_000_000)
    assert 0 < await buckets.take("a", GUEST) <= 0.6


@pytest.mark.parametrize("end", ["kill", "pause"])
async def test_without_redis_each_server_goes_on_counting_at_once(
    redis: PrivateRedis, connect: Connect, end: str
) -> None:
    buckets = connect(deadline_s=DEADLINE_S) if end == "pause" else connect()
    assert await spent(buckets, SLOW, 5) == 5
    getattr(redis, end)()
    with capture_logs() as logged:
        # it has counted along, so an outage is no second burst
        assert await spent(buckets, SLOW, 30) == 15
    assert [line["event"] for line in logged] == ["limits.redis_lost"]


async def test_while_redis_is_frozen_only_the_first_request_waits_for_it(
    redis: PrivateRedis, connect: Connect
) -> None:
    """reliability F11: no request waits longer than the deadline, and of an outage only those who find it."""
    clock = Clock()
    buckets = connect(clock, deadline_s=DEADLINE_S)
    await buckets.take("a", SLOW)
    redis.pause()
    await buckets.take("a", SLOW)
    asked = asyncio.get_running_loop().create_task(spent(buckets, SLOW, 10))
    await asyncio.sleep(0)  # one turn of the loop: none of the ten waits for anything
    assert asked.done()
    assert await asked == 10
    clock.now_s += RETRY_S
    probing = asyncio.get_running_loop().create_task(buckets.take("a", SLOW))
    await asyncio.sleep(0)
    assert probing.done()
    assert await probing == 0


async def test_a_redis_that_is_back_is_shared_again(redis: PrivateRedis, connect: Connect) -> None:
    clock = Clock()
    buckets, other = connect(clock), connect()
    redis.kill()
    with capture_logs() as logged:
        await buckets.take("a", SLOW)
        redis.start()
        clock.now_s += RETRY_S
        await buckets.take("a", SLOW)
        async with asyncio.timeout(WITHIN_S):
            while len(logged) < 2:
                await other.take("meanwhile", GUEST)
    assert [line["event"] for line in logged] == ["limits.redis_lost", "limits.redis_back"]
    assert await spent(buckets, SLOW, 20, name="b") == 20
    assert await other.take("b", SLOW) > 0


@pytest.mark.parametrize("option", [("maxmemory", "1"), ("min-replicas-to-write", "1")])
async def test_a_redis_that_takes_no_writes_counts_as_gone(
    redis: PrivateRedis, connect: Connect, option: tuple[str, str]
) -> None:
    buckets = connect()
    with Redis.from_url(redis.url) as client, capture_logs() as logged:
        client.config_set(*option)
        assert await spent(buckets, SLOW, 30) == 20
    assert [line["event"] for line in logged] == ["limits.redis_lost"]


async def test_closing_while_redis_hangs_is_quick_and_may_be_repeated(redis: PrivateRedis) -> None:
    buckets = RedisBuckets(redis.url)
    redis.pause()
    await buckets.take("a", SLOW)
    await buckets.close()
    await buckets.close()
