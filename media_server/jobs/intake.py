"""From an upload's event to a job: the same event is the same job, whoever reads it.

Pure but for the clock, where an event does not tell its time.
Source: contract, Events.
"""

from __future__ import annotations

from pydantic import ValidationError

from media_server.broker.envelope import Envelope, Refused, Work, why
from media_server.jobs.job import JobRequest, job_id_of, now_rfc3339
from media_server.jobs.submission import Submission


def work_of(event: Envelope) -> Work:
    """What a `track.uploaded` asks for.

    The job's id comes from the event's, else from track, source and options. Of two uploads of a track the
    later event wins, unless they tell a `source_version`.

    Raises:
        Refused: `bad_upload`, and which field is wrong.
    """
    try:
        request = JobRequest.model_validate(event.data)
    except ValidationError as error:
        raise Refused("bad_upload", why(error)) from None
    if request.source.kind == "none":
        raise Refused("bad_upload", "source: it must be one of bucket and key, path, or url")
    submission = Submission(
        request=request,
        accepted_at=event.timestamp or now_rfc3339(),
        traceparent=event.causes.traceparent,
    )
    job_id = submission.job_id() if event.event_id is None else job_id_of("event", event.event_id)
    return Work(job_id=job_id, track_id=request.track_id, body=submission.to_json())
