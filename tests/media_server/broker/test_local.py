"""The embedded queue: who receives what, when, and what becomes of a message whose receiver is gone."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from media_server.broker.base import Callback, Delivery, OutboxCounts, ParkedMessage
from media_server.broker.local import LocalBroker, LocalDelivery
from media_server.broker.outbox import LocalOutbox
from media_server.broker.owner import Owner
from media_server.database import Database
from media_server.errors import Conflict

if TYPE_CHECKING:
    from conftest import Clock

LEASE_S = 15.0


async def received(broker: LocalBroker) -> Delivery:
    delivery = await broker.receive()
    assert delivery is not None
    return delivery


async def test_a_message_is_received_as_it_was_published(broker: LocalBroker) -> None:
    assert await broker.publish("job", "track", b"body")
    delivery = await received(broker)
    assert (delivery.job_id, delivery.track_id, delivery.body) == ("job", "track", b"body")
    assert delivery.attempt == 1


async def test_an_empty_queue_gives_nothing(broker: LocalBroker) -> None:
    assert await broker.receive() is None


async def test_a_job_is_queued_once(broker: LocalBroker) -> None:
    """F7: a message that comes twice is the same job."""
    assert await broker.publish("job", "track", b"first")
    assert not await broker.publish("job", "track", b"second")
    delivery = await received(broker)
    assert delivery.body == b"first"
    assert not await broker.publish("job", "track", b"third")
    await delivery.ack()
    assert await broker.receive() is None
    assert await broker.publish("job", "track", b"again")


async def test_the_oldest_comes_first_even_if_the_clock_goes_back(broker: LocalBroker, clock: Clock) -> None:
    """F17: jump back 1 h."""
    await broker.publish("first", "a", b"")
    clock.seconds -= 3600
    await broker.publish("second", "b", b"")
    clock.seconds += 3600
    assert [(await received(broker)).job_id, (await received(broker)).job_id] == ["first", "second"]


async def test_a_track_is_out_once_at_a_time(broker: LocalBroker, other_broker: LocalBroker) -> None:
    for job_id, track_id in [("a1", "a"), ("a2", "a"), ("b1", "b")]:
        await broker.publish(job_id, track_id, b"")
    first = await received(broker)
    assert first.job_id == "a1"
    assert (await received(other_broker)).job_id == "b1"
    assert await other_broker.receive() is None
    await first.ack()
    assert (await received(other_broker)).job_id == "a2"


async def test_a_delayed_message_waits_until_it_is_due(broker: LocalBroker, clock: Clock) -> None:
    await broker.publish("late", "a", b"", delay_s=10)
    await broker.publish("soon", "b", b"")
    assert (await received(broker)).job_id == "soon"
    assert await broker.receive() is None
    clock.seconds += 10
    assert (await received(broker)).job_id == "late"


async def test_a_retry_comes_after_its_delay_and_counts(broker: LocalBroker, clock: Clock) -> None:
    await broker.publish("job", "track", b"")
    await (await received(broker)).retry(30)
    clock.seconds += 29
    assert await broker.receive() is None
    clock.seconds += 1
    assert (await received(broker)).attempt == 2


async def test_a_released_message_comes_at_once_and_the_attempt_does_not_count(broker: LocalBroker) -> None:
    """F18: release, attempt not counted."""
    await broker.publish("job", "track", b"")
    await (await received(broker)).release()
    assert (await received(broker)).attempt == 1


async def test_fences_rise_with_every_receive(broker: LocalBroker) -> None:
    await broker.publish("a", "a", b"")
    await broker.publish("b", "b", b"")
    first = await received(broker)
    await first.release()
    again = await received(broker)
    assert first.fence < again.fence < (await received(broker)).fence


async def test_a_lease_runs_out(broker: LocalBroker, other_broker: LocalBroker, clock: Clock) -> None:
    await broker.publish("job", "track", b"")
    await received(broker)
    clock.seconds += LEASE_S - 0.1
    assert await other_broker.receive() is None
    clock.seconds += 0.1
    assert (await received(other_broker)).attempt == 2


async def test_an_extended_lease_lasts_from_then_on(
    broker: LocalBroker, other_broker: LocalBroker, clock: Clock
) -> None:
    await broker.publish("job", "track", b"")
    delivery = await received(broker)
    clock.seconds += LEASE_S - 1
    assert await delivery.extend()
    clock.seconds += LEASE_S - 1
    assert await other_broker.receive() is None
    assert await delivery.is_current()
    clock.seconds += 1
    assert await other_broker.receive() is not None


@pytest.mark.parametrize(
    "end",
    [
        lambda delivery: delivery.ack(Callback(job_id="job", track_id="track", body={})),
        lambda delivery: delivery.park("why"),
        lambda delivery: delivery.retry(0),
        lambda delivery: delivery.release(),
    ],
    ids=["ack", "park", "retry", "release"],
)
async def test_whoever_lost_the_lease_changes_nothing(
    end: Callable[[Delivery], Awaitable[None]],
    broker: LocalBroker,
    other_broker: LocalBroker,
    outbox: LocalOutbox,
    clock: Clock,
) -> None:
    """Fact 8: the late ack fails, the message is somebody else's."""
    await broker.publish("job", "track", b"")
    late = await received(broker)
    clock.seconds += LEASE_S
    current = await received(other_broker)
    with pytest.raises(Conflict) as caught:
        await end(late)
    assert caught.value.code == "lease_lost"
    assert not await late.extend()
    assert not await late.is_current()
    assert await current.is_current()
    assert await outbox.counts() == OutboxCounts(0, 0)
    assert await broker.parked() == []
    await current.ack()


async def test_a_lease_that_ran_out_and_that_nobody_took_still_ends_the_job(
    broker: LocalBroker, clock: Clock
) -> None:
    """Work that was done is not thrown away for a pause that harmed nobody."""
    await broker.publish("job", "track", b"")
    delivery = await received(broker)
    clock.seconds += 10 * LEASE_S
    await delivery.ack()
    assert await broker.receive() is None


@pytest.mark.parametrize(
    "end",
    [LocalDelivery.ack, LocalDelivery.release, lambda delivery: delivery.retry(0)],
    ids=["ack", "release", "retry"],
)
async def test_a_delivery_ends_once(end: Callable[[Delivery], Awaitable[None]], broker: LocalBroker) -> None:
    await broker.publish("job", "track", b"")
    delivery = await received(broker)
    await end(delivery)
    with pytest.raises(Conflict):
        await delivery.ack()
    assert not await delivery.is_current()


async def test_the_callback_is_in_the_outbox_when_the_message_is_gone(
    broker: LocalBroker, outbox: LocalOutbox
) -> None:
    """I1: both or neither."""
    await broker.publish("job", "track", b"")
    delivery = await received(broker)
    with pytest.raises(TypeError):
        await delivery.ack(Callback(job_id="job", track_id="track", body={"unwritable": object()}))
    assert await delivery.is_current()
    await delivery.ack(Callback(job_id="job", track_id="track", body={"status": "completed"}))
    assert await outbox.counts() == OutboxCounts(1, 0)


async def test_a_parked_message_leaves_the_queue_and_stays_visible(
    broker: LocalBroker, outbox: LocalOutbox, clock: Clock
) -> None:
    await broker.publish("job", "track", b"body")
    callback = Callback(job_id="job", track_id="track", body={"status": "failed"})
    await (await received(broker)).park("given up", callback)
    assert await broker.receive() is None
    assert (await outbox.counts()).pending == 1
    [copy] = await broker.parked()
    assert copy == ParkedMessage(
        job_id="job", track_id="track", parked_at=clock(), attempt=1, reason="given up", body=b"body"
    )


async def test_a_job_is_parked_once_as_it_was_parked_last(broker: LocalBroker) -> None:
    for reason in ("first", "second"):
        await broker.publish("job", "track", reason.encode())
        await (await received(broker)).park(reason)
    assert [(copy.reason, copy.body) for copy in await broker.parked()] == [("second", b"second")]


async def test_the_leases_of_a_dead_owner_are_free_at_once(
    broker: LocalBroker, other_broker: LocalBroker, owner: Owner
) -> None:
    await broker.publish("job", "track", b"")
    await received(broker)
    assert await other_broker.receive() is None
    owner.close()
    assert (await received(other_broker)).attempt == 2


async def test_depth_counts_what_waits_and_how_long(
    broker: LocalBroker, other_broker: LocalBroker, owner: Owner, clock: Clock
) -> None:
    assert (await broker.depth()).waiting == 0
    assert (await broker.depth()).oldest_s is None
    await broker.publish("a", "a", b"")
    clock.seconds += 5
    await broker.publish("b", "b", b"", delay_s=60)
    clock.seconds += 2
    depth = await broker.depth()
    assert (depth.waiting, depth.oldest_s) == (2, 7.0)
    await received(broker)
    depth = await broker.depth()
    assert (depth.waiting, depth.oldest_s) == (1, 2.0)
    owner.close()
    assert (await other_broker.depth()).waiting == 2
    clock.seconds -= 3600
    assert (await other_broker.depth()).oldest_s == 0.0


async def test_withdrawing_a_track_leaves_what_is_worked_on(broker: LocalBroker) -> None:
    for job_id, track_id in [("a1", "a"), ("a2", "a"), ("b1", "b")]:
        await broker.publish(job_id, track_id, b"")
    delivery = await received(broker)
    assert await broker.withdraw("a") == 1
    await delivery.ack()
    assert (await received(broker)).job_id == "b1"


async def test_a_cancelled_receive_leaves_the_queue_as_it_was(broker: LocalBroker) -> None:
    await broker.publish("job", "track", b"")
    receiving = asyncio.create_task(broker.receive())
    await asyncio.sleep(0)  # it is in the database's thread now
    receiving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    assert (await received(broker)).attempt == 1


async def test_a_publish_wakes_who_waits(broker: LocalBroker) -> None:
    assert await broker.receive() is None
    waiting = asyncio.create_task(broker.wait(60))
    await broker.publish("job", "track", b"")
    await asyncio.wait_for(waiting, 5)


async def test_a_publish_between_the_look_and_the_wait_is_not_missed(broker: LocalBroker) -> None:
    assert await broker.receive() is None
    await broker.publish("job", "track", b"")
    await asyncio.wait_for(broker.wait(60), 5)


async def test_one_who_was_about_to_wait_is_told_of_the_second_message(broker: LocalBroker) -> None:
    assert await broker.receive() is None
    await broker.publish("a", "a", b"")
    await broker.publish("b", "b", b"")
    await received(broker)  # by another lane
    await asyncio.wait_for(broker.wait(60), 5)


async def test_nobody_is_woken_by_what_was_looked_at_already(broker: LocalBroker) -> None:
    await broker.publish("job", "track", b"")
    await received(broker)
    assert await broker.receive() is None
    waiting = asyncio.create_task(broker.wait(60))
    await asyncio.wait({waiting}, timeout=0.02)
    assert not waiting.done()
    waiting.cancel()


async def test_two_that_wait_get_two_messages(broker: LocalBroker) -> None:
    """The one that wakes first does not leave the other asleep."""

    async def lane() -> str:
        while (delivery := await broker.receive()) is None:
            await broker.wait(60)
        return delivery.job_id

    async with asyncio.timeout(5):
        lanes = [asyncio.create_task(lane()), asyncio.create_task(lane())]
        await asyncio.sleep(0)
        await broker.publish("a", "a", b"")
        await broker.publish("b", "b", b"")
        assert sorted(await asyncio.gather(*lanes)) == ["a", "b"]


async def test_the_end_of_a_delivery_wakes_who_waits_for_its_track(broker: LocalBroker) -> None:
    await broker.publish("a1", "a", b"")
    await broker.publish("a2", "a", b"")
    delivery = await received(broker)
    assert await broker.receive() is None
    waiting = asyncio.create_task(broker.wait(60))
    await delivery.ack()
    await asyncio.wait_for(waiting, 5)


async def test_a_wait_ends_by_itself(broker: LocalBroker) -> None:
    await broker.wait(0.001)


RECEIVE_AND_HOLD = """
import asyncio, sys
from pathlib import Path
from media_server.broker.local import LocalBroker, LocalDelivery
from media_server.broker.owner import Owner
from media_server.database import Database

folder, now = Path(sys.argv[1]), float(sys.argv[2])

async def main():
    database = Database(folder / "db.sqlite3")
    broker = LocalBroker(database, lease_s=15, owner=Owner(folder / "owners"), now=lambda: now)
    delivery = await broker.receive()
    print(delivery.job_id, delivery.attempt, delivery.fence, flush=True)
    sys.stdin.read()

asyncio.run(main())
"""

DRAIN = """
import asyncio, sys
from pathlib import Path
from media_server.broker.local import LocalBroker, LocalDelivery
from media_server.broker.base import Callback
from media_server.broker.owner import Owner
from media_server.database import Database

folder, now = Path(sys.argv[1]), float(sys.argv[2])

async def main():
    database = Database(folder / "db.sqlite3")
    owner = Owner(folder / "owners")
    broker = LocalBroker(database, lease_s=15, owner=owner, now=lambda: now)
    print("ready", flush=True)
    sys.stdin.readline()
    while (delivery := await broker.receive()) is not None:
        print(delivery.job_id, flush=True)
        await delivery.ack(Callback(job_id=delivery.job_id, track_id=delivery.track_id, body={}))
    await database.close()
    owner.close()

asyncio.run(main())
"""


def start(program: str, folder: Path, now: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, str(folder), str(now)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


async def test_a_killed_receiver_s_message_is_received_at_once(
    broker: LocalBroker, tmp_path: Path, clock: Clock
) -> None:
    """F1: kill -9 after receive; the clock stands still, so no lease runs out."""
    await broker.publish("job", "track", b"")
    with start(RECEIVE_AND_HOLD, tmp_path, clock()) as process:
        assert process.stdout is not None
        job_id, attempt, fence = process.stdout.readline().split()
        assert (job_id, attempt) == ("job", "1")
        assert await broker.receive() is None
        process.kill()
        process.wait(10)
    delivery = await received(broker)
    assert delivery.attempt == 2
    assert delivery.fence > int(fence)


async def test_two_processes_share_a_queue_without_losing_or_doubling(
    broker: LocalBroker, database: Database, tmp_path: Path, clock: Clock
) -> None:
    """F7: two workers."""
    jobs = [f"job-{number}" for number in range(60)]
    for number, job_id in enumerate(jobs):
        await broker.publish(job_id, f"track-{number % 20}", b"")
    with start(DRAIN, tmp_path, clock()) as one, start(DRAIN, tmp_path, clock()) as two:
        for process in (one, two):
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        outputs = await asyncio.gather(
            *(asyncio.to_thread(process.communicate, "go\n", 60) for process in (one, two))
        )
    assert [one.returncode, two.returncode] == [0, 0]
    assert sorted("".join(output for output, _ in outputs).split()) == sorted(jobs)
    sequences = await database.read(
        lambda connection: connection.execute(
            "SELECT track_id, GROUP_CONCAT(sequence) FROM (SELECT * FROM callbacks ORDER BY sequence)"
            " GROUP BY track_id"
        ).fetchall()
    )
    assert {row[1] for row in sequences} == {"1,2,3"}
