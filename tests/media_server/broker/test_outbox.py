"""The outbox: one callback for each end of a job, in order for each track, never sent by two at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

from media_server.broker.base import Callback, OutboxCounts, PendingCallback
from media_server.broker.outbox import CLAIM_S, LocalOutbox, put_callback
from media_server.broker.owner import Owner
from media_server.database import Database

if TYPE_CHECKING:
    from conftest import Clock


class Ends:
    """Ends jobs: what a delivery's `ack` does to the outbox."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def __call__(self, job_id: str, track_id: str = "track", **body: object) -> None:
        callback = Callback(job_id=job_id, track_id=track_id, body=body)
        await self._database.run(lambda connection: put_callback(connection, callback, self._clock()))


@pytest.fixture
def ends(database: Database, clock: Clock) -> Ends:
    return Ends(database, clock)


async def claimed(outbox: LocalOutbox) -> PendingCallback:
    pending = await outbox.claim()
    assert pending is not None
    return pending


def told(pending: PendingCallback) -> Mapping[str, Any]:
    return {name: value for name, value in pending.body.items() if name != "sequence"}


async def test_a_callback_carries_the_running_number_of_its_track(outbox: LocalOutbox, ends: Ends) -> None:
    """Contract, Callback: `sequence`."""
    await ends("job-1", "a", status="failed")
    await ends("job-2", "b", status="completed")
    await ends("job-3", "a", status="completed")
    seen = []
    while (pending := await outbox.claim()) is not None:
        seen.append((pending.job_id, pending.sequence, dict(pending.body)))
        await outbox.done(pending.id)
    assert seen == [
        ("job-1", 1, {"status": "failed", "sequence": 1}),
        ("job-2", 1, {"status": "completed", "sequence": 1}),
        ("job-3", 2, {"status": "completed", "sequence": 2}),
    ]
    assert await outbox.counts() == OutboxCounts(0, 0)


async def test_an_earlier_callback_holds_back_the_later_ones_of_its_track(
    outbox: LocalOutbox, ends: Ends, clock: Clock
) -> None:
    """F15: order per track kept."""
    await ends("job-1", "a")
    await ends("job-2", "a")
    await ends("job-3", "b")
    first = await claimed(outbox)
    await outbox.again(first.id, 10, "no answer")
    assert (await claimed(outbox)).job_id == "job-3"
    assert await outbox.claim() is None
    clock.seconds += 10
    again = await claimed(outbox)
    assert (again.job_id, again.tries, again.error) == ("job-1", 2, "no answer")
    assert await outbox.claim() is None
    await outbox.done(again.id)
    assert (await claimed(outbox)).job_id == "job-2"


async def test_a_parked_callback_lets_the_later_ones_pass(outbox: LocalOutbox, ends: Ends) -> None:
    await ends("job-1")
    await ends("job-2")
    await outbox.park((await claimed(outbox)).id, "status 410")
    assert (await claimed(outbox)).job_id == "job-2"
    [parked] = await outbox.parked()
    assert (parked.job_id, parked.tries, parked.error) == ("job-1", 1, "status 410")
    assert await outbox.counts() == OutboxCounts(1, 1)


async def test_the_age_counts_from_the_end_of_the_job(outbox: LocalOutbox, ends: Ends, clock: Clock) -> None:
    """Contract: retried with backoff for a day."""
    ended_at = clock()
    await ends("job")
    await outbox.again((await claimed(outbox)).id, 60, "no answer")
    clock.seconds += 60
    assert (await claimed(outbox)).created_at == ended_at


async def test_the_same_end_told_twice_is_one_callback(outbox: LocalOutbox, ends: Ends) -> None:
    await ends("job", status="completed", attempt=1)
    await ends("job", status="completed", attempt=2)
    pending = await claimed(outbox)
    assert told(pending) == {"status": "completed", "attempt": 1}
    await ends("job", status="completed", attempt=3)
    await outbox.done(pending.id)
    await ends("job", status="completed", attempt=4)
    assert await outbox.claim() is None
    assert await outbox.counts() == OutboxCounts(0, 0)


async def test_another_end_replaces_one_that_was_never_sent(outbox: LocalOutbox, ends: Ends) -> None:
    await ends("job", status="failed")
    await ends("job", status="completed")
    pending = await claimed(outbox)
    assert (told(pending), pending.sequence) == ({"status": "completed"}, 1)
    await outbox.done(pending.id)
    assert await outbox.claim() is None


async def test_another_end_is_told_after_what_was_told_since(outbox: LocalOutbox, ends: Ends) -> None:
    """A job that failed and was asked for again is the newest news of its track."""
    await ends("job-1", status="failed")
    await ends("job-2", status="failed")
    await ends("job-1", status="completed")
    seen = []
    while (pending := await outbox.claim()) is not None:
        seen.append((pending.job_id, pending.body["status"], pending.sequence))
        await outbox.done(pending.id)
    assert seen == [("job-2", "failed", 2), ("job-1", "completed", 3)]


async def test_another_end_after_the_first_was_delivered_is_told(outbox: LocalOutbox, ends: Ends) -> None:
    await ends("job", status="failed")
    await outbox.done((await claimed(outbox)).id)
    await ends("job", status="completed")
    pending = await claimed(outbox)
    assert (told(pending), pending.sequence, pending.tries) == ({"status": "completed"}, 2, 1)


@pytest.mark.parametrize("answer", ["done", "again", "park"])
async def test_an_answer_to_the_old_end_says_nothing_of_the_new_one(
    answer: str, outbox: LocalOutbox, ends: Ends
) -> None:
    """The new end came while the old one was on its way."""
    await ends("job", status="failed")
    in_hand = await claimed(outbox)
    await ends("job", status="completed")
    match answer:
        case "done":
            await outbox.done(in_hand.id)
        case "again":
            await outbox.again(in_hand.id, 60, "no answer")
        case "park":
            await outbox.park(in_hand.id, "status 410")
    pending = await claimed(outbox)
    assert (told(pending), pending.sequence) == ({"status": "completed"}, 2)


async def test_a_sequence_that_may_have_been_seen_never_carries_other_content(
    outbox: LocalOutbox, ends: Ends, clock: Clock
) -> None:
    """I5: the answer got lost, not the callback."""
    await ends("job", status="failed")
    await outbox.again((await claimed(outbox)).id, 5, "no answer")
    await ends("job", status="completed")
    assert (await claimed(outbox)).sequence == 2


async def test_two_processes_never_hold_the_same_callback(
    outbox: LocalOutbox, other_outbox: LocalOutbox, ends: Ends
) -> None:
    await ends("job")
    await claimed(outbox)
    assert await other_outbox.claim() is None


async def test_the_claim_of_a_dead_process_is_free_at_once(
    outbox: LocalOutbox, other_outbox: LocalOutbox, owner: Owner, ends: Ends
) -> None:
    await ends("job")
    await claimed(outbox)
    owner.close()
    assert (await claimed(other_outbox)).tries == 2


async def test_a_claim_runs_out(
    outbox: LocalOutbox, other_outbox: LocalOutbox, ends: Ends, clock: Clock
) -> None:
    await ends("job")
    await claimed(outbox)
    clock.seconds += CLAIM_S
    assert await other_outbox.claim() is not None


async def test_a_lost_claim_changes_nothing_but_a_delivery_is_a_fact(
    outbox: LocalOutbox, other_outbox: LocalOutbox, ends: Ends, clock: Clock
) -> None:
    await ends("job")
    late = await claimed(outbox)
    clock.seconds += CLAIM_S
    current = await claimed(other_outbox)
    await outbox.again(late.id, 0, "no answer")
    await outbox.park(late.id, "status 410")
    assert await outbox.claim() is None
    assert await outbox.counts() == OutboxCounts(1, 0)
    await outbox.done(late.id)
    await other_outbox.again(current.id, 0, "no answer")
    assert await other_outbox.claim() is None
    assert await outbox.counts() == OutboxCounts(0, 0)


async def test_what_was_delivered_late_is_parked_no_more(
    outbox: LocalOutbox, other_outbox: LocalOutbox, ends: Ends, clock: Clock
) -> None:
    await ends("job")
    late = await claimed(outbox)
    clock.seconds += CLAIM_S
    await other_outbox.park((await claimed(other_outbox)).id, "given up after a day")
    await outbox.done(late.id)
    assert await outbox.counts() == OutboxCounts(0, 0)


async def test_a_parked_callback_can_be_sent_again(outbox: LocalOutbox, ends: Ends, clock: Clock) -> None:
    """Contract: `media-server callbacks parked|retry`."""
    await ends("job", status="completed")
    pending = await claimed(outbox)
    await outbox.park(pending.id, "status 410")
    clock.seconds += 90_000
    assert await outbox.retry_parked(pending.id)
    assert not await outbox.retry_parked(pending.id)
    again = await claimed(outbox)
    assert (again.id, again.tries, again.created_at) == (pending.id, 1, clock())


async def test_old_news_is_not_sent_after_newer(outbox: LocalOutbox, ends: Ends) -> None:
    """I5: callbacks per track are monotonic."""
    await ends("job-1")
    await ends("job-2")
    old = await claimed(outbox)
    await outbox.park(old.id, "status 410")
    newer = await claimed(outbox)
    assert not await outbox.retry_parked(old.id)
    await outbox.done(newer.id)
    assert not await outbox.retry_parked(old.id)
    assert len(await outbox.parked()) == 1


async def test_a_cancelled_claim_leaves_the_callback_as_it_was(outbox: LocalOutbox, ends: Ends) -> None:
    await ends("job")
    claiming = asyncio.create_task(outbox.claim())
    await asyncio.sleep(0)  # it is in the database's thread now
    claiming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await claiming
    assert (await claimed(outbox)).tries == 1
