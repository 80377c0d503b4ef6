"""Every error as `application/problem+json`.

Owns: what the outside learns when something goes wrong. One table (`errors.REACTIONS`) gives the status;
here it becomes a body and headers. A bug of ours is logged once, with its traceback, and tells nothing.
Source: RFC 9457; RFC 9110 for Retry-After, WWW-Authenticate and Allow; RFC 6750 3 for the challenge.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from media_server.auth.tokens import TOKEN_CODES
from media_server.errors import OUR_BUG, MediaError, ServiceError, Unauthenticated, reaction_to
from media_server.log import redact_text

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:veza:problem:"
BUG_CODE: Final = "internal_error"
BUG_DETAIL: Final = "something went wrong here; the request id finds it in the log"
REALM: Final = "veza"

WEBSOCKET_BUG: Final = 1011
"""RFC 6455 7.4.1: the server met an unexpected condition."""

RETRY_AFTER_S: Final[Mapping[int, float]] = {429: 1.0, 503: 5.0}
"""When to come again, where whoever refused did not say."""

HTTP_CODES: Final[Mapping[int, str]] = {
    404: "not_found",
    405: "method_not_allowed",
    412: "precondition_failed",
    413: "too_large",
    415: "media_type_not_supported",
    416: "range_not_satisfiable",
    422: "not_understood",
    429: "busy",
    503: "unavailable",
}

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What the outside is told about an error."""

    status: int
    title: str
    detail: str
    code: str
    limits: Mapping[str, float] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self, request_id: str | None) -> bytes:
        """The JSON text; `limits` only where there are any."""
        members: dict[str, Any] = {
            "type": TYPE_PREFIX + self.code,
            "title": self.title,
            "status": self.status,
            "detail": redact_text(self.detail),
            "code": self.code,
            "request_id": request_id,
        }
        if self.limits:
            members["limits"] = dict(self.limits)
        return json.dumps(members).encode()


def problem_of(error: BaseException) -> Problem:
    """The problem that `error` is to the outside."""
    if isinstance(error, HTTPException):
        return Problem(
            status=error.status_code,
            title=HTTPStatus(error.status_code).phrase,
            detail=error.detail,
            code=HTTP_CODES.get(error.status_code, "bad_request" if error.status_code < 500 else BUG_CODE),
            headers=_retry_after(error.status_code, None) | dict(error.headers or {}),
        )
    if not isinstance(error, ServiceError | MediaError):
        return Problem(status=OUR_BUG.status, title=OUR_BUG.title, detail=BUG_DETAIL, code=BUG_CODE)
    reaction = reaction_to(error)
    retry_after_s = error.retry_after_s if isinstance(error, ServiceError) else None
    headers = _retry_after(reaction.status, retry_after_s)
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = _challenge(error.code)
    return Problem(
        status=reaction.status,
        title=reaction.title,
        detail=error.message,
        code=error.code,
        limits=error.limits,
        headers=headers,
    )


def _retry_after(status: int, seconds: float | None) -> dict[str, str]:
    if status not in RETRY_AFTER_S:
        return {}
    wait_s = RETRY_AFTER_S[status] if seconds is None else seconds
    return {"Retry-After": str(max(1, math.ceil(wait_s)))}


def _challenge(code: str) -> str:
    """RFC 6750 3: no error is named to who brought no token."""
    challenge = f'Bearer realm="{REALM}"'
    return f'{challenge}, error="invalid_token"' if code in TOKEN_CODES else challenge


def response_to(error: BaseException, scope: Scope) -> Response:
    """The answer that tells `error` to whoever sent the request of `scope`."""
    problem = problem_of(error)
    state = scope.setdefault("state", {})
    state["problem_code"] = problem.code
    if problem.status < 200 or problem.status in {204, 304}:
        return Response(status_code=problem.status, headers=problem.headers)
    body = problem.body(state.get("request_id"))
    # a cached error outlives its cause
    headers = {"Cache-Control": "no-store", "Content-Length": str(len(body)), **problem.headers}
    shown = b"" if scope.get("method") == "HEAD" else body
    return Response(shown, status_code=problem.status, headers=headers, media_type=MEDIA_TYPE)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Starlette's own refusals (no such route, wrong method) in our words."""
    return response_to(error, request.scope)


EXCEPTION_HANDLERS: Final = {HTTPException: on_http_exception}
"""For `Starlette(exception_handlers=...)`. Everything else reaches `Problems` by itself."""


BEGINNINGS: Final = frozenset(
    {"http.response.start", "websocket.http.response.start", "websocket.accept", "websocket.close"}
)
"""After one of these there is nothing left to refuse."""


class Problems:
    """Middleware: whatever is raised inside becomes an answer here, also where a WebSocket was asked for."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] in BEGINNINGS
            try:
                await send(message)
            except OSError as error:
                if message["type"] in {"websocket.send", "websocket.close"}:
                    raise  # Starlette's WebSocket waits for this one
                # ASGI 2.4: this is how a server says that the client has left
                raise ClientDisconnect from error

        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001  # the edge: nothing passes it unanswered
            _record(error, begun)
            if begun and scope["type"] == "websocket":
                await _close(send)
                return
            if begun:
                # too late for a status: returning without an end makes the server close the connection,
                # and the client sees that the body is not whole
                return
            await _answer(response_to(error, scope), scope, receive, watched)


def _record(error: Exception, begun: bool) -> None:
    if not isinstance(error, ServiceError | MediaError | HTTPException):
        log.error("http.bug", exc_info=error, answer_begun=begun)
    elif begun:
        log.warning("http.answer_cut", code=getattr(error, "code", None), detail=str(error))


async def _close(send: Send) -> None:
    with contextlib.suppress(OSError):  # it is closed already
        await send({"type": "websocket.close", "code": WEBSOCKET_BUG, "reason": BUG_CODE})


async def _answer(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    try:
        await response(scope, receive, send)
    except ClientDisconnect:
        return
