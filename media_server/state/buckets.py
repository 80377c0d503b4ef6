"""Buckets that fill at a steady rate: how many requests one name may make, and when the next may come.

Owns: the arithmetic, and the buckets of one process. A bucket is one number, the moment when it is full
again; one that is full already is forgotten. They are lost with the process and hold nothing that must last.
Source: the generic cell rate algorithm of ITU-T I.371, in its form of a virtual schedule.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

MOST_NAMES: Final = 100_000
"""About 20 MB. Where more names than that come, those that have been quiet longest start anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """`burst` requests at once, and one more every `interval_s`."""

    interval_s: float
    burst: int

    @classmethod
    def of(cls, count: int, per_s: float, burst: int) -> Budget:
        """`count` requests in `per_s` seconds, and no more than `burst` of them at once; each at least 1."""
        return cls(interval_s=per_s / count, burst=burst)


class Buckets(Protocol):
    """Who counts."""

    async def take(self, name: str, budget: Budget) -> float:
        """Spend one request of `name`; 0 if it may be made, else the seconds until one may.

        One that is refused is not counted. It never raises and never waits long.
        """
        ...

    async def close(self) -> None:
        """Let go of what it holds; to be called any number of times."""
        ...


def wait_of(full_at_s: float, now_s: float, budget: Budget) -> float:
    """Seconds until the bucket gives one more; 0: it does now.

    Args:
        full_at_s: when the bucket is full again if nothing more is taken.
    """
    return max(0.0, full_at_s + budget.interval_s - budget.burst * budget.interval_s - now_s)


class LocalBuckets:
    """The buckets of this process.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, most_names: int = MOST_NAMES) -> None:
        self._clock = clock
        self._most_names = most_names
        self._full_at_s: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """How many names are remembered."""
        return len(self._full_at_s)

    async def take(self, name: str, budget: Budget) -> float:
        """Spend one request of `name`; 0 if it may be made, else the seconds until one may."""
        return self.take_now(name, budget)

    async def close(self) -> None:
        """Nothing is held open."""

    def take_now(self, name: str, budget: Budget) -> float:
        """As `take`, for who has nothing to wait for."""
        now_s = self._clock()
        full_at_s = max(now_s, self._full_at_s.get(name, now_s))
        # what a calculation in fractions leaves over must not refuse who came just in time
        if (wait_s := wait_of(full_at_s, now_s, budget)) > 1e-9:
            return wait_s
        self._full_at_s[name] = full_at_s + budget.interval_s
        self._full_at_s.move_to_end(name)
        self._forget(now_s)
        return 0.0

    def wait(self, name: str, budget: Budget) -> float:
        """What `take_now` would say, without spending anything."""
        now_s = self._clock()
        wait_s = wait_of(max(now_s, self._full_at_s.get(name, now_s)), now_s, budget)
        return wait_s if wait_s > 1e-9 else 0.0

    def _forget(self, now_s: float) -> None:
        """Two at most for each that is added: full buckets never pile up, and no request pays for all."""
        for _ in range(2):
            name, full_at_s = next(iter(self._full_at_s.items()))
            if full_at_s > now_s and len(self._full_at_s) <= self._most_names:
                return
            del self._full_at_s[name]
            if not self._full_at_s:
                return
