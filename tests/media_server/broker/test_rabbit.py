"""media_server/broker/rabbit.py: uploads as others publish them, and what is no upload.

What every queue does is tests/contract/test_broker.py.
"""

from __future__ import annotations

import asyncio
import json
import uuid

import pytest
from servers.queues import Queues

from media_server.broker.base import Callback, Delivery
from media_server.broker.rabbit import RabbitBroker
from media_server.jobs.job import job_id_of
from media_server.jobs.submission import Submission
from media_server.state.local import LocalState
from media_server.trace import of_job

TRACK = "0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11"
DATA = {"track_id": TRACK, "source": {"bucket": "uploads", "key": "a.flac"}, "title": "Song"}
WITHIN_S = 20.0


def envelope(**changes: object) -> dict[str, object]:
    return {
        "event_id": str(uuid.uuid4()),
        "event_type": "track.uploaded",
        "timestamp": "2026-03-01T12:00:00Z",
        "version": 1,
        "data": DATA,
        "metadata": {"correlation_id": "c-1"},
        **changes,
    }


async def received(broker: RabbitBroker) -> Delivery:
    async with asyncio.timeout(WITHIN_S):
        while (delivery := await broker.receive()) is None:
            await broker.wait(0.1)
    return delivery


async def test_an_event_of_others_becomes_a_job(rabbit: Queues, state: LocalState) -> None:
    """Contract: `job_id` = UUIDv5 of the `event_id`; the envelope's time orders uploads."""
    broker, _ = await rabbit.server(state)
    message = envelope()
    await rabbit.publish(json.dumps(message).encode())
    delivery = await received(broker)
    assert delivery.job_id == job_id_of("event", str(message["event_id"]))
    assert (delivery.track_id, delivery.attempt) == (TRACK, 1)
    submission = Submission.model_validate_json(delivery.body)
    assert submission.accepted_at == "2026-03-01T12:00:00.000Z"
    assert (submission.request.source.key, submission.request.title) == ("a.flac", "Song")
    await delivery.ack()


@pytest.mark.parametrize("key", ["track.uploaded", "TrackUploaded", "streaming.track.uploaded.v1"])
async def test_bare_data_under_every_name_becomes_a_job(rabbit: Queues, state: LocalState, key: str) -> None:
    broker, _ = await rabbit.server(state)
    camelled = {"trackId": TRACK, "source": {"path": "a.flac"}, "sourceVersion": 3}
    await rabbit.publish(json.dumps(camelled).encode(), key)
    delivery = await received(broker)
    submission = Submission.model_validate_json(delivery.body)
    assert (delivery.track_id, submission.request.source_version) == (TRACK, 3)
    assert delivery.job_id == submission.job_id()
    await delivery.ack()


POISON = [
    (b"", "bad_json"),
    (b"not json", "bad_json"),
    (b"\xff\xfe\x00", "bad_json"),
    (b"[]", "bad_envelope"),
    (b"null", "bad_envelope"),
    (json.dumps(envelope(timestamp="soon")).encode(), "bad_envelope"),
    (json.dumps(envelope(version=2)).encode(), "unknown_version"),
    (json.dumps(envelope(event_type="track.played")).encode(), "unknown_event"),
    (json.dumps(envelope(event_type="track.deleted")).encode(), "unknown_event"),
    (json.dumps({"source": {"path": "a.flac"}}).encode(), "bad_upload"),
    (json.dumps({**DATA, "track_id": "../../etc/passwd"}).encode(), "bad_upload"),
    (json.dumps({**DATA, "source": {}}).encode(), "bad_upload"),
    (json.dumps({**DATA, "visibility": "secret"}).encode(), "bad_upload"),
    (b" " * (20 << 20), "too_large"),
]


async def test_poison_is_parked_with_a_reason_and_the_others_keep_flowing(
    rabbit: Queues, state: LocalState
) -> None:
    """F9: straight to the parking queue with a reason header, never retried."""
    broker, _ = await rabbit.server(state)
    for body, _ in POISON:
        await rabbit.publish(body)
    await rabbit.publish(json.dumps(DATA).encode())
    delivery = await received(broker)
    assert delivery.track_id == TRACK
    await delivery.ack()
    assert await broker.receive() is None
    assert (await broker.depth()).waiting == 0
    assert [parked.reason for parked in await broker.parked()] == [reason for _, reason in POISON]
    copies = await rabbit.taken(rabbit.topology.parked, len(POISON))
    copies.sort(key=lambda copy: copy.headers["x-parked-at"])
    for copy, (body, reason) in zip(copies, POISON, strict=True):
        assert (copy.headers["x-reason"], copy.headers["x-bytes"]) == (reason, len(body))
        assert copy.body == body[:65_536]
        assert copy.headers["x-error"]
        assert copy.headers["x-routing-key"] == "track.uploaded"


async def test_a_message_of_ours_without_ids_is_poison_too(rabbit: Queues, state: LocalState) -> None:
    broker, _ = await rabbit.server(state)
    await broker.publish("no-uuid", TRACK, b"{}")
    assert await broker.receive() is None
    assert [parked.reason for parked in await broker.parked()] == ["bad_job"]


async def test_what_is_told_of_a_job_names_its_cause(rabbit: Queues, state: LocalState) -> None:
    """Contract: correlation, causation, traceparent; in order, each in its envelope, the end confirmed."""
    broker, outbox = await rabbit.server(state)
    heard = await rabbit.listen()
    message = envelope()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await rabbit.publish(json.dumps(message).encode(), headers={"traceparent": trace})
    await (await received(broker)).retry(0)  # the cause survives
    delivery = await received(broker)
    about = {"job_id": delivery.job_id, "track_id": TRACK}
    await delivery.announce("transcoding.started", {**about, "stage": "fetch", "percent": 0.0})
    await delivery.announce("transcoding.progress", {**about, "stage": "encode", "percent": 40.0})
    callback = Callback(job_id=delivery.job_id, track_id=TRACK, body={"status": "completed"})
    await delivery.ack(callback, ("transcoding.completed", {**about, "status": "completed"}))
    _, *events = await rabbit.taken(heard, 4)
    assert [event.routing_key for event in events] == [
        "transcoding.started",
        "transcoding.progress",
        "transcoding.completed",
    ]
    for event in events:
        told = json.loads(event.body)
        assert told["event_type"] == event.type == event.routing_key
        assert told["metadata"] == {"correlation_id": "c-1", "causation_id": message["event_id"]}
        assert told["event_id"] == event.message_id
        assert event.headers["traceparent"] == trace
        assert told["data"]["track_id"] == told["aggregate_id"] == TRACK
    assert await outbox.claim() is not None


@pytest.mark.parametrize("given", [None, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"])
async def test_a_job_of_ours_has_a_trace_whether_or_not_its_request_had(
    rabbit: Queues, state: LocalState, given: str | None
) -> None:
    """Contract: W3C `traceparent` travels in the headers, over a retry, too."""
    broker, _ = await rabbit.server(state)
    heard = await rabbit.listen()
    job_id = str(uuid.uuid4())
    await broker.publish(job_id, TRACK, b"{}", traceparent=given)
    await (await received(broker)).retry(0)
    delivery = await received(broker)
    await delivery.ack(told=("transcoding.completed", {"job_id": job_id, "track_id": TRACK}))
    [event] = await rabbit.taken(heard, 1)
    assert event.headers["traceparent"] == (given or of_job(job_id))
    assert event.correlation_id == job_id


async def test_a_process_that_stops_receiving_leaves_its_share_to_others(
    rabbit: Queues, state: LocalState
) -> None:
    """F18: stop consuming within a second; the attempt is not counted."""
    stopping, _ = await rabbit.server(state, concurrent=4)
    other, _ = await rabbit.server(state)
    jobs = [str(uuid.uuid4()) for _ in range(3)]
    for job_id in jobs:
        await stopping.publish(job_id, str(uuid.uuid4()), b"{}")
    in_hand = await received(stopping)
    await stopping.stop_receiving()
    seen = []
    for _ in range(2):
        delivery = await received(other)
        assert delivery.attempt == 1
        seen.append(delivery.job_id)
        await delivery.ack()
    await in_hand.ack()  # what is in hand may be finished
    assert sorted([*seen, in_hand.job_id]) == sorted(jobs)
    assert await other.receive() is None
