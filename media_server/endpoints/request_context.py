"""What names a request: its id, and the trace it belongs to.

Owns: X-Request-ID in and out, and the fields that every log line of the request carries.
Source: W3C Trace Context 3.2 for `traceparent`.
"""

from __future__ import annotations

import re
import secrets
import uuid
from typing import Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from media_server.trace import TRACEPARENT, trace_id

REQUEST_ID_HEADER: Final = "X-Request-ID"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestContext:
    """Middleware: gives the request its id, in the answer, in `request.state` and in every line it logs."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = request_id_of(headers)
        scope.setdefault("state", {})["request_id"] = request_id

        async def named(message: Message) -> None:
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        # what the request before left in this context (a user id, a track id) is not this one's
        structlog.contextvars.clear_contextvars()
        with structlog.contextvars.bound_contextvars(request_id=request_id, **trace_of(headers)):
            await self._app(scope, receive, named)


def request_id_of(headers: Headers) -> str:
    """The caller's id if it is a plain name of at most 64 characters, else one of our own."""
    given = headers.get(REQUEST_ID_HEADER, "")
    return given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())


def trace_of(headers: Headers) -> dict[str, str]:
    """`trace_id` of the caller's trace and a fresh `span_id` for our part in it; empty without a trace."""
    found = trace_id(headers.get(TRACEPARENT))
    return {"trace_id": found, "span_id": secrets.token_hex(8)} if found else {}
