"""media_server/endpoints/body.py"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request

from media_server.endpoints.body import LINGER_BYTES, Body, takes_body
from media_server.errors import BadRequest, Denied, LimitExceeded


def request_of(*messages: dict[str, Any], **headers: str) -> Request:
    """A request whose body comes in these messages, and then nothing any more."""
    left = list(messages)

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "headers": raw}, receive)


def piece(data: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": data, "more_body": more}


GONE = {"type": "http.disconnect"}


async def test_a_body_is_its_pieces() -> None:
    body = Body(request_of(piece(b"a"), piece(b""), piece(b"bc"), piece(b"", more=False)))
    assert [part async for part in body.pieces()] == [b"a", b"bc"]


async def test_a_body_over_the_bound_is_refused_before_it_is_read_and_while_it_is() -> None:
    with pytest.raises(LimitExceeded) as told:
        await Body(request_of(content_length="11")).whole(10)
    assert told.value.limits == {"body_bytes": 10.0}
    with pytest.raises(LimitExceeded):
        await Body(request_of(piece(b"x" * 6), piece(b"x" * 5), content_length="3")).whole(10)
    assert await Body(request_of(piece(b"x" * 10, more=False))).whole(10) == b"x" * 10


@pytest.mark.parametrize("said", ["-1", "1e3", "", "9" * 30, "0x10", "1,1"])
async def test_a_length_that_is_none_is_not_believed(said: str) -> None:
    assert Body(request_of(content_length=said)).length_bytes is None


async def test_a_sender_that_leaves_is_no_error_of_ours() -> None:
    with pytest.raises(ClientDisconnect):
        await Body(request_of(piece(b"a"), GONE)).whole(10)


async def test_a_sender_that_falls_silent_is_refused() -> None:
    with pytest.raises(BadRequest) as told:
        await Body(request_of(piece(b"a")), idle_s=0.01).whole(10)
    assert told.value.code == "upload_stalled"


async def answer_of(
    request: Request, handler: Callable[[Request, Body], Awaitable[Any]]
) -> tuple[int, dict[str, str], dict[str, Any]]:
    response = await takes_body(handler)(request)
    return response.status_code, dict(response.headers), json.loads(bytes(response.body))


async def refusing(request: Request, body: Body) -> Any:
    raise Denied("internal_only", "not you")


async def test_a_refusal_waits_for_a_body_that_soon_ends() -> None:
    """A connection closed on unread bytes is reset, and the client never sees why it was refused."""
    request = request_of(piece(b"x" * 1000), piece(b"x", more=False))
    status, headers, problem = await answer_of(request, refusing)
    assert (status, problem["code"]) == (403, "internal_only")
    assert "connection" not in headers


async def test_a_refusal_does_not_wait_for_a_body_without_end() -> None:
    half = LINGER_BYTES // 2
    request = request_of(*(piece(b"x" * half) for _ in range(3)))
    _, headers, _ = await answer_of(request, refusing)
    assert headers["connection"] == "close"


async def test_who_waits_to_be_asked_for_the_body_is_not_asked() -> None:
    """RFC 9110 10.1.1: a final status instead of 100 Continue."""
    request = request_of(expect="100-continue")
    _, headers, _ = await answer_of(request, refusing)
    assert headers["connection"] == "close"


async def test_a_refusal_of_who_has_left_is_silent() -> None:
    with pytest.raises(ClientDisconnect):
        await answer_of(request_of(GONE), refusing)
