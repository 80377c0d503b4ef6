"""What this server says: one line per event, without secrets.

Owns: the set-up of structlog, the bridge from the standard library's loggers, and the redaction that every
line passes. JSON lines for machines, coloured columns for people; both go to stderr, so that a command's own
output stays clean. `message` is a fixed event name; what varies is in the fields.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from media_server.settings import Settings

SERVICE: Final = "stream-server"
REDACTED: Final = "[redacted]"
LIBRARY_EVENT: Final = "library.logged"
"""The event name of every line that a library wrote: its own text is not a fixed name."""

LEVELS: Final[Mapping[str, int]] = {
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
}
LEVEL_NAMES: Final[Mapping[str, str]] = {
    "debug": "DEBUG",
    "info": "INFO",
    "warning": "WARN",
    "warn": "WARN",
    "error": "ERROR",
    "exception": "ERROR",
    "critical": "ERROR",
}

BRIDGED_LOGGERS: Final = ("uvicorn", "uvicorn.error", "uvicorn.access")
"""uvicorn gives its loggers handlers of their own unless told not to."""

LIBRARY_LEVELS: Final[Mapping[str, int]] = {
    # uvicorn's access lines carry query strings and repeat our `http.request`
    "uvicorn.access": logging.CRITICAL + 1,
    # an outgoing request is told by the code that makes it, with its own fields
    "httpx2": logging.WARNING,
    "httpcore2": logging.WARNING,
    "python_multipart": logging.WARNING,
    "asyncio": logging.INFO,
    # at INFO a line for each packet of a handshake, with addresses in it
    "aioice": logging.WARNING,
    "aiortc": logging.WARNING,
}

FIRST_FIELDS: Final = ("timestamp", "level", "service", "message", "request_id", "trace_id", "span_id")

SECRET_FIELDS: Final = frozenset(
    {
        "access_token",
        "api_key",
        "authorization",
        "cookie",
        "password",
        "refresh_token",
        "secret",
        "set-cookie",
        "signature",
        "token",
        "x-internal-api-key",
    }
)
"""Names whose value is never shown, in log fields as in query strings."""

TEXT_LIMIT_CHARACTERS: Final = 16_384
"""Twice the longest token there is, and room for a deep traceback; anything longer is cut."""

CUT_MARGIN_CHARACTERS: Final = 512
"""Longer than an e-mail address can be (RFC 5321: 64 + 1 + 255)."""

DEPTH_LIMIT: Final = 6

_REDACTIONS: Final = (
    # scheme://user:password@host
    (re.compile(r"(://)[^\s/@:]*:[^\s/@]*@"), rf"\1{REDACTED}@"),
    (
        re.compile(r"(?i)((?:token|signature|secret|password|api[_-]?key)(?:=|%3d))[^\s&;,'\"#]+"),
        rf"\1{REDACTED}",
    ),
    # a dictionary that somebody turned into text
    (
        re.compile(
            r"(?i)(['\"](?:\w*token|signature|secret|password|api[_-]?key|authorization|cookie)['\"]:\s*['\"])[^'\"]+"
        ),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"(?i)\b(bearer(?:\s|%20|\+)+)(?!\[)[^\s,;'\"]+"), rf"\1{REDACTED}"),
    # every JSON object that starts with a key starts like this in base64url: a JWT, or a part of one
    (re.compile(r"eyJ[\w\-.%=+/]*"), REDACTED),
    # bounded, so that a long text without an @ costs no more than its length
    (re.compile(r"[\w.%+\-]{1,64}(?:@|%40)[\w\-]{1,63}(?:\.[\w\-]{1,63}){1,8}"), REDACTED),
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def redact_text(text: str) -> str:
    """`text` without tokens, signatures, passwords and e-mail addresses; control characters escaped."""
    if len(text) > TEXT_LIMIT_CHARACTERS:
        # with a margin, so that an address that lies across the cut is still recognised as one
        longest = TEXT_LIMIT_CHARACTERS + CUT_MARGIN_CHARACTERS
        shown = _redacted(text[:longest])[:TEXT_LIMIT_CHARACTERS] + "..."
    else:
        shown = _redacted(text)
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), shown)


def _redacted(text: str) -> str:
    for pattern, replacement in _REDACTIONS:
        text = pattern.sub(replacement, text)
    return text


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The processor every line passes: names that hold secrets, and texts that look like one."""
    return _clean_mapping(event, 0)


def _clean_mapping(fields: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    return {
        redact_text(str(name)): REDACTED if str(name).lower() in SECRET_FIELDS else _clean(value, depth)
        for name, value in fields.items()
    }


def _clean(value: object, depth: int) -> object:
    """`value` as JSON can carry it: strings redacted, numbers finite, everything unknown as its text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return redact_text(str(value))
    if depth < DEPTH_LIMIT and isinstance(value, Mapping):
        return _clean_mapping(value, depth + 1)
    if depth < DEPTH_LIMIT and isinstance(value, list | tuple | set | frozenset):
        return [_clean(item, depth + 1) for item in value]
    return redact_text(str(value))


def _level_and_service(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    event["level"] = LEVEL_NAMES.get(method, "INFO")
    event["service"] = SERVICE
    return event


def _library_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A library's line: its text becomes a field, its logger another."""
    record: logging.LogRecord = event["_record"]
    return {**event, "event": LIBRARY_EVENT, "logger": record.name, "text": event["event"]}


def _in_order(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    first = {name: event[name] for name in FIRST_FIELDS if name in event}
    return {**first, **event}


def _as_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    # ASCII, so that a lone surrogate in somebody's tags cannot make the line unwritable
    return json.dumps(event, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def _renderers(as_json: bool, colours: bool) -> Iterable[Processor]:
    yield structlog.stdlib.ProcessorFormatter.remove_processors_meta
    yield structlog.processors.format_exc_info
    yield redact
    if as_json:
        yield structlog.processors.EventRenamer("message")
        yield _in_order
        yield _as_json
    else:
        # the traceback is text by now; the default formatter would show local variables, and secrets in them
        yield structlog.dev.ConsoleRenderer(
            colors=colours, sort_keys=False, exception_formatter=structlog.dev.plain_traceback
        )


def configure(settings: Settings, stream: TextIO | None = None) -> None:
    """Set up logging for the process; calling it again replaces the set-up.

    Args:
        stream: where lines go; stderr unless given.
    """
    target = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _level_and_service,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    foreign = [*shared, _library_line] if settings.logs_as_json else shared
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=foreign,
            processors=list(_renderers(settings.logs_as_json, target.isatty())),
        )
    )
    level = LEVELS[settings.log_level]
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    _bridge_libraries(level)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _bridge_libraries(level: int) -> None:
    """Let the libraries' loggers end at the root's handler, at a level that suits each."""
    for name in BRIDGED_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    for name, lowest in LIBRARY_LEVELS.items():
        logging.getLogger(name).setLevel(max(level, lowest))


@contextmanager
def bound(**fields: str | None) -> Iterator[None]:
    """Give every line logged inside these fields (`request_id`, `track_id`, `job_id`), but for None."""
    known = {name: value for name, value in fields.items() if value is not None}
    with structlog.contextvars.bound_contextvars(**known):
        yield
