"""The wish for one more file of a track: a message in the queue of jobs, next to a Submission.

The same wish is the same job, so that many who ask get one file. Its record in the state says how it stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from hls.asset import Asset
from media_server.broker.base import Broker
from media_server.jobs.job import Job, JobState, Uuid, job_id_of, now_rfc3339
from media_server.jobs.options import Options, OutputName
from media_server.state.base import State
from pipeline.media import MediaInfo
from pipeline.outputs import OUTPUTS, Output, outputs_for

LOST_AFTER_S: Final = 900.0
"""Above the longest wait for a retry: nothing is asked for twice because it takes its time."""


class Making(BaseModel):
    """The message a worker receives; `version` is the one the file is to be of."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["file"] = "file"
    schema_version: Literal[1] = 1
    track_id: Uuid
    version: str = Field(pattern="^[0-9a-f]{16}$")
    output: OutputName

    @property
    def job_id(self) -> str:
        return job_id_of("file", self.track_id, self.version, self.output)

    def to_json(self) -> bytes:
        return orjson.dumps(self.model_dump(mode="json"))


def is_making(body: bytes) -> bool:
    """Whether a message of the queue is a Making, of whatever version."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(said, dict) and said.get("kind") == "file"


def offered(asset: Asset, names: Iterable[str] = OUTPUTS) -> tuple[Output, ...]:
    """The files of these names that can be made of a track's source; none where nothing is known of it."""
    source = asset.source
    if source is None or not asset.renditions:
        return ()
    info = MediaInfo(
        container=source.container,
        codec=source.codec,
        rate_hz=source.rate_hz,
        channels=source.channels,
        bit_depth=source.bit_depth,
        bit_rate_bps=source.bit_rate_bps,
    )
    return outputs_for(tuple(names), info, asset.renditions[0].channels)


def lacking(asset: Asset) -> tuple[str, ...]:
    """The files that the track's job asked for, that its source can give, and that are not there."""
    there = {download.name for download in asset.downloads}
    wanted = offered(asset, Options.model_validate(asset.options).outputs)
    return tuple(output.name for output in wanted if output.name not in there)


async def ask(asset: Asset, output: str, *, broker: Broker, state: State, known: Job | None) -> None:
    """Make the wish for a file durable.

    Args:
        known: the record of an earlier making of it, which has ended or is lost.
    """
    making = Making(track_id=asset.track_id, version=asset.version, output=output)
    # the queue first, as a submission; who asks at the same moment publishes the same job
    queued = await broker.publish(making.job_id, making.track_id, making.to_json())
    if known is not None and known.status is JobState.COMPLETED and not queued:
        return  # that message is about to go, and no other comes
    title = f"{asset.title} ({output})" if asset.title else output
    job = Job(job_id=making.job_id, track_id=making.track_id, created_at=now_rfc3339(), title=title)
    if known is not None and not known.ended:
        await state.save(job)
    else:
        await state.begin(job, again=known)


def is_on_its_way(job: Job | None, now: float) -> bool:
    """Whether a making waits or runs; one that nobody has heard of for long does not, its message was lost.

    It was withdrawn with its track, which has been uploaded again since, or the queue was emptied.

    Args:
        now: Unix seconds.
    """
    if job is None or job.ended:
        return False
    told_at = datetime.fromisoformat(job.started_at or job.created_at).timestamp()
    return now - told_at < LOST_AFTER_S
