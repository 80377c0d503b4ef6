"""media_server/log.py: one line per event, without secrets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from media_server import log
from media_server.settings import Settings

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"
TRACK = "0b9f7c1e-5a3d-4e0b-9c55-2f4f6f0d8a11"


@pytest.fixture(autouse=True)
def _put_logging_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in log.LIBRARY_LEVELS}
    yield
    root.handlers[:], root.level = handlers, level
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    logging.captureWarnings(False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def _configured(log_format: str = "json", log_level: str = "INFO") -> io.StringIO:
    stream = io.StringIO()
    log.configure(Settings(log_format=log_format, log_level=log_level), stream)
    return stream


def _lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_carries_the_contract_fields_in_a_fixed_order() -> None:
    """Contract, logs: timestamp, level, service, message, request_id, trace_id, span_id, then the rest."""
    stream = _configured()
    with log.bound(request_id="r-1", job_id="j-1", track_id=None):
        structlog.contextvars.bind_contextvars(trace_id="a" * 32, span_id="b" * 16)
        structlog.get_logger().warning("job.failed", code="not_audio", duration_ms=12.5)
    (line,) = _lines(stream)
    assert list(line)[:7] == ["timestamp", "level", "service", "message", "request_id", "trace_id", "span_id"]
    assert line["timestamp"].endswith("Z")
    assert "T" in line["timestamp"]
    assert (line["level"], line["service"], line["message"]) == ("WARN", "stream-server", "job.failed")
    assert (line["job_id"], line["code"], line["duration_ms"]) == ("j-1", "not_audio", 12.5)
    assert "track_id" not in line


def test_fields_bound_inside_end_with_their_block() -> None:
    """A request's id is not on the lines after it."""
    stream = _configured()
    with log.bound(request_id="r-1"):
        structlog.get_logger().info("inside")
    structlog.get_logger().info("outside")
    assert [line.get("request_id") for line in _lines(stream)] == ["r-1", None]


@pytest.mark.parametrize(
    ("level", "heard"),
    [
        ("DEBUG", ["DEBUG", "INFO", "WARN", "ERROR"]),
        ("INFO", ["INFO", "WARN", "ERROR"]),
        ("WARN", ["WARN", "ERROR"]),
        ("ERROR", ["ERROR"]),
    ],
)
def test_log_level_takes_the_contracts_four_names(level: str, heard: list[str]) -> None:
    """Contract, settings: LOG_LEVEL (DEBUG, INFO, WARN, ERROR)."""
    stream = _configured(log_level=level)
    logger = structlog.get_logger()
    for say in (logger.debug, logger.info, logger.warning, logger.error):
        say("spoken")
    assert [line["level"] for line in _lines(stream)] == heard


def test_a_librarys_line_gets_a_fixed_name_and_the_context() -> None:
    """Lines of uvicorn and asyncio pass the same processors; their text is a field."""
    stream = _configured()
    with log.bound(request_id="r-1"):
        logging.getLogger("uvicorn.error").warning("cannot bind %s", TOKEN)
    (line,) = _lines(stream)
    assert (line["message"], line["logger"], line["level"]) == ("library.logged", "uvicorn.error", "WARN")
    assert line["text"] == "cannot bind [redacted]"
    assert line["request_id"] == "r-1"


def test_uvicorns_own_access_lines_are_silent() -> None:
    """They would repeat ours, with the query string in them."""
    stream = _configured(log_level="DEBUG")
    logging.getLogger("uvicorn.access").error("GET /?token=abc")
    assert stream.getvalue() == ""


def test_handlers_that_uvicorn_gave_itself_are_taken_away() -> None:
    """Every line leaves by one handler."""
    own = io.StringIO()
    logging.getLogger("uvicorn").addHandler(logging.StreamHandler(own))
    stream = _configured()
    logging.getLogger("uvicorn").info("started")
    assert own.getvalue() == ""
    assert len(_lines(stream)) == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (TOKEN, "[redacted]"),
        (f"got {TOKEN}, sorry", "got [redacted], sorry"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer [redacted]"),
        ("bearer%20abc", "bearer%20[redacted]"),
        ("/hls/x?token=abc&a=1", "/hls/x?token=[redacted]&a=1"),
        ("/x?access_token=abc", "/x?access_token=[redacted]"),
        ("?expires=1&kid=a&signature=AbC_-9&x=1", "?expires=1&kid=a&signature=[redacted]&x=1"),
        ("TOKEN%3Dabc", "TOKEN%3D[redacted]"),
        ("from ann.b+c@example.org at", "from [redacted] at"),
        ("/users/ann%40example.org", "/users/[redacted]"),
        ("amqps://veza:hunter2@broker:5671/v", "amqps://[redacted]@broker:5671/v"),
        ("{'token': 'abc', 'a': 'b'}", "{'token': '[redacted]', 'a': 'b'}"),
        ("a\x1b[31mred\x00\u202e", "a\\x1b[31mred\\x00\\u202e"),
        ("nothing to hide: track 7 at 14.2 LUFS", "nothing to hide: track 7 at 14.2 LUFS"),
        ("keys: tracks/1/asset.json", "keys: tracks/1/asset.json"),
    ],
)
def test_what_looks_like_a_secret_is_not_shown(text: str, shown: str) -> None:
    """Contract: never e-mail addresses or tokens; reliability: tags are never in log lines raw."""
    assert log.redact_text(text) == shown


def test_redaction_reaches_names_nested_values_and_exceptions() -> None:
    """Whatever shape a field has, the line holds no part of the token."""

    class Odd:
        def __str__(self) -> str:
            return f"odd {TOKEN}"

    stream = _configured()
    try:
        raise ValueError(f"refused {TOKEN}")
    except ValueError:
        structlog.get_logger().exception(
            "failed", deep={"a": [{"b": (TOKEN,)}]}, odd=Odd(), raw=TOKEN.encode(), token="x", cookie=["y"]
        )
    (line,) = _lines(stream)
    assert "eyJ" not in stream.getvalue()
    assert line["deep"] == {"a": [{"b": ["[redacted]"]}]}
    assert (line["odd"], line["token"], line["cookie"]) == ("odd [redacted]", "[redacted]", "[redacted]")
    assert "ValueError: refused [redacted]" in line["exception"]


def test_a_line_is_always_json() -> None:
    """Not a number, infinite, beyond 64 bits, lone surrogates, bytes: all must be writable."""
    stream = _configured()
    structlog.get_logger().info(
        "odd", nan=float("nan"), inf=float("inf"), big=2**80, lone="\ud800", raw=b"\xff", deep=_deep(50)
    )
    (line,) = _lines(stream)
    assert (line["nan"], line["inf"], line["big"]) == ("nan", "inf", 2**80)


def _deep(levels: int) -> list[Any]:
    return [_deep(levels - 1)] if levels else []


def test_a_long_text_is_cut_and_an_address_across_the_cut_is_still_hidden() -> None:
    """The cut must not make a secret unrecognisable."""
    text = "x" * (log.TEXT_LIMIT_CHARACTERS - 6) + " ann@example.org" + "y" * 1000
    shown = log.redact_text(text)
    assert len(shown) <= log.TEXT_LIMIT_CHARACTERS + 3
    assert "ann" not in shown


@given(st.text(max_size=300))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    """Bridged lines and problem details may pass the redaction more than once."""
    once = log.redact_text(text)
    assert log.redact_text(once) == once


def test_the_console_format_redacts_too_and_shows_no_locals() -> None:
    """LOG_FORMAT=console is for people; their terminals are recorded as well."""
    stream = _configured(log_format="console")
    hidden = "a local variable nobody should print"
    try:
        raise RuntimeError(TOKEN)
    except RuntimeError:
        structlog.get_logger().exception("broken", token=hidden, track_id=TRACK)
    logging.getLogger("uvicorn.error").info("Started server process")
    text = stream.getvalue()
    assert "broken" in text
    assert TRACK in text
    assert "Started server process" in text
    assert "RuntimeError: [redacted]" in text
    assert hidden not in text
    assert "eyJ" not in text


def test_configuring_again_replaces_the_handler() -> None:
    """No line is written twice."""
    _configured()
    stream = _configured()
    structlog.get_logger().info("once")
    assert len(_lines(stream)) == 1
    assert len(logging.getLogger().handlers) == 1
