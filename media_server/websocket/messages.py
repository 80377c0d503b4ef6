"""What goes over the wire: control messages as JSON text, media as binary frames behind a header of 16 bytes.

Owns: the envelope `{type, action, data, request_id, timestamp}`, the actions and what their data may hold,
the close codes, and the layout of a media frame. Pure. Source: RFC 6455 7.4 for the close codes.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, IntFlag, StrEnum
from typing import Any, Final

import orjson

from media_server.errors import BadRequest, Denied, NotFound, ServiceError, Unauthenticated

PROTOCOL_VERSION: Final = 1
MAX_MESSAGE_BYTES: Final = 4096
MAX_CREDIT_BYTES: Final = 4 * 1024 * 1024
"""The most that a client can have open: minutes of the best AAC, and a bound for what waits in buffers."""

HEADER: Final = struct.Struct(">BBBBIq")
"""Version, kind, rendition, flags, segment number, first presented sample (48 kHz)."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Close(IntEnum):
    """Why a connection ends. 4xxx are ours, the last three digits as in HTTP."""

    NORMAL = 1000
    GOING_AWAY = 1001
    UNSUPPORTED_DATA = 1003
    POLICY_VIOLATION = 1008
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    TRY_AGAIN_LATER = 1013
    UNAUTHENTICATED = 4401
    DENIED = 4403
    NOT_FOUND = 4404


CLOSES: Final[Mapping[type[ServiceError], Close]] = {
    Unauthenticated: Close.UNAUTHENTICATED,
    Denied: Close.DENIED,
    NotFound: Close.NOT_FOUND,
}


def close_for(error: ServiceError) -> Close:
    """How an error of a service ends the connection; any but these asks to come again."""
    return next((code for kind, code in CLOSES.items() if isinstance(error, kind)), Close.TRY_AGAIN_LATER)


class Action(StrEnum):
    """What a client can ask for."""

    HELLO = "hello"
    PLAY = "play"
    RESUME = "resume"
    PAUSE = "pause"
    SEEK = "seek"
    RENDITION = "rendition"
    CREDIT = "credit"
    PING = "ping"
    STOP = "stop"


class Kind(IntEnum):
    """What a media frame holds."""

    INIT = 1
    SEGMENT = 2


class Flag(IntFlag):
    """What a client must know of a segment beyond its place."""

    NONE = 0
    FIRST = 1  # the first one since the start, a seek or a change of rendition
    LAST = 2  # nothing follows it


class Violation(Exception):
    """The client broke the protocol in a way that ends the connection."""

    def __init__(self, close: Close, code: str, message: str) -> None:
        super().__init__(message)
        self.close = close
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A control message of a client, its envelope checked.

    `timestamp` is the client's clock in whatever unit it keeps; it is only ever given back.
    """

    action: Action
    data: Mapping[str, Any]
    request_id: str | None
    timestamp: float | None


class RefusedCommand(Exception):
    """A command that is understood as one and cannot be obeyed; the connection goes on."""

    def __init__(self, request_id: str | None, action: str, error: BadRequest) -> None:
        super().__init__(error.message)
        self.request_id = request_id
        self.action = action
        self.error = error


def parse(text: str) -> Command:
    """Read a control message.

    Raises:
        Violation: it is too long, no JSON, or not the envelope.
        RefusedCommand: `action_unknown`.
    """
    if len(encoded := text.encode("utf-8", "surrogatepass")) > MAX_MESSAGE_BYTES:
        raise Violation(
            Close.TOO_BIG,
            "message_too_big",
            f"a control message has {len(encoded)} bytes, limit is {MAX_MESSAGE_BYTES}",
        )
    try:
        message = orjson.loads(encoded)
    except orjson.JSONDecodeError:
        raise Violation(Close.POLICY_VIOLATION, "message_malformed", "a control message is no JSON") from None
    if not isinstance(message, dict) or message.get("type") != "control":
        raise _malformed("is no object whose type is control")
    action, data = message.get("action"), message.get("data")
    request_id, timestamp = message.get("request_id"), message.get("timestamp")
    if not isinstance(action, str):
        raise _malformed("has no action")
    if data is not None and not isinstance(data, dict):
        raise _malformed("has data that is no object")
    if request_id is not None and not (isinstance(request_id, str) and _REQUEST_ID.fullmatch(request_id)):
        raise _malformed(
            "has a request_id that is not of 1 to 64 letters, digits, dots, dashes or underscores"
        )
    if timestamp is not None and not _is_number(timestamp):
        raise _malformed("has a timestamp that is no number")
    if action not in set(Action):
        unknown = BadRequest("action_unknown", f"there is no such action; there are {', '.join(Action)}")
        raise RefusedCommand(request_id, "unknown", unknown)
    return Command(action=Action(action), data=data or {}, request_id=request_id, timestamp=timestamp)


def _malformed(what: str) -> Violation:
    return Violation(Close.POLICY_VIOLATION, "message_malformed", f"a control message {what}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def seconds(data: Mapping[str, Any], name: str) -> float | None:
    """A time in the data of a command; None: it is not there.

    Raises:
        BadRequest: `position_invalid`.
    """
    value = data.get(name)
    if value is None:
        return None
    if not _is_number(value) or value < 0:
        raise BadRequest("position_invalid", f"{name} is a number of seconds, 0 or more")
    return float(value)


def credit(data: Mapping[str, Any], name: str) -> int | None:
    """Bytes that a command grants; None: it is not there.

    Raises:
        BadRequest: `credit_invalid`.
    """
    value = data.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_CREDIT_BYTES:
        raise BadRequest("credit_invalid", f"{name} is a whole number of bytes, 1 to {MAX_CREDIT_BYTES}")
    return value


def message(kind: str, action: str, data: Mapping[str, Any], request_id: str | None, at_ms: int) -> str:
    """A server's message as JSON; `kind` is reply, event or error, `at_ms` the server's Unix time."""
    return orjson.dumps(
        {"type": kind, "action": action, "data": data, "request_id": request_id, "timestamp": at_ms}
    ).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameHeader:
    """What stands before the bytes of an init segment (number 0) or of a media segment.

    `rendition` is the index in the `ready` event's list, `first_sample` counts presented samples at 48 kHz
    and is negative where the encoder's priming stands before the first one.
    """

    kind: Kind
    rendition: int
    flags: Flag
    number: int
    first_sample: int

    def pack(self) -> bytes:
        """The 16 bytes."""
        return HEADER.pack(
            PROTOCOL_VERSION, self.kind, self.rendition, self.flags, self.number, self.first_sample
        )

    @classmethod
    def unpack(cls, frame: bytes) -> FrameHeader:
        """Read the header of a frame.

        Raises:
            ValueError: it is too short, or of another version.
        """
        if len(frame) < HEADER.size:
            raise ValueError(f"frame has {len(frame)} bytes, its header alone has {HEADER.size}")
        version, kind, rendition, flags, number, first_sample = HEADER.unpack_from(frame)
        if version != PROTOCOL_VERSION:
            raise ValueError(f"frame has version {version}, expected {PROTOCOL_VERSION}")
        return cls(
            kind=Kind(kind), rendition=rendition, flags=Flag(flags), number=number, first_sample=first_sample
        )
