"""A transcode job: what is asked for, where it stands, and which state may follow which.

Pure: values and one transition table. `JobRequest` is the `data` of `track.uploaded`, the body of an HTTP
submit and a part of the OpenAPI schema at once.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from media_server.errors import Conflict
from media_server.ids import canonical_uuid
from media_server.jobs.options import Foreign, Options

MAX_VERSION = 2**63 - 1
"""The largest integer that the message and the record of a job can carry."""

JOB_NAMESPACE = uuid.UUID("5d0e8d7e-6f0b-5a53-9a5c-5b7f4b1c8a10")

Uuid = Annotated[str, AfterValidator(canonical_uuid), Field(json_schema_extra={"format": "uuid"})]
Text = Annotated[str, Field(max_length=1024)]


class Source(Foreign):
    """Where the bytes are: a bucket and key, a path under UPLOAD_DIR, or an allow-listed URL."""

    bucket: str | None = Field(None, max_length=255)
    key: str | None = Field(None, max_length=1024)
    path: str | None = Field(None, max_length=4096)
    url: str | None = Field(None, max_length=4096)

    @property
    def kind(self) -> Literal["object", "path", "url", "none"]:
        if self.bucket and self.key and not self.path and not self.url:
            return "object"
        if self.path and not (self.bucket or self.key or self.url):
            return "path"
        if self.url and not (self.bucket or self.key or self.path):
            return "url"
        return "none"


class JobRequest(Foreign):
    """The `data` of `track.uploaded`."""

    track_id: Uuid
    source: Source
    source_version: int | None = Field(None, ge=0, le=MAX_VERSION)
    user_id: Text | None = None
    visibility: Literal["public", "unlisted", "private"] = "private"
    title: Text | None = None
    artist: Text | None = None
    album_id: Text | None = None
    options: Options = Options()

    @field_validator("options")
    @classmethod
    def _has_the_album_it_speaks_of(cls, options: Options, others: ValidationInfo) -> Options:
        if options.loudness.mode == "album" and not others.data.get("album_id"):
            raise ValueError("loudness.mode is album, which needs an album_id, and there is none")
        return options


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Stage(StrEnum):
    """Where a running job is; the order is the order of the work."""

    FETCH = "fetch"
    PROBE = "probe"
    ANALYZE = "analyze"
    ENCODE = "encode"
    PUBLISH = "publish"
    DONE = "done"


TRANSITIONS: Mapping[JobState, frozenset[JobState]] = {
    # queued -> failed: given up after too many deliveries that each ended in a crash
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.FAILED, JobState.CANCELLED}),
    # running -> queued: released by a shutdown, or waiting for a retry
    JobState.RUNNING: frozenset(
        {JobState.RUNNING, JobState.QUEUED, JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED}
    ),
    # failed -> queued: asked for again
    JobState.FAILED: frozenset({JobState.QUEUED}),
    JobState.CANCELLED: frozenset({JobState.QUEUED}),
    JobState.COMPLETED: frozenset(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """Why a job failed, as the contract tells it."""

    code: str
    message: str
    retryable: bool = False
    limits: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One upload's way to a track. Times are RFC 3339 in UTC; `percent` is 0 to 100 over all stages.

    `playable` once listeners hear what it has made, though perhaps not to the end yet.
    """

    job_id: str
    track_id: str
    status: JobState = JobState.QUEUED
    stage: Stage | None = None
    percent: float = 0.0
    playable: bool = False
    attempt: int = 0
    created_at: str = ""
    started_at: str | None = None
    finished_at: str | None = None
    title: str | None = None
    warnings: tuple[str, ...] = ()
    error: JobError | None = None
    result: Mapping[str, Any] | None = None

    def to(self, status: JobState, **changes: Any) -> Job:
        """This job in the next state.

        Raises:
            Conflict: `job_state`, the table does not allow it.
        """
        if status not in TRANSITIONS[self.status]:
            raise Conflict("job_state", f"job {self.job_id} is {self.status}, it cannot become {status}")
        return replace(self, status=status, **changes)

    @property
    def ended(self) -> bool:
        return self.status in {JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED}


def job_id_of(*parts: str) -> str:
    """The id of a job: UUIDv5 of what makes it that job, so that a message that comes twice is one job."""
    return str(uuid.uuid5(JOB_NAMESPACE, "\n".join(parts)))


def now_rfc3339() -> str:
    """The wall clock as RFC 3339 in UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
