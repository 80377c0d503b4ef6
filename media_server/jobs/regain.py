"""The wish that a live track be made again with its album's gain of now: a message in the queue of jobs.

Nobody outside asked for it. The queue is first in, first out, and the album is read when the job starts: of
an album that is uploaded at once each track is made again once, when all are there.
"""

from __future__ import annotations

from typing import Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from media_server.jobs.job import Uuid, job_id_of


class Regain(BaseModel):
    """The message a worker receives: `version` is the one to be replaced.

    `gain_db` is the album's when it was asked for. It tells one wish from the next: one that comes while
    another is being looked at is not the same job, and is not lost.
    """

    model_config = ConfigDict(frozen=True)

    kind: Literal["regain"] = "regain"
    schema_version: Literal[1] = 1
    track_id: Uuid
    version: str = Field(pattern="^[0-9a-f]{16}$")
    gain_db: float = Field(allow_inf_nan=False)

    @property
    def job_id(self) -> str:
        return job_id_of("regain", self.track_id, self.version, f"{self.gain_db:.2f}")

    def to_json(self) -> bytes:
        return orjson.dumps(self.model_dump(mode="json"))


def is_regain(body: bytes) -> bool:
    """Whether a message of the queue is a Regain, of whatever version."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(said, dict) and said.get("kind") == "regain"
