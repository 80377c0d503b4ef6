"""Any history of the queue and its outbox, held against a model: nothing lost, nothing out twice, in order.

Two processes (two connections, two owners) on one file. Receipts are predicted exactly; the end of every
history drains queue and outbox and counts.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from media_server.broker.base import Callback, Delivery, PendingCallback
from media_server.broker.local import LocalBroker
from media_server.broker.outbox import LocalOutbox
from media_server.broker.owner import Owner
from media_server.database import Database
from media_server.errors import Conflict

MEMORY = Path("/dev/shm")
"""Order is asked for here, not durability: thousands of transactions need not wait for a disk."""

LEASE_S = 15.0
JOBS = {"a1": "a", "a2": "a", "a3": "a", "b1": "b", "b2": "b"}

PROCESSES = st.sampled_from([0, 1])
SECONDS = st.sampled_from([0.0, 1.0, 20.0])


@dataclass(slots=True)
class Message:
    """What the model knows of a queued job."""

    job_id: str
    due_at: float
    attempt: int = 0
    held_by: Delivery | None = None
    holder: int = -1
    until: float = 0.0


class Process:
    """One server's side of the file."""

    def __init__(self, folder: Path, now: object) -> None:
        self.database = Database(folder / "db.sqlite3")
        self.owner = Owner(folder / "owners")
        self.broker = LocalBroker(self.database, lease_s=LEASE_S, owner=self.owner, now=now)
        self.outbox = LocalOutbox(self.database, owner=self.owner, now=now)


class QueueHistory(RuleBasedStateMachine):
    """`queue` is the model, oldest first; `out` holds every delivery ever given, also the lost ones."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        self.seconds = 1_000_000.0
        self.runner = asyncio.Runner()
        self.processes = [self._start(), self._start()]
        self.queue: list[Message] = []
        self.out: list[Delivery] = []
        self.highest_fence = 0
        self.published = 0
        self.ended = 0
        self.told: list[PendingCallback] = []
        self.ends: dict[str, int] = {}

    def _start(self) -> Process:
        return Process(Path(self.folder.name), lambda: self.seconds)

    @rule(job_id=st.sampled_from(sorted(JOBS)), process=PROCESSES, delay_s=SECONDS)
    def publish(self, job_id: str, process: int, delay_s: float) -> None:
        broker = self.processes[process].broker
        fresh = self.runner.run(broker.publish(job_id, JOBS[job_id], b"", delay_s=delay_s))
        assert fresh == all(message.job_id != job_id for message in self.queue)
        if fresh:
            self.published += 1
            self.queue.append(Message(job_id=job_id, due_at=self.seconds + delay_s))

    @rule(process=PROCESSES)
    def receive(self, process: int) -> None:
        for message in self.queue:
            if message.until <= self.seconds:
                message.held_by = None
        busy = {JOBS[message.job_id] for message in self.queue if message.held_by}
        expected = next(
            (m for m in self.queue if m.due_at <= self.seconds and JOBS[m.job_id] not in busy), None
        )
        delivery = self.runner.run(self.processes[process].broker.receive())
        assert (delivery and delivery.job_id) == (expected and expected.job_id)
        if delivery is None or expected is None:
            return
        expected.attempt += 1
        assert delivery.attempt == expected.attempt
        assert delivery.fence > self.highest_fence
        self.highest_fence = delivery.fence
        expected.held_by, expected.holder = delivery, process
        expected.until = self.seconds + LEASE_S
        self.out.append(delivery)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), end=st.sampled_from(["ack", "retry", "release"]), delay_s=SECONDS)
    def end(self, data: st.DataObject, end: str, delay_s: float) -> None:
        delivery = data.draw(st.sampled_from(self.out))
        message = next((m for m in self.queue if m.held_by is delivery), None)
        try:
            self.runner.run(self._end(delivery, end, delay_s))
        except Conflict:
            assert message is None
            return
        assert message is not None
        message.held_by = None
        if end == "ack":
            self.queue.remove(message)
            self.ended += 1
            self.ends[delivery.job_id] = delivery.fence
        elif end == "retry":
            message.due_at = self.seconds + delay_s
        else:
            message.attempt -= 1

    async def _end(self, delivery: Delivery, end: str, delay_s: float) -> None:
        if end == "ack":
            body = {"end": delivery.fence}
            await delivery.ack(Callback(job_id=delivery.job_id, track_id=delivery.track_id, body=body))
        elif end == "retry":
            await delivery.retry(delay_s)
        else:
            await delivery.release()

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def extend(self, data: st.DataObject) -> None:
        delivery = data.draw(st.sampled_from(self.out))
        message = next((m for m in self.queue if m.held_by is delivery), None)
        assert self.runner.run(delivery.extend()) == (message is not None)
        if message is not None:
            message.until = self.seconds + LEASE_S

    @rule(seconds=SECONDS)
    def pass_time(self, seconds: float) -> None:
        self.seconds += seconds

    @rule(process=PROCESSES)
    def kill(self, process: int) -> None:
        """The kernel closes what a killed process had open; the transaction that ran is undone by SQLite."""
        killed = self.processes[process]
        self._stop(killed)
        self.processes[process] = self._start()
        self.out = [delivery for delivery in self.out if delivery.broker is not killed.broker]
        for message in self.queue:
            if message.holder == process:
                message.held_by = None

    @rule(process=PROCESSES, answer=st.sampled_from(["done", "again", "park", "nothing"]))
    def send_callback(self, process: int, answer: str) -> None:
        outbox = self.processes[process].outbox
        pending = self.runner.run(outbox.claim())
        if pending is None:
            return
        assert pending.body["sequence"] == pending.sequence
        earlier = [told for told in self.told if told.track_id == pending.track_id]
        assert all(told.sequence < pending.sequence for told in earlier)
        match answer:
            case "done":
                self.runner.run(outbox.done(pending.id))
                self.told.append(pending)
            case "again":
                self.runner.run(outbox.again(pending.id, 1.0, "no answer"))
            case "park":
                self.runner.run(outbox.park(pending.id, "refused"))

    @invariant()
    def a_track_is_worked_on_once(self) -> None:
        tracks = [JOBS[message.job_id] for message in self.queue if message.held_by]
        assert len(tracks) == len(set(tracks))

    @invariant()
    def every_published_job_is_queued_or_ended(self) -> None:
        assert len(self.queue) + self.ended == self.published

    def teardown(self) -> None:
        self.seconds += 1000.0
        drained = self.runner.run(self._drain())
        assert drained == sorted(message.job_id for message in self.queue)
        for process in self.processes:
            self._stop(process)
        self.runner.close()
        self.folder.cleanup()

    async def _drain(self) -> list[str]:
        """Receive everything that is left, then send everything that is left to tell."""
        broker, outbox = self.processes[0].broker, self.processes[0].outbox
        jobs = []
        while (delivery := await broker.receive()) is not None:
            jobs.append(delivery.job_id)
            await self._end(delivery, "ack", 0)
            self.ends[delivery.job_id] = delivery.fence
        while (pending := await outbox.claim()) is not None:
            await outbox.done(pending.id)
            self.told.append(pending)
        self.told += await outbox.parked()
        last = {job_id: {t.body["end"] for t in self.told if t.job_id == job_id} for job_id in self.ends}
        assert all(fence in last[job_id] for job_id, fence in self.ends.items())
        return sorted(jobs)

    def _stop(self, process: Process) -> None:
        self.runner.run(process.database.close())
        process.owner.close()


class TestQueueHistory(QueueHistory.TestCase):
    settings = settings(max_examples=40, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow])
