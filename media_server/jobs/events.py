"""What a job's child process tells its parent, as bytes.

A message is a JSON header, a newline and a payload. No pickle: the child reads hostile files, and what it
says is checked here like any other input from outside.
"""

from __future__ import annotations

from typing import Annotated, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from media_server.errors import LimitExceeded, Malformed, MediaError, Unavailable, Unsupported
from pipeline.outputs import Format
from pipeline.programme import BINS

MAX_MESSAGE_BYTES = 256 << 20
"""The largest payload is the waveform: 33 MB for four hours of stereo, 195 MB for a day of it."""

MAX_BLOCKS = 10_000_000
"""Ten a second for eleven days: no track has more, and the blocks of an album can still be counted."""

_KINDS: dict[str, type[MediaError]] = {
    "malformed": Malformed,
    "unsupported": Unsupported,
    "limit_exceeded": LimitExceeded,
}


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Probed(_Event):
    """The source is one that can be read."""

    event: Literal["probed"] = "probed"
    container: str
    codec: str
    rate_hz: int = Field(ge=1)
    channels: int = Field(ge=1, le=64)
    bit_depth: int | None = None
    bit_rate_bps: int | None = None
    duration_s: float | None = None
    tags: dict[str, str] = {}


class Progress(_Event):
    """How far the stage is: 0 to 1."""

    event: Literal["progress"] = "progress"
    stage: Literal["analyze", "encode", "publish"]
    fraction: float = Field(ge=0, le=1)


Bin = Annotated[int, Field(ge=0, lt=BINS)]
Count = Annotated[int, Field(ge=1, le=MAX_BLOCKS)]


class AlbumPlanned(_Event):
    """The album that the gain was planned for, before it; then what the track brings to the album.

    `blocks` as a `pipeline.programme.Programme` has them.
    """

    integrated_lufs: float | None
    true_peak_dbtp: float | None
    most_gain_db: float | None
    blocks: tuple[tuple[Bin, Count], ...]


class Planned(_Event):
    """Measured and decided. A second one takes the first back, and all that was made by it.

    `is_thorough` says that AAC's coder searches. `begins` are the renditions that are made side by side, at
    the same time; others may follow. `planned_lufs` is how loud the track comes out; `limit_dbtp` where a
    limiter holds its peaks, if one does.
    """

    event: Literal["planned"] = "planned"
    samples: int = Field(ge=1)
    channels: int = Field(ge=1, le=2)
    integrated_lufs: float | None
    range_lu: float | None
    true_peak_dbtp: float | None
    gain_db: float
    reason: str
    planned_lufs: float | None = None
    limit_dbtp: float | None = None
    momentary_max_lufs: float | None = None
    short_term_max_lufs: float | None = None
    warnings: tuple[str, ...] = ()
    begins: tuple[str, ...] = ()
    is_thorough: bool = False
    album: AlbumPlanned | None = None


class Initialised(_Event):
    """A rendition's init segment is the payload."""

    event: Literal["init"] = "init"
    rendition: str = Field(pattern="^[a-z0-9-]{1,32}$")
    codec: str
    bitrate_bps: int = Field(ge=0)
    rate_hz: int
    channels: int
    priming_samples: int = Field(ge=0)
    bit_depth: int | None = None


class SegmentMade(_Event):
    """A media segment is the payload; times in samples from the first packet."""

    event: Literal["segment"] = "segment"
    rendition: str = Field(pattern="^[a-z0-9-]{1,32}$")
    number: int = Field(ge=0)
    pts: int = Field(ge=0)
    duration: int = Field(ge=1)


class Drawn(_Event):
    """The waveform (audiowaveform .dat) or the cover is the payload."""

    event: Literal["drawn"] = "drawn"
    what: Literal["waveform", "cover"]
    media_type: str


class PieceMade(_Event):
    """A piece of the file of an output is the payload; its place is `offset`, at most the file's end."""

    event: Literal["piece"] = "piece"
    output: str = Field(pattern="^[a-z0-9-]{1,32}$")
    offset: int = Field(ge=0)


class FileMade(_Event):
    """The file of an output is whole."""

    event: Literal["file"] = "file"
    output: str = Field(pattern="^[a-z0-9-]{1,32}$")
    format: Format
    bitrate_bps: int | None
    rate_hz: int = Field(ge=1)
    channels: int = Field(ge=1, le=8)


class Remeasured(_Event):
    """What a whole rendition measures once it is decoded again; None as of a source."""

    event: Literal["remeasured"] = "remeasured"
    rendition: str = Field(pattern="^[a-z0-9-]{1,32}$")
    integrated_lufs: float | None
    true_peak_dbtp: float | None


class LadderMissed(_Event):
    """Every rendition that began is whole, but misses the plan: another one follows."""

    event: Literal["ladder_missed"] = "ladder_missed"


class LadderMade(_Event):
    """Every rendition is whole and measured: the track can be heard. `warnings` are the job's."""

    event: Literal["ladder"] = "ladder"
    warnings: tuple[str, ...] = ()


class Finished(_Event):
    """All is said."""

    event: Literal["finished"] = "finished"


class Failed(_Event):
    """The source cannot become a track; `kind` is the error's class."""

    event: Literal["failed"] = "failed"
    kind: Literal["malformed", "unsupported", "limit_exceeded"]
    code: str = Field(pattern="^[a-z0-9_]{1,64}$")
    message: str = Field(max_length=1000)
    limits: dict[str, float] = {}

    def error(self) -> MediaError:
        return _KINDS[self.kind](self.code, self.message, self.limits)


Event = (
    Probed
    | Progress
    | Planned
    | Initialised
    | SegmentMade
    | Drawn
    | Remeasured
    | LadderMissed
    | LadderMade
    | PieceMade
    | FileMade
    | Finished
    | Failed
)
Message = tuple[Event, bytes]
"""An event and its payload."""

_ADAPTER: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


def failed(error: MediaError) -> Failed:
    """The event for a media error."""
    kind = next(name for name, cls in _KINDS.items() if isinstance(error, cls))
    return Failed(kind=kind, code=error.code, message=error.message[:1000], limits=error.limits)


def pack(event: Event, payload: bytes = b"") -> bytes:
    """One message."""
    return orjson.dumps(event.model_dump()) + b"\n" + payload


def unpack(message: bytes) -> tuple[Event, bytes]:
    """The event and its payload.

    Raises:
        Unavailable: `child_protocol`, the child said something that is no message.
    """
    header, _, payload = message.partition(b"\n")
    try:
        return _ADAPTER.validate_json(header), payload
    except ValidationError as error:
        raise Unavailable(
            "child_protocol", "the job's process sent a message that is not understood"
        ) from error
