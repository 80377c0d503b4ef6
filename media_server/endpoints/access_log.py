"""One line per request or WebSocket, one more for each that changes something, and the request metrics.

Owns: the events `http.request`, `websocket.closed` and `audit`, the route template that names a request in
metrics, and the status 499 for a client that left before its answer began. Only these lines carry the
client's address.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final
from urllib.parse import unquote_plus

import structlog
from starlette.routing import BaseRoute, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from media_server.log import REDACTED, SECRET_FIELDS
from media_server.metrics import UNMATCHED, Metrics

AUDITED_METHODS: Final = frozenset({"POST", "PUT", "DELETE"})
CLIENT_LEFT: Final = 499
SWITCHED: Final = 101
FORBIDDEN: Final = 403
QUIET_PATHS: Final = frozenset({"/health", "/healthz", "/readyz", "/metrics"})
"""Asked every few seconds by machines: logged at DEBUG while all is well."""

log = structlog.get_logger()


class AccessLog:
    """Middleware: records every request when it has ended."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._clock = clock
        self._templates: dict[int, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._connection(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = self._clock()
        status = CLIENT_LEFT
        sent_bytes = 0

        async def watched(message: Message) -> None:
            nonlocal status, sent_bytes
            await send(message)
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                sent_bytes += len(message.get("body", b""))

        # taken now: a mounted application may change what the scope says on its way
        target, path = redacted_target(scope), scope["path"]
        try:
            await self._app(scope, receive, watched)
        finally:
            duration_s = self._clock() - started
            endpoint = self._endpoint(scope)
            self._metrics.request_answered(scope["method"], endpoint, status, duration_s)
            fields: dict[str, Any] = {
                "method": scope["method"],
                "path": target,
                "endpoint": endpoint,
                "status": status,
                "client": scope["client"][0] if scope.get("client") else None,
            }
            if code := scope.get("state", {}).get("problem_code"):
                fields["code"] = code
            quiet = path in QUIET_PATHS and status < 400
            say = log.debug if quiet else log.info
            say("http.request", **fields, duration_ms=round(duration_s * 1000, 3), sent_bytes=sent_bytes)
            if scope["method"] in AUDITED_METHODS:
                log.info("audit", **fields)

    async def _connection(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The handshake is the request, answered when it is; the line comes when the WebSocket has ended."""
        started, target = self._clock(), redacted_target(scope)
        status, close_code, sent_bytes = CLIENT_LEFT, None, 0

        def answered(by: int) -> None:
            nonlocal status
            status = by
            self._metrics.request_answered("GET", self._endpoint(scope), by, self._clock() - started)

        async def watched(message: Message) -> None:
            nonlocal close_code, sent_bytes
            kind = message["type"]
            if kind == "websocket.send":
                sent_bytes += len(message.get("bytes") or message.get("text") or b"")
            elif kind == "websocket.close" and status == SWITCHED:
                close_code = message.get("code", 1000)
            await send(message)
            if kind == "websocket.accept":
                answered(SWITCHED)
            elif kind == "websocket.close" and status == CLIENT_LEFT:
                answered(FORBIDDEN)  # what a server answers where an application just closes
            elif kind == "websocket.http.response.start":
                answered(message["status"])

        async def heard() -> Message:
            nonlocal close_code
            message = await receive()
            if message["type"] == "websocket.disconnect" and close_code is None:
                close_code = message.get("code")
            return message

        try:
            await self._app(scope, heard, watched)
        finally:
            if status == CLIENT_LEFT:
                answered(CLIENT_LEFT)
            fields: dict[str, Any] = {
                "path": target,
                "endpoint": self._endpoint(scope),
                "status": status,
                "client": scope["client"][0] if scope.get("client") else None,
                "close_code": close_code,
            }
            if code := scope.get("state", {}).get("problem_code"):
                fields["code"] = code
            duration_ms = round((self._clock() - started) * 1000, 3)
            log.info("websocket.closed", **fields, duration_ms=duration_ms, sent_bytes=sent_bytes)

    def _endpoint(self, scope: Scope) -> str:
        route, router = scope.get("route"), scope.get("router")
        if route is None or router is None:
            return UNMATCHED
        if id(route) not in self._templates:
            self._templates = dict(templates_of(router.routes))
        return self._templates.get(id(route), UNMATCHED)


def templates_of(routes: Sequence[BaseRoute], prefix: str = "") -> Iterator[tuple[int, str]]:
    """Every route below by identity, with its full template: a mounted one knows only the rest of it."""
    for route in routes:
        path = prefix + getattr(route, "path", "")
        yield id(route), path or "/"
        if isinstance(route, Mount):
            yield from templates_of(route.routes, path)


def redacted_target(scope: Scope) -> str:
    """Path and query as they came, without the values of parameters that hold a secret."""
    path = scope.get("raw_path") or scope["path"].encode()
    query = scope.get("query_string", b"")
    shown = path.decode("ascii", "backslashreplace")
    return f"{shown}?{redacted_query(query.decode('ascii', 'backslashreplace'))}" if query else shown


def redacted_query(query: str) -> str:
    """A query string without the values of parameters that hold a secret, however their names are encoded."""
    return "&".join(
        f"{name}={REDACTED}" if unquote_plus(name).strip().lower() in SECRET_FIELDS else name + equals + value
        for name, equals, value in (part.partition("=") for part in query.split("&"))
    )
