"""One at a time changes what is live of a track: a job that publishes, a change of its data, a deletion.

A lease of a moment, apart from the lease that a job holds on its track for minutes: a track that is made
anew can be made private meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from media_server.broker.base import Locks
from media_server.errors import Unavailable

HELD_S: Final = 15.0
"""Far above the few requests to the storage that are made under it."""

WAIT_S: Final = 20.0
"""Longer than whoever died while holding it can hold it."""

LOOK_AGAIN_S: Final = 0.1


@asynccontextmanager
async def pointer_held(locks: Locks, track_id: str) -> AsyncIterator[None]:
    """Inside, nobody else changes the pointer of the track.

    Raises:
        Unavailable: `pointer_busy`, or the state is out of reach.
    """
    name = f"pointer:{track_id}"
    fence = await _acquired(locks, name)
    try:
        yield
    finally:
        with contextlib.suppress(Unavailable):  # it runs out
            await locks.release(name, fence)


async def _acquired(locks: Locks, name: str) -> int:
    try:
        async with asyncio.timeout(WAIT_S):
            while (fence := await locks.acquire(name, HELD_S)) is None:  # noqa: ASYNC110 - others hold it
                await asyncio.sleep(LOOK_AGAIN_S * random.random())  # noqa: S311 - jitter, not a secret
            return fence
    except TimeoutError:
        raise Unavailable("pointer_busy", f"others change the track for longer than {WAIT_S:g} s") from None
