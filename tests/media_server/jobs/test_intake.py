"""media_server/jobs/intake.py: an upload's event is a job, always the same one."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from media_server.broker.envelope import NO_CAUSES, Causes, Envelope, Refused
from media_server.jobs.intake import work_of
from media_server.jobs.job import job_id_of
from media_server.jobs.submission import Submission

TRACK = "0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11"
DATA: dict[str, Any] = {"track_id": TRACK, "source": {"bucket": "in", "key": "a.flac"}, "title": "Song"}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def event(
    data: dict[str, Any] = DATA,
    event_id: str | None = None,
    timestamp: str | None = "2026-03-01T12:00:00.000Z",
    causes: Causes = NO_CAUSES,
) -> Envelope:
    return Envelope(
        event_id=event_id, event_type="track.uploaded", timestamp=timestamp, data=data, causes=causes
    )


def test_the_same_event_is_the_same_job() -> None:
    """Contract: `job_id` = UUIDv5 of the `event_id`."""
    name = str(uuid.uuid4())
    work = work_of(event(event_id=name))
    assert work == work_of(event(event_id=name))
    assert work.job_id == job_id_of("event", name) != work_of(event(event_id="another")).job_id
    assert uuid.UUID(work.job_id).version == 5


def test_without_an_event_id_it_is_known_by_track_source_and_options() -> None:
    """Contract: else of track, source and options: a bare message that comes twice is one job, too."""
    job_id = work_of(event()).job_id
    assert job_id == work_of(event(timestamp=None)).job_id
    for change in (
        {"source": {"bucket": "in", "key": "b.flac"}},
        {"options": {"ladder": ["128k"]}},
        {"source_version": 2},
        {"track_id": str(uuid.uuid4())},
    ):
        assert work_of(event({**DATA, **change})).job_id != job_id


def test_what_the_worker_gets_is_all_that_was_asked_for() -> None:
    data = {**DATA, "userId": "7", "visibility": "public", "sourceVersion": 3, "unknown": 1}
    work = work_of(event(data, causes=Causes(traceparent=TRACE)))
    submission = Submission.model_validate_json(work.body)
    assert work.track_id == submission.request.track_id == TRACK
    assert submission.accepted_at == "2026-03-01T12:00:00.000Z"
    assert (submission.request.user_id, submission.request.visibility) == ("7", "public")
    assert (submission.request.source_version, submission.upload) == (3, None)
    assert (submission.traceparent, submission.calls_back) == (TRACE, True)


def test_an_upload_that_tells_no_time_is_one_of_now() -> None:
    submission = Submission.model_validate_json(work_of(event(timestamp=None)).body)
    assert submission.accepted_at > "2026-03-01T12:00:00.000Z"


def test_missing_visibility_is_private() -> None:
    """Contract: `visibility` (public, unlisted, private; missing = private)."""
    assert Submission.model_validate_json(work_of(event()).body).request.visibility == "private"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"track_id": "../../etc/passwd"}, "track_id"),
        ({"track_id": TRACK.upper()}, "track_id"),
        ({"source": {}}, "source"),
        ({"source": {"path": "a", "url": "https://b"}}, "source"),
        ({"source": "a.flac"}, "source"),
        ({"options": {"ladder": ["999k"]}}, "options.ladder"),
        ({"source_version": -1}, "source_version"),
    ],
)
def test_what_is_no_upload_is_refused_and_the_field_named(change: dict[str, Any], told: str) -> None:
    with pytest.raises(Refused) as caught:
        work_of(event({**DATA, **change}))
    assert caught.value.code == "bad_upload"
    assert told in caught.value.message
    assert "etc/passwd" not in caught.value.message
