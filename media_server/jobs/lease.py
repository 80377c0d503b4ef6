"""Keeps a delivery's lease alive while its work goes on, and stops the work if the lease is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from media_server.broker.base import Delivery

Result = TypeVar("Result")

LEASE_S = 15.0
"""How long a job stays with a worker that says nothing; one whose process is dead loses it at once."""

RENEWALS_PER_LEASE = 3


LEASE_LOST = "lease_lost"
"""The code of the broker's refusal to whoever holds no lease any more."""


class LeaseLost(Exception):
    """Somebody else has the delivery now: stop, say nothing, change nothing."""


async def while_leased(
    delivery: Delivery, work: Coroutine[Any, Any, Result], lease_s: float = LEASE_S
) -> Result:
    """Do the work, renewing the lease as it goes.

    Raises:
        LeaseLost: and the work has been cancelled.
        Exception: what the work raised.
    """
    doing = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({doing}, timeout=lease_s / RENEWALS_PER_LEASE))[0]:
            if not await delivery.extend():
                raise LeaseLost
        return doing.result()
    finally:
        doing.cancel()
        await asyncio.gather(doing, return_exceptions=True)
