"""Taking a job in: from then on it is durable and happens once."""

from __future__ import annotations

from typing import Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from media_server.broker.base import Broker
from media_server.jobs.job import Job, JobRequest, JobState, job_id_of, now_rfc3339
from media_server.state.base import State

SAID_OF_IT = {"user_id", "visibility", "title", "artist", "album_id"}


class Upload(BaseModel):
    """A file that came with the job and lies in the uploads folder under `name`.

    `title` is what to call the track if neither the request nor the file's own tags do.
    """

    model_config = ConfigDict(frozen=True)

    name: str = Field(pattern="^[a-z0-9-]{1,64}$")
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0)
    title: str | None = Field(None, max_length=1024)


class Submission(BaseModel):
    """The message a worker receives: what is asked for, and where the bytes are.

    `accepted_at` orders the uploads of one track: of two the newer wins. `traceparent` is of who asked.
    """

    model_config = ConfigDict(frozen=True)

    schema_version: Literal[1] = 1
    request: JobRequest
    upload: Upload | None = None
    accepted_at: str
    calls_back: bool = True
    traceparent: str | None = Field(None, max_length=255)

    def to_json(self) -> bytes:
        return orjson.dumps(self.model_dump(mode="json"))

    @property
    def title(self) -> str | None:
        """What the job is called until the file's tags are known."""
        return self.request.title or (self.upload.title if self.upload else None)

    @property
    def tags(self) -> dict[str, str]:
        """What whoever asked says of the track, under the names of tags."""
        said = {"title": self.request.title, "artist": self.request.artist}
        return {name: text for name, text in said.items() if text}

    def job_id(self, idempotency_key: str | None = None) -> str:
        """The same for the same key, else for the same track, source, options and what is said of it.

        Who sends a file again with another visibility means to change that.
        """
        if idempotency_key is not None:
            return job_id_of("idempotency-key", idempotency_key)
        source = self.upload.sha256 if self.upload else self.request.source.model_dump_json()
        version = "" if self.request.source_version is None else str(self.request.source_version)
        said = self.request.model_dump_json(include=SAID_OF_IT)
        return job_id_of(self.request.track_id, source, version, self.request.options.model_dump_json(), said)


async def submit(
    submission: Submission, *, broker: Broker, state: State, idempotency_key: str | None = None
) -> Job:
    """Make the job durable and say where it stands; a job that is known already is not made again.

    A failed or cancelled job that is asked for again is queued again.
    """
    job_id = submission.job_id(idempotency_key)
    known = await state.get(job_id)
    if known is not None and known.status not in {JobState.FAILED, JobState.CANCELLED}:
        return known
    created_at = known.created_at if known else now_rfc3339()
    request = submission.request
    job = Job(job_id=job_id, track_id=request.track_id, created_at=created_at, title=submission.title)
    # the queue first: if the process dies in between, the job is still done and its record made then
    queued = await broker.publish(
        job_id, request.track_id, submission.to_json(), traceparent=submission.traceparent
    )
    if known is not None and not queued:
        return known  # its end is on record, its message about to go
    await state.begin(job, again=known)
    return job
