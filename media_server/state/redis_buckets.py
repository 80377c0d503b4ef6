"""The buckets that all processes with one REDIS_URL share, and what happens while that Redis is away.

Owns: the one question to Redis, its deadline, and the way back to this process's own buckets. Those are asked
first and keep count all the time: who has spent a budget here alone is refused without a question, so a flood
never reaches Redis, and an outage finds them as they should be.
Source: reliability F11: the limits fall to local buckets, never to none.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import Callable
from typing import Final

import structlog
from redis import exceptions
from redis.asyncio import Redis

from media_server.state.buckets import Budget, LocalBuckets
from media_server.state.redis import connection_pool

DEADLINE_S: Final = 0.05
"""What a listener may wait for the count; Redis answers in less than a thousandth of a second."""

ANSWER_S: Final = 1.0
"""What a question may last that nobody waits for any more: time enough for a new connection with TLS."""

RETRY_S: Final = 1.0
"""Between two questions while Redis is away; nobody waits for those."""

_TAKE: Final = """
local bucket, interval_us, burst = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
-- never fuller than full, also where the clock was put back
local full_at = math.min(tonumber(redis.call('GET', bucket) or now), now + burst * interval_us)
full_at = math.max(now, full_at)
local wait_us = full_at + interval_us - burst * interval_us - now
if wait_us > 0 then return wait_us end
full_at = full_at + interval_us
redis.call('SET', bucket, string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000))
return 0
"""
"""`media_server.state.buckets` in one step, by the clock of Redis. An answer is cut to whole microseconds."""

log = structlog.get_logger()


class RedisBuckets:
    """The shared buckets, with those of this process beneath them.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with the password.
        prefix: of all keys, as `RedisState` has it.
        deadline_s: how long a request waits for one answer, with everything before it.
        clock: seconds that never go back.
    Raises:
        ValueError: the URL is none of Redis.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "veza",
        deadline_s: float = DEADLINE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = Redis.from_pool(connection_pool(url))
        self._take = self._redis.register_script(_TAKE)
        self._prefix = f"{{{prefix}}}:bucket:"
        self._local = LocalBuckets(clock)
        self._deadline_s = deadline_s
        self._clock = clock
        self._questions: set[asyncio.Task[float | None]] = set()
        self._away = False
        self._ask_again_s = -math.inf

    async def close(self) -> None:
        """Close the connections."""
        for question in self._questions:
            question.cancel()
        await asyncio.gather(*self._questions, return_exceptions=True)
        await self._redis.aclose()

    async def take(self, name: str, budget: Budget) -> float:
        """Spend one request of `name`; 0 if it may be made, else the seconds until one may."""
        if (wait_s := self._local.wait(name, budget)) > 0:
            return wait_s
        if self._away:
            if self._clock() >= self._ask_again_s:
                self._ask_again_s = self._clock() + RETRY_S
                self._question(name, budget)
            return self._local.take_now(name, budget)
        question = self._question(name, budget)
        await asyncio.wait({question}, timeout=self._deadline_s)
        if not question.done():
            self._lost("TimeoutError")
        shared_wait_s = question.result() if question.done() else None
        if shared_wait_s is None:
            return self._local.take_now(name, budget)
        if shared_wait_s == 0:
            self._local.take_now(name, budget)
        return shared_wait_s

    def _question(self, name: str, budget: Budget) -> asyncio.Task[float | None]:
        """It goes on when nobody waits any more: the connection it makes is there for the next one."""
        question = asyncio.create_task(self._ask(name, budget, returning=self._away))
        self._questions.add(question)
        question.add_done_callback(self._questions.discard)
        return question

    async def _ask(self, name: str, budget: Budget, *, returning: bool) -> float | None:
        """What Redis says; None: nothing."""
        # neither an address nor a name is left where others may read, and every key is equally long
        key = self._prefix + hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
        interval_us = max(1, round(budget.interval_s * 1e6))
        asked_s = self._clock()
        try:
            async with asyncio.timeout(ANSWER_S):
                wait_us = int(await self._take(keys=(key,), args=(interval_us, budget.burst)))
        except (exceptions.RedisError, OSError, TimeoutError) as error:
            self._lost(type(error).__name__)
            return None
        # a slow answer is none; those asked before the outage do not end it
        if returning and self._away and self._clock() - asked_s <= self._deadline_s:
            self._away = False
            log.info("limits.redis_back")
        return wait_us / 1e6

    def _lost(self, error: str) -> None:
        """Count here from now on; `error` names a kind, whose words may hold what is secret."""
        self._ask_again_s = self._clock() + RETRY_S
        if not self._away:
            self._away = True
            log.warning("limits.redis_lost", error=error, counting="in this process alone")
