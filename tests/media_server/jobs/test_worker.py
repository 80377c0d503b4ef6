"""A worker takes what is due, some at a time, and stops when it is told to."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from media_server.jobs.job import JobState
from media_server.jobs.regain import Regain
from media_server.jobs.submission import submit
from media_server.jobs.worker import Worker
from media_server.metrics import Metrics

OTHER = "1b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a12"


async def test_a_burst_drains_the_queue(embedded) -> None:
    for submission in (embedded.upload(b"a"), embedded.upload(b"b", OTHER)):
        await submit(submission, broker=embedded.broker, state=embedded.state)
    assert await Worker(embedded.broker, embedded.handler, Metrics(), 1).burst() == 2
    assert (await embedded.broker.depth()).waiting == 0


async def test_stopped_it_takes_nothing_new(embedded) -> None:
    stop = asyncio.Event()
    stop.set()
    await submit(embedded.upload(b"a"), broker=embedded.broker, state=embedded.state)
    async with asyncio.timeout(10):
        await Worker(embedded.broker, embedded.handler, Metrics(), 2).run(stop)
    assert (await embedded.broker.depth()).waiting == 1


async def test_it_is_woken_by_a_submission_and_stopped_while_idle(embedded) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(Worker(embedded.broker, embedded.handler, Metrics(), 1).run(stop))
    job = await submit(embedded.upload(b"a"), broker=embedded.broker, state=embedded.state)
    async with asyncio.timeout(30):
        while not (await embedded.state.get(job.job_id)).ended:  # noqa: ASYNC110 - its record is all it shows
            await asyncio.sleep(0)
        stop.set()
        await running
    assert (await embedded.state.get(job.job_id)).status is JobState.FAILED


async def test_a_queue_that_is_out_of_reach_for_a_while_does_not_end_it(embedded) -> None:
    """Another process keeps the database locked for too long."""
    stop = asyncio.Event()
    job = await submit(embedded.upload(b"a"), broker=embedded.broker, state=embedded.state)
    worker = Worker(embedded.broker, embedded.handler, Metrics(), 1)
    async with asyncio.timeout(30):
        with capture_logs() as lines:
            async with embedded.locked():
                running = asyncio.create_task(worker.run(stop))
                while "worker.receive_failed" not in [line["event"] for line in lines]:  # noqa: ASYNC110 - it is all it shows
                    await asyncio.sleep(0)
        while not (await embedded.state.get(job.job_id)).ended:  # noqa: ASYNC110 - its record is all it shows
            await asyncio.sleep(0)
        stop.set()
        await running


async def test_a_message_that_nobody_understands_does_not_stop_the_others(embedded) -> None:
    stop = asyncio.Event()
    await embedded.broker.publish("bad", OTHER, b"{}")
    job = await submit(embedded.upload(b"a"), broker=embedded.broker, state=embedded.state)
    running = asyncio.create_task(Worker(embedded.broker, embedded.handler, Metrics(), 1).run(stop))
    async with asyncio.timeout(30):
        while not (await embedded.state.get(job.job_id)).ended:  # noqa: ASYNC110 - its record is all it shows
            await asyncio.sleep(0)
        stop.set()
        await running


async def test_a_message_that_nobody_understands_is_parked_and_its_job_failed(embedded) -> None:
    """F9: never retried; kept for people to look at."""
    job = await submit(embedded.upload(b"a"), broker=embedded.broker, state=embedded.state)
    await embedded.broker.withdraw(job.track_id)
    await embedded.broker.publish(job.job_id, job.track_id, b'{"schema_version": 2}')
    assert await Worker(embedded.broker, embedded.handler, Metrics(), 1).burst() == 1
    (parked,) = await embedded.broker.parked()
    assert (parked.job_id, parked.reason) == (job.job_id, "bad_job")
    ended = await embedded.state.get(job.job_id)
    assert (ended.status, ended.error.code) == (JobState.FAILED, "bad_job")


async def test_a_bug_in_one_job_does_not_stop_the_others(embedded, song) -> None:
    """What nobody foresaw: a folder lies where the original is to be kept."""
    stop = asyncio.Event()
    first = embedded.upload(song, OTHER)
    (embedded.folders.storage / "sources" / OTHER).mkdir(parents=True)
    await submit(first, broker=embedded.broker, state=embedded.state)
    job = await submit(embedded.upload(b"a"), broker=embedded.broker, state=embedded.state)
    with capture_logs() as lines:
        running = asyncio.create_task(Worker(embedded.broker, embedded.handler, Metrics(), 1).run(stop))
        async with asyncio.timeout(60):
            while not (await embedded.state.get(job.job_id)).ended:  # noqa: ASYNC110 - its record is all it shows
                await asyncio.sleep(0)
            stop.set()
            await running
    assert {line["job_id"] for line in lines if line["event"] == "worker.bug"} == {first.job_id()}


async def test_cancelled_it_gives_back_what_runs(embedded, song) -> None:
    """F18: the attempt is not counted."""
    job = await submit(embedded.upload(song), broker=embedded.broker, state=embedded.state)
    worker = Worker(embedded.broker, embedded.handler, Metrics(), 1)
    running = asyncio.create_task(worker.run(asyncio.Event()))
    async with asyncio.timeout(60):
        while (await embedded.state.get(job.job_id)).status is not JobState.RUNNING:  # noqa: ASYNC110 - its record is all it shows
            await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (await embedded.broker.receive()).attempt == 1


async def test_what_waits_is_measured(embedded) -> None:
    """contract, metrics: veza_stream_queue_depth."""
    stop, metrics = asyncio.Event(), Metrics()
    for submission in (embedded.upload(b"a"), embedded.upload(b"b", OTHER)):
        job = await submit(submission, broker=embedded.broker, state=embedded.state)
    metrics.queue_measured(waiting=9, oldest_s=9.0)
    running = asyncio.create_task(Worker(embedded.broker, embedded.handler, metrics, 1).run(stop))
    async with asyncio.timeout(30):
        while not (await embedded.state.get(job.job_id)).ended:  # noqa: ASYNC110 - its record is all it shows
            await asyncio.sleep(0)
        stop.set()
        await running
    assert b"veza_stream_queue_depth 0.0" in metrics.render()


async def test_a_regain_is_given_to_whoever_makes_tracks_again(embedded) -> None:
    """Of a track that is not there: nothing is made, and nobody takes the message for a submission."""
    regain = Regain(track_id=OTHER, version="0" * 16, gain_db=-3.0)
    await embedded.broker.publish(regain.job_id, OTHER, regain.to_json())
    worker = Worker(embedded.broker, embedded.handler, Metrics(), 1, regainer=embedded.regainer)
    assert await worker.burst() == 1
    assert (await embedded.broker.depth()).waiting == 0
    assert await embedded.broker.parked() == []
