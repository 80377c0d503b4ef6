"""media_server/endpoints/problem.py: every error as application/problem+json."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from httpx2 import ASGITransport, AsyncClient, Response
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send
from structlog.testing import capture_logs

from media_server import errors
from media_server.endpoints.problem import EXCEPTION_HANDLERS, Problems, problem_of

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln"


async def _ask(error: BaseException, method: str = "GET", path: str = "/") -> Response:
    async def fail(request: Request) -> PlainTextResponse:
        raise error

    app = Starlette(
        routes=[Route("/", fail, methods=["GET", "POST"])],
        middleware=[Middleware(Problems)],
        exception_handlers=EXCEPTION_HANDLERS,
    )
    async with AsyncClient(transport=ASGITransport(app=app), base_url="http://test") as client:
        return await client.request(method, path)


@pytest.mark.parametrize(
    ("error", "status", "title"),
    [
        (errors.Malformed("not_audio", "it is a picture"), 422, "The file is broken"),
        (errors.Unsupported("codec_not_allowed", "it is a picture"), 415, "Not supported"),
        (errors.LimitExceeded("too_long", "it is a picture"), 413, "Over a limit"),
        (errors.BadRequest("bad_job", "it is a picture"), 400, "Bad request"),
        (errors.NotFound("not_audio", "it is a picture"), 404, "Not found"),
        (errors.Conflict("job_state", "it is a picture"), 409, "Conflict"),
        (errors.Unauthenticated("token_needed", "it is a picture"), 401, "A token is needed"),
        (errors.Denied("track_denied", "it is a picture"), 403, "Not allowed"),
        (errors.Busy("uploads_full", "it is a picture"), 429, "Busy"),
        (errors.Unavailable("storage_down", "it is a picture"), 503, "Unavailable"),
    ],
)
async def test_every_error_class_is_a_problem(error: Any, status: int, title: str) -> None:
    """Contract: errors are application/problem+json (RFC 9457) with a stable `code` and the request id."""
    with capture_logs() as lines:
        answer = await _ask(error)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "type": f"urn:veza:problem:{error.code}",
        "title": title,
        "status": status,
        "detail": "it is a picture",
        "code": error.code,
        "request_id": None,
    }
    assert lines == []


async def test_the_limits_involved_are_named() -> None:
    """Reliability, common rule: code, message, and the limits involved."""
    answer = await _ask(
        errors.LimitExceeded("too_large", "source is 7 GB, limit is 4 GB", {"MAX_SOURCE_BYTES": 4e9})
    )
    assert answer.json()["limits"] == {"MAX_SOURCE_BYTES": 4e9}


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (errors.Busy("busy", "x", retry_after_s=2.1), "3"),
        (errors.Busy("busy", "x", retry_after_s=0.0), "1"),
        (errors.Busy("busy", "x"), "1"),
        (errors.Unavailable("down", "x"), "5"),
        (errors.Unavailable("down", "x", retry_after_s=30), "30"),
        (HTTPException(503), "5"),
        (HTTPException(503, headers={"Retry-After": "7"}), "7"),
        (errors.Conflict("state", "x"), None),
    ],
)
async def test_429_and_503_say_when_to_come_again(error: Exception, seconds: str | None) -> None:
    """Contract: 429 and 503 carry Retry-After; whole seconds, never 0."""
    assert (await _ask(error)).headers.get("retry-after") == seconds


@pytest.mark.parametrize(
    ("code", "challenge"),
    [
        ("token_needed", 'Bearer realm="veza"'),
        ("bad_token", 'Bearer realm="veza", error="invalid_token"'),
        ("token_expired", 'Bearer realm="veza", error="invalid_token"'),
    ],
)
async def test_401_carries_a_challenge(code: str, challenge: str) -> None:
    """RFC 9110 11.6.1; RFC 6750 3: no error code for who brought no token."""
    assert (await _ask(errors.Unauthenticated(code, "x"))).headers["www-authenticate"] == challenge


async def test_an_unknown_path_and_a_wrong_method_are_problems_too() -> None:
    """Starlette's own refusals; RFC 9110 15.5.6: a 405 names the methods allowed."""
    missing = await _ask(RuntimeError(), path="/nowhere")
    wrong = await _ask(RuntimeError(), method="DELETE")
    assert (missing.status_code, missing.json()["code"], missing.json()["title"]) == (
        404,
        "not_found",
        "Not Found",
    )
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    assert {m.strip() for m in wrong.headers["allow"].split(",")} == {"GET", "HEAD", "POST"}


async def test_head_gets_the_headers_and_no_body() -> None:
    """RFC 9110 9.3.2: the same header fields as GET, no content."""
    got = await _ask(errors.NotFound("track_not_found", "x"))
    head = await _ask(errors.NotFound("track_not_found", "x"), method="HEAD")
    assert (head.status_code, head.content) == (404, b"")
    assert head.headers["content-length"] == str(len(got.content)) == got.headers["content-length"]
    assert head.headers["content-type"] == "application/problem+json"

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        raise errors.NotFound("track_not_found", "x")

    sent, _ = await _run(Problems(refuse), method="HEAD")
    assert sent[-1]["body"] == b""


async def test_our_bug_is_logged_once_and_tells_nothing() -> None:
    """Architecture, errors: anything else is our bug: 500, one traceback."""
    with capture_logs() as lines:
        answer = await _ask(KeyError("/srv/secret/path"))
    assert answer.status_code == 500
    assert answer.json()["code"] == "internal_error"
    assert "secret" not in answer.text
    assert "KeyError" not in answer.text
    (line,) = lines
    assert (line["event"], line["log_level"]) == ("http.bug", "error")
    assert isinstance(line["exc_info"], KeyError)


async def test_a_detail_never_repeats_a_token() -> None:
    """Reliability: a token is redacted in error pages."""
    answer = await _ask(errors.BadRequest("bad_job", f"source url is http://x/?token=abc and {TOKEN}"))
    assert answer.json()["detail"] == "source url is http://x/?token=[redacted] and [redacted]"


async def test_an_error_after_the_answer_began_cuts_it_off() -> None:
    """A body that ends early must look like one: no end is sent, and the server closes the connection."""

    async def half() -> AsyncIterator[bytes]:
        yield b"half"
        raise errors.Unavailable("storage_down", "storage is down")

    async def stream(_scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        async for piece in half():
            await send({"type": "http.response.body", "body": piece, "more_body": True})

    sent, lines = await _run(Problems(stream))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[-1]["more_body"]
    assert lines == [
        {
            "event": "http.answer_cut",
            "code": "storage_down",
            "detail": "storage is down",
            "log_level": "warning",
        }
    ]


async def test_a_client_that_leaves_is_no_error() -> None:
    """Neither while it sends its body nor while it reads ours."""

    async def left_while_sending(scope: Scope, receive: Receive, send: Send) -> None:
        raise ClientDisconnect

    async def left_while_reading(scope: Scope, receive: Receive, send: Send) -> None:
        await StreamingResponse(_endless())(scope, receive, send)

    for app in (left_while_sending, left_while_reading):
        _, lines = await _run(Problems(app), broken_pipe=True)
        assert lines == []


async def test_a_client_that_leaves_before_the_error_is_no_error() -> None:
    """The answer to an error may find nobody either."""

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        raise errors.NotFound("x", "x")

    _, lines = await _run(Problems(refuse), broken_pipe=True)
    assert lines == []


async def _endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x"


async def _run(
    app: Any, broken_pipe: bool = False, method: str = "GET"
) -> tuple[list[Message], list[dict[str, Any]]]:
    """Run an ASGI app against a client that is there, or one that has left."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if broken_pipe:
            raise OSError("the client has left")
        sent.append(message)

    scope = {"type": "http", "method": method, "path": "/", "headers": [], "asgi": {"spec_version": "2.4"}}
    with capture_logs() as lines:
        await app(scope, receive, send)
    return sent, [dict(line) for line in lines]


def test_the_code_of_a_refusal_by_status_is_stable() -> None:
    """Where only a status is known."""
    codes = {
        status: problem_of(HTTPException(status)).code for status in (400, 413, 415, 418, 422, 429, 500, 503)
    }
    assert codes == {
        400: "bad_request",
        413: "too_large",
        415: "media_type_not_supported",
        418: "bad_request",
        422: "not_understood",
        429: "busy",
        500: "internal_error",
        503: "unavailable",
    }


def test_a_body_is_json_whatever_the_detail_holds() -> None:
    """Tags with ESC, NUL and lone surrogates end up in messages."""
    problem = problem_of(errors.Malformed("bad_tags", "\x1b[31m\ud800\x00"))
    assert json.loads(problem.body("r-1"))["request_id"] == "r-1"
