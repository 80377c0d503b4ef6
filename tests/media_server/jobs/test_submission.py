"""A job that was accepted is durable and happens once."""

from __future__ import annotations

from typing import Any

import pytest

from media_server.jobs.job import Job, JobState
from media_server.jobs.submission import Submission, submit


async def test_the_same_submission_twice_is_one_job(embedded) -> None:
    submission = embedded.upload(b"x")
    first = await submit(submission, broker=embedded.broker, state=embedded.state)
    second = await submit(submission, broker=embedded.broker, state=embedded.state)
    assert first == second
    assert (await embedded.broker.depth()).waiting == 1


async def test_the_same_key_is_the_same_job_whatever_is_sent(embedded) -> None:
    """contract: an HTTP submit honours Idempotency-Key."""
    first, other = embedded.upload(b"x"), embedded.upload(b"y", title="other")
    assert first.job_id("k") == other.job_id("k") != first.job_id("l")
    assert first.job_id() != other.job_id()


@pytest.mark.parametrize(
    "change",
    [{"visibility": "private"}, {"user_id": "u"}, {"title": "T"}, {"artist": "A"}, {"album_id": "B"}],
)
async def test_the_same_file_with_something_else_said_of_it_is_another_job(
    embedded, change: dict[str, str]
) -> None:
    """A track that is sent again as private must not stay public because its bytes are known."""
    first = embedded.upload(b"x")
    request = first.request.model_copy(update={"visibility": "public"})
    public = first.model_copy(update={"request": request})
    changed = first.model_copy(update={"request": request.model_copy(update=change)})
    assert public.job_id() != changed.job_id()
    assert public.job_id() == first.model_copy(update={"request": request}).job_id()


async def test_a_failed_job_that_is_asked_for_again_is_queued_again(embedded) -> None:
    delivery = await embedded.deliver(submission := embedded.upload(b"no audio"))
    await embedded.handler.handle(delivery)
    assert (await embedded.state.get(delivery.job_id)).status is JobState.FAILED
    job = await submit(submission, broker=embedded.broker, state=embedded.state)
    assert job.status is JobState.QUEUED
    assert (await embedded.broker.depth()).waiting == 1


async def test_a_worker_that_is_faster_than_the_record_is_not_overwritten(embedded, monkeypatch) -> None:
    """It runs, maybe has ended, before the submission comes to write that it is queued."""
    publish = embedded.broker.publish

    async def publish_and_run(*args: Any, **fields: Any) -> bool:
        queued: bool = await publish(*args, **fields)
        await embedded.handler.handle(await embedded.broker.receive())
        return queued

    monkeypatch.setattr(embedded.broker, "publish", publish_and_run)
    submission = embedded.upload(b"no audio")
    for _ in ("new", "asked for again"):
        job = await submit(submission, broker=embedded.broker, state=embedded.state)
        assert (await embedded.state.get(job.job_id)).status is JobState.FAILED


async def test_a_failed_job_whose_message_has_not_gone_yet_is_not_promised_again(embedded) -> None:
    """Between the record of its end and the acknowledgement, which takes the message away."""
    delivery = await embedded.deliver(submission := embedded.upload(b"no audio"))
    ended = Job(job_id=delivery.job_id, track_id=delivery.track_id).to(JobState.FAILED, finished_at="t")
    await embedded.state.save(ended)
    assert await submit(submission, broker=embedded.broker, state=embedded.state) == ended
    assert await embedded.state.get(delivery.job_id) == ended


def test_the_message_comes_back_as_it_was() -> None:
    """A worker of the version before reads it too: fields it does not know are ignored."""
    request = b'{"track_id":"0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11","source":{"path":"a"}}'
    text = b'{"request":' + request + b',"accepted_at":"t","new":1}'
    submission = Submission.model_validate_json(text)
    assert Submission.model_validate_json(submission.to_json()) == submission
    assert submission.calls_back
