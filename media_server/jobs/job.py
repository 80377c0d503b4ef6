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
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AliasGenerator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from media_server.errors import Conflict, Unsupported
from media_server.ids import canonical_uuid
from media_server.profiles import DEFAULT, NAME_PATTERN, Profiles
from pipeline import equalizer
from pipeline.ladder import RUNGS, Codec
from pipeline.outputs import DEFAULT_OUTPUTS, OUTPUTS

MAX_VERSION = 2**63 - 1
"""The largest integer that the message and the record of a job can carry."""

JOB_NAMESPACE = uuid.UUID("5d0e8d7e-6f0b-5a53-9a5c-5b7f4b1c8a10")


def _known_rendition(name: str) -> str:
    if name not in RUNGS:
        raise ValueError(f"must be one of {', '.join(RUNGS)}")
    return name


def _known_preset(name: str) -> str:
    if name not in equalizer.PRESETS:
        raise ValueError(f"must be one of {', '.join(equalizer.PRESETS)}")
    return name


def _known_output(name: str) -> str:
    if name not in OUTPUTS:
        raise ValueError(f"must be one of {', '.join(OUTPUTS)}")
    return name


Uuid = Annotated[str, AfterValidator(canonical_uuid), Field(json_schema_extra={"format": "uuid"})]
Text = Annotated[str, Field(max_length=1024)]
RenditionName = Annotated[
    str, AfterValidator(_known_rendition), Field(json_schema_extra={"enum": list(RUNGS)})
]

PresetName = Annotated[
    str, AfterValidator(_known_preset), Field(json_schema_extra={"enum": list(equalizer.PRESETS)})
]
OutputName = Annotated[str, AfterValidator(_known_output), Field(json_schema_extra={"enum": list(OUTPUTS)})]


class _Foreign(BaseModel):
    """Data from outside: snake_case or camelCase keys, unknown keys ignored, never coerced loosely."""

    model_config = ConfigDict(
        alias_generator=AliasGenerator(validation_alias=to_camel),
        populate_by_name=True,
        frozen=True,
        extra="ignore",
    )


class Source(_Foreign):
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


class LoudnessOptions(_Foreign):
    """`track` brings the track to the target by gain alone, as far as the ceiling allows.

    `limit` reaches the target all the same: a limiter takes the peaks down that would pass the ceiling.
    `off` leaves the track as it is.
    """

    mode: Literal["track", "limit", "off"] = "track"
    target_lufs: float = Field(-14.0, ge=-70, le=0)
    ceiling_dbtp: float = Field(-1.0, ge=-20, le=0)


class EqualizerBand(_Foreign):
    """A second-order filter of the Audio EQ Cookbook; only `peaking` and the shelves have a gain."""

    type: equalizer.BandType
    frequency_hz: float = Field(ge=equalizer.FREQUENCY_HZ[0], le=equalizer.FREQUENCY_HZ[1])
    gain_db: float = Field(0.0, ge=equalizer.GAIN_DB[0], le=equalizer.GAIN_DB[1])
    q: float = Field(equalizer.BUTTERWORTH_Q, ge=equalizer.Q[0], le=equalizer.Q[1])

    @model_validator(mode="after")
    def _is_one_of_the_pipeline(self) -> Self:
        self.band()
        return self

    def band(self) -> equalizer.Band:
        """This band as the pipeline has it."""
        return equalizer.Band(**self.model_dump())


class EqualizerOptions(_Foreign):
    """A named preset, or bands that the sound goes through in their order."""

    preset: PresetName | None = None
    bands: tuple[EqualizerBand, ...] | None = Field(None, max_length=equalizer.MAX_BANDS)

    @model_validator(mode="after")
    def _is_either(self) -> Self:
        if (self.preset is None) == (self.bands is None):
            raise ValueError("either a preset or bands")
        return self


class Options(_Foreign):
    """What to make of the source: the renditions of `ladder`, else those that `profile` stands for.

    `outputs` are whole files, made after the ladder.

    `segment_format` says which of the playlists of AAC is offered first; nothing else is made for it.
    """

    profile: str = Field(DEFAULT, pattern=NAME_PATTERN)
    ladder: tuple[RenditionName, ...] | None = Field(None, min_length=1, max_length=16)
    outputs: tuple[OutputName, ...] = Field(DEFAULT_OUTPUTS, max_length=16)
    loudness: LoudnessOptions = LoudnessOptions()
    eq: EqualizerOptions | None = None
    segment_format: Literal["fmp4", "ts"] = "fmp4"

    @model_validator(mode="after")
    def _has_what_ts_carries(self) -> Self:
        if self.ladder is not None and not self._is_carried(self.ladder):
            raise ValueError("segment_format ts carries AAC, of which the ladder names no rendition")
        return self

    def _is_carried(self, ladder: tuple[str, ...]) -> bool:
        return self.segment_format != "ts" or any(RUNGS[name].codec is Codec.AAC for name in ladder)

    def rungs(self, profiles: Profiles) -> tuple[str, ...]:
        """The names of the renditions to make.

        Raises:
            Unsupported: `unknown_profile`, or `profile_without_aac` where the segments shall be MPEG-TS.
        """
        if self.ladder is not None:
            return self.ladder
        if self.profile not in profiles:
            raise Unsupported("unknown_profile", f"profile must be one of {', '.join(sorted(profiles))}")
        ladder = profiles[self.profile]
        if not self._is_carried(ladder):
            raise Unsupported(
                "profile_without_aac", f"segment_format ts carries AAC, {self.profile} has none"
            )
        return ladder

    def spelt_out(self, profiles: Profiles) -> Options:
        """The same wish with its ladder named: what a profile stands for may change from day to day.

        Raises:
            Unsupported: as `rungs`.
        """
        return self.model_copy(update={"ladder": self.rungs(profiles), "profile": DEFAULT})

    @property
    def equalizer_bands(self) -> tuple[equalizer.Band, ...]:
        """The bands that `eq` asks for; none without it."""
        if self.eq is None:
            return ()
        if self.eq.preset is not None:
            return equalizer.PRESETS[self.eq.preset]
        return tuple(band.band() for band in self.eq.bands or ())


class JobRequest(_Foreign):
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
    """One upload's way to a track. Times are RFC 3339 in UTC; `percent` is 0 to 100 over all stages."""

    job_id: str
    track_id: str
    status: JobState = JobState.QUEUED
    stage: Stage | None = None
    percent: float = 0.0
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
