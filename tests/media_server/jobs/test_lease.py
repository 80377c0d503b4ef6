"""Work goes on only while its lease holds."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest

from media_server.broker.local import LocalBroker
from media_server.broker.owner import Owner
from media_server.database import Database
from media_server.jobs.lease import LeaseLost, while_leased


async def test_the_result_comes_back(embedded) -> None:
    delivery = await embedded.deliver(embedded.upload(b"x"))

    async def work() -> int:
        return 7

    assert await while_leased(delivery, work()) == 7


async def test_the_error_of_the_work_comes_back(embedded) -> None:
    delivery = await embedded.deliver(embedded.upload(b"x"))

    async def work() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError):
        await while_leased(delivery, work())


async def test_a_lost_lease_ends_the_work(embedded) -> None:
    """reliability.md fact 8: one lease a track; the loser stops and changes nothing."""
    delivery = await embedded.deliver(embedded.upload(b"x"))
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    await delivery.release()
    with pytest.raises(LeaseLost):
        await while_leased(delivery, work(), lease_s=0.03)
    assert ended.is_set()


async def test_work_that_outlasts_its_lease_keeps_it(embedded) -> None:
    """Renewed as it goes: on a clock that runs past three leases nobody else gets the delivery."""
    clock = [1_000.0]
    owners = [Owner(embedded.folders.owners) for _ in range(2)]
    database = Database(embedded.folders.data_dir / "leases.sqlite3")
    ours, theirs = (LocalBroker(database, lease_s=15, owner=owner, now=lambda: clock[0]) for owner in owners)
    await ours.publish("job", "track", b"")
    delivery = await ours.receive()

    def leased_until(connection: sqlite3.Connection) -> float:
        return float(connection.execute("SELECT leased_until FROM deliveries").fetchone()[0])

    async def work() -> list[object]:
        seen = []
        for _ in range(4):
            clock[0] += 12
            while await database.read(leased_until) < clock[0] + 15:  # noqa: ASYNC110 - a row has no event
                await asyncio.sleep(0)
            seen.append(await theirs.receive())
        return seen

    async with asyncio.timeout(30):
        assert await while_leased(delivery, work(), lease_s=0.03) == [None] * 4
    await database.close()
    for owner in owners:
        owner.close()


async def test_whoever_is_cancelled_takes_the_work_along(embedded) -> None:
    delivery = await embedded.deliver(embedded.upload(b"x"))
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    leased = asyncio.create_task(while_leased(delivery, work()))
    await begun.wait()
    leased.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leased
    assert ended.is_set()
