"""Events on the exchange: reading what others send, writing what we tell.

Pure. A message is an envelope around its `data`, or the bare `data` whose type is the routing key; keys may
be snake_case or camelCase, unknown ones are ignored. What cannot be read is refused with a reason and is not
worth a second try.
Source: contract, Events.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from pydantic import AliasGenerator, BaseModel, ConfigDict, Field, StrictInt, ValidationError
from pydantic.alias_generators import to_camel, to_snake

from media_server import trace

MAX_MESSAGE_BYTES: Final = 1_048_576
"""An upload's event has some 1 kB."""

SCHEMA_VERSION: Final = 1
EVENT_NAMESPACE: Final = uuid.UUID("9f1c2c55-52d5-5f0a-8d0e-2a3b6f1f4e7d")

UPLOADED, UPDATED = "track.uploaded", "track.updated"
TRACK_DELETED, USER_DELETED = "track.deleted", "user.deleted"
COMPLETED, FAILED = "transcoding.completed", "transcoding.failed"

UPLOADED_NAMES: Final = (UPLOADED, "TrackUploaded", "streaming.track.uploaded.v1")
CATALOGUE_NAMES: Final = (UPDATED, TRACK_DELETED, USER_DELETED)
_TYPES: Final[Mapping[str, str]] = {
    **dict.fromkeys(UPLOADED_NAMES, UPLOADED),
    **{name: name for name in CATALOGUE_NAMES},
}


class Refused(ValueError):
    """The message is none of this contract; `code` is stable, `message` a sentence for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Causes:
    """What led to a job, repeated in all that is told of it."""

    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None


NO_CAUSES: Final = Causes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A message that was understood; `timestamp` is RFC 3339 in UTC with milliseconds, None if not told."""

    event_id: str | None
    event_type: str
    timestamp: str | None
    data: Mapping[str, Any]
    causes: Causes


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a foreign message asks for, as a message of our own."""

    job_id: str
    track_id: str
    body: bytes


class _Foreign(BaseModel):
    model_config = ConfigDict(
        alias_generator=AliasGenerator(validation_alias=to_camel), populate_by_name=True, extra="ignore"
    )


class _Metadata(_Foreign):
    correlation_id: str | None = Field(None, max_length=255)


class _Message(_Foreign):
    event_id: str | None = Field(None, min_length=1, max_length=255)
    event_type: str | None = Field(None, max_length=255)
    timestamp: str | None = Field(None, max_length=64)
    version: StrictInt = SCHEMA_VERSION
    data: dict[str, Any]
    metadata: _Metadata | None = None


def parse(
    body: bytes, routing_key: str, *, sent_at: datetime | None = None, traceparent: str | None = None
) -> Envelope:
    """Read a message that others sent.

    Args:
        routing_key: names the type where the message does not.
        sent_at: the message's own property, with its zone; used where the envelope has no timestamp.
        traceparent: the W3C header, passed on if it is one.
    Raises:
        Refused: `too_large`, `bad_json`, `bad_envelope`, `unknown_version`, `unknown_event`.
    """
    if len(body) > MAX_MESSAGE_BYTES:
        raise Refused("too_large", f"the message has {len(body)} bytes, the limit is {MAX_MESSAGE_BYTES}")
    message = _read(body)
    if message.version != SCHEMA_VERSION:
        raise Refused("unknown_version", f"version is {message.version}, this reads {SCHEMA_VERSION}")
    name = message.event_type or routing_key
    if name not in _TYPES:
        raise Refused("unknown_event", f"there is no event {name[:100]!r}")
    correlation_id = message.metadata.correlation_id if message.metadata else None
    return Envelope(
        event_id=message.event_id,
        event_type=_TYPES[name],
        timestamp=_in_utc(message.timestamp) if message.timestamp else _written(sent_at),
        data=message.data,
        causes=Causes(
            correlation_id=correlation_id,
            causation_id=message.event_id,
            traceparent=trace.read(traceparent),
        ),
    )


def event_id_of(event_type: str, data: Mapping[str, Any]) -> str:
    """The same for the same news: a job's end that is told again is recognised by it.

    Progress is other news with every step; an attempt starts once.
    """
    ends = event_type in {COMPLETED, FAILED}
    parts = ("job_id",) if ends else ("job_id", "attempt", "stage", "percent")
    seed = [event_type, *(str(data.get(part)) for part in parts)]
    return str(uuid.uuid5(EVENT_NAMESPACE, "\n".join(seed)))


def write(event_type: str, data: Mapping[str, Any], causes: Causes, *, at: datetime) -> bytes:
    """The envelope of an event of ours.

    Args:
        data: with `job_id` and `track_id`.
        at: with its zone.
    """
    envelope = {
        "event_id": event_id_of(event_type, data),
        "event_type": event_type,
        "aggregate_id": data["track_id"],
        "aggregate_type": "Track",
        "timestamp": _written(at),
        "version": SCHEMA_VERSION,
        "data": dict(data),
        "metadata": {"correlation_id": causes.correlation_id, "causation_id": causes.causation_id},
    }
    return orjson.dumps(envelope)


def why(error: ValidationError) -> str:
    """The first field that is wrong, without its value: it may be anything."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = ".".join(to_snake(str(part)) for part in first["loc"])
    return f"{field or 'the message'}: {first['msg']}"


def _read(body: bytes) -> _Message:
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused("bad_json", f"the message is no JSON: {error.msg}") from None
    if not isinstance(message, dict):
        raise Refused("bad_envelope", "the message is no JSON object")
    try:
        return _Message.model_validate(message if "data" in message else {"data": message})
    except ValidationError as error:
        raise Refused("bad_envelope", why(error)) from None


def _in_utc(text: str) -> str | None:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError("no zone")
        return _written(moment)
    except (ValueError, OverflowError):
        raise Refused("bad_envelope", "timestamp: it is not RFC 3339 with a zone") from None


def _written(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
