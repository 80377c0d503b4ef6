"""What is told to the outside, as models: the callback and the events of ours.

The JSON Schemas in `config/contract/schemas` are made from these and from the models of what is read; the
dictionaries that are sent are made in `report` and `handler`, and tests hold the two together.
Source: contract, Events and Callback.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from media_server.broker.envelope import (
    COMPLETED,
    FAILED,
    TRACK_DELETED,
    UPDATED,
    UPLOADED,
    USER_DELETED,
)
from media_server.jobs.catalogue import TrackDeleted, TrackUpdated, UserDeleted
from media_server.jobs.job import JobRequest, Uuid

STARTED, PROGRESS = "transcoding.started", "transcoding.progress"
STREAM_READY = "stream-ready"
DRAFT = "https://json-schema.org/draft/2020-12/schema"


class _Told(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ToldLoudness(_Told):
    """The source as measured, null for silence, and the one gain of every rendition but a lossless one."""

    integrated_lufs: float | None
    true_peak_dbtp: float | None
    range_lu: float | None
    gain_db: float
    target_lufs: float


class ToldRendition(_Told):
    """`bitrate` is the encoder's setting in bit/s, all channels together; of a lossless one what it took."""

    name: str
    codec: str
    bitrate: int = Field(gt=0)
    sample_rate: int = Field(gt=0)
    channels: int = Field(ge=1, le=2)


class ToldDownload(_Told):
    """The track as one file; `bitrate` is the encoder's setting in bit/s, null for a lossless one."""

    format: str
    bitrate: int | None = Field(gt=0)
    url: str


class ToldError(_Told):
    """`code` is stable; `limits` are the settings that were passed, by name."""

    code: str = Field(pattern="^[a-z0-9_]+$")
    message: str
    retryable: bool
    limits: dict[str, float]


class JobResult(_Told):
    """How a job ended; the `data` of `transcoding.completed`."""

    job_id: Uuid
    track_id: Uuid
    status: Literal["completed", "failed"]
    stream_manifest_url: str | None
    duration_seconds: float | None = Field(ge=0)
    loudness: ToldLoudness | None
    renditions: tuple[ToldRendition, ...]
    downloads: tuple[ToldDownload, ...]
    waveform_url: str | None
    warnings: tuple[str, ...]
    error: ToldError | None


class StreamReady(JobResult):
    """The body of the callback; `sequence` rises with every telling of a track, a lower one is stale."""

    attempt: int = Field(ge=0)
    sequence: int = Field(ge=1)


class TranscodingStarted(_Told):
    job_id: Uuid
    track_id: Uuid
    attempt: int = Field(ge=1)


class TranscodingProgress(_Told):
    """`percent` is 0 to 100 over all stages."""

    job_id: Uuid
    track_id: Uuid
    stage: Literal["fetch", "probe", "analyze", "encode", "publish", "done"]
    percent: float = Field(ge=0, le=100)


class TranscodingFailed(_Told):
    job_id: Uuid
    track_id: Uuid
    error: ToldError


class Metadata(BaseModel):
    """`causation_id` names the event that led to this one."""

    correlation_id: str | None = None
    causation_id: str | None = None


DATA: dict[str, type[BaseModel]] = {
    UPLOADED: JobRequest,
    UPDATED: TrackUpdated,
    TRACK_DELETED: TrackDeleted,
    USER_DELETED: UserDeleted,
    STARTED: TranscodingStarted,
    PROGRESS: TranscodingProgress,
    COMPLETED: JobResult,
    FAILED: TranscodingFailed,
}
"""The `data` of each event."""


def envelope_of(event_type: str) -> type[BaseModel]:
    """The model of a whole event."""
    name = "".join(part.capitalize() for part in event_type.replace("_", ".").split("."))
    return create_model(
        f"{name}Event",
        event_id=(str, Field(json_schema_extra={"format": "uuid"})),
        event_type=(str, Field(json_schema_extra={"const": event_type})),
        aggregate_id=(str, ...),
        aggregate_type=(str, ...),
        timestamp=(str, Field(json_schema_extra={"format": "date-time"})),
        version=(Literal[1], ...),
        data=(DATA[event_type], ...),
        metadata=(Metadata | None, None),
    )


def schemas() -> dict[str, dict[str, Any]]:
    """Every JSON Schema of the kit, by its file's name without extension."""
    models = {event_type: envelope_of(event_type) for event_type in DATA} | {STREAM_READY: StreamReady}
    return {
        name: {
            "$schema": DRAFT,
            "$id": f"urn:veza:schema:{name}:v1",
            **model.model_json_schema(by_alias=False),
        }
        for name, model in models.items()
    }
