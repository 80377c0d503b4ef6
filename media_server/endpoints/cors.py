"""Which web pages may read our answers.

Owns: the origins, the paths they may ask for, and the preflight. Only playback is ever shared; internal
routes, operations and the page answer as if this did not exist.
Source: Fetch, "HTTP-network-or-cache fetch" and "CORS protocol".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from media_server.endpoints.problem import response_to
from media_server.errors import Denied

SHARED_PATHS: Final = ("/hls", "/tracks", "/whep")
"""The playback routes: each with everything below it."""

METHODS: Final = ("GET", "HEAD", "OPTIONS", "POST", "PATCH", "DELETE")
"""The last three for WHEP; no other playback route has them."""
REQUEST_HEADERS: Final = (
    "Authorization",
    "Content-Type",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "Range",
    "X-Request-ID",
    "traceparent",
)
EXPOSED_HEADERS: Final = (
    "Accept-Ranges",
    "Age",
    "Content-Range",
    "Date",
    "ETag",
    "Link",
    "Location",
    "Retry-After",
    "X-Request-ID",
)
PREFLIGHT_LASTS_S: Final = 7200
"""The longest that Chromium remembers a preflight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """The origins that may ask: exactly these, with credentials, or any, without."""

    listed: frozenset[str]
    any: bool

    @classmethod
    def of(cls, configured: Iterable[str]) -> Origins:
        """From CORS_ALLOWED_ORIGINS; `*` means any. `null` is never one to trust: every sandbox has it."""
        names = {origin.rstrip("/").lower() for origin in configured}
        return cls(listed=frozenset(names - {"*", "null"}), any="*" in names)

    def allows(self, origin: str | None) -> bool:
        """Whether a page of this origin may read the answer."""
        return origin is not None and (self.any or origin in self.listed)

    def headers_for(self, origin: str | None) -> dict[str, str]:
        """What tells the browser so; empty for an origin that may not."""
        if not self.allows(origin) or origin is None:
            return {}
        if self.any:
            return {"Access-Control-Allow-Origin": "*"}
        return {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"}


def is_shared(path: str) -> bool:
    """Whether other origins may ask for `path` at all."""
    return any(path == shared or path.startswith(shared + "/") for shared in SHARED_PATHS)


class Cors:
    """Middleware: answers preflights, and marks answers, errors too, as readable for the origins allowed."""

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_shared(scope["path"]):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = _single(headers, "origin")

        async def shared(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._mark(MutableHeaders(scope=message), origin)
            await send(message)

        preflight = scope["method"] == "OPTIONS" and origin and "access-control-request-method" in headers
        if not preflight:
            await self._app(scope, receive, shared)
            return
        await self._preflight(scope, origin)(scope, receive, shared)

    def _mark(self, headers: MutableHeaders, origin: str | None) -> None:
        allowed = self._origins.headers_for(origin)
        headers.update(allowed)
        if allowed:
            headers["Access-Control-Expose-Headers"] = ", ".join(EXPOSED_HEADERS)
        if not self._origins.any:
            # also on answers to requests without an origin: a cache must not serve them to a page
            _add_vary(headers, "Origin")

    def _preflight(self, scope: Scope, origin: str | None) -> Response:
        if not self._origins.allows(origin):
            return response_to(Denied("origin_denied", "this origin is not in CORS_ALLOWED_ORIGINS"), scope)
        return Response(
            status_code=204,
            headers={
                "Access-Control-Allow-Methods": ", ".join(METHODS),
                "Access-Control-Allow-Headers": ", ".join(REQUEST_HEADERS),
                "Access-Control-Max-Age": str(PREFLIGHT_LASTS_S),
            },
        )


def _single(headers: Headers, name: str) -> str | None:
    """The value of a header that stands exactly once."""
    values = headers.getlist(name)
    return values[0] if len(values) == 1 else None


def _add_vary(headers: MutableHeaders, name: str) -> None:
    present = [part.strip() for part in ",".join(headers.getlist("Vary")).split(",") if part.strip()]
    if "*" not in present and name.lower() not in {part.lower() for part in present}:
        headers["Vary"] = ", ".join([*present, name])
