"""The token that a request came with.

Owns: where a token may stand, and which one counts. `Authorization: Bearer` and `?token=` were put there by
whoever asks; a browser adds the cookie by itself, also to what somebody else's page asks for. So the cookie
counts only where nothing was put there, and for what a foreign page could make use of (WebSocket and WHEP)
only with the Origin of a page that may play. A token that is refused is never replaced by a better one.
Source: RFC 6750 2 (one method a request), RFC 6265 4.2, RFC 6454 7; Fetch has no CORS for WebSockets.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from media_server.auth.jws import refuse_token
from media_server.endpoints.cors import Origins
from media_server.settings import Settings

READING_METHODS: Final = frozenset({"GET", "HEAD"})
"""What these answer is kept from foreign pages by CORS."""

WEB_SCHEMES: Final = {"ws": "http", "wss": "https"}
"""An Origin names the page, which has no WebSocket scheme."""

_BEARER_SCHEME = re.compile(r"(?i:bearer)(?: .*)?")
_BEARER = re.compile(r"(?i:bearer) +([!-~]+)")


def token_of(connection: HTTPConnection, settings: Settings) -> str | None:
    """The token in `Authorization: Bearer` or `?token=`, else the one in the cookie JWT_COOKIE_NAME.

    A header that says Bearer and holds no token is not made up for by another place.

    Raises:
        Unauthenticated: `bad_token`, two different ones came.
    """
    headers = [value.strip() for value in connection.headers.getlist("authorization")]
    bearers = [value for value in headers if _BEARER_SCHEME.fullmatch(value)]
    found = {match[1] if (match := _BEARER.fullmatch(value)) else "" for value in bearers}
    found |= {value for value in connection.query_params.getlist("token") if value}
    if not found and _cookie_counts(connection, settings):
        found = _cookies(connection, settings.jwt_cookie_name)
    if len(found) > 1:
        refuse_token("two different ones came")
    return next(iter(found), None) or None


def method_of(connection: HTTPConnection) -> str:
    """The method of a request; none for a WebSocket, whose handshake is no reading."""
    return str(connection.scope["method"]) if connection.scope["type"] == "http" else ""


def _cookies(connection: HTTPConnection, name: str) -> set[str]:
    """The values of the cookie: another site under the same domain may have put a second one beside ours."""
    pairs = (pair.partition("=") for line in connection.headers.getlist("cookie") for pair in line.split(";"))
    return {value.strip().strip('"') for given, _, value in pairs if given.strip() == name} - {""}


def _cookie_counts(connection: HTTPConnection, settings: Settings) -> bool:
    if method_of(connection) in READING_METHODS:
        return True
    origins = connection.headers.getlist("origin")
    return len(origins) == 1 and _may_play(origins[0], connection, settings)


def _may_play(origin: str, connection: HTTPConnection, settings: Settings) -> bool:
    """Whether it is one of CORS_ALLOWED_ORIGINS, where `*` names none, or this server's own."""
    return origin in Origins.of(settings.cors_allowed_origins).listed or origin in _own(connection, settings)


def _own(connection: HTTPConnection, settings: Settings) -> set[str]:
    """The origins that our page has: as PUBLIC_BASE_URL says, and as the request itself was sent to.

    The Host may be anybody's word, but a browser sends the cookie to the host it belongs to.
    """
    own = set()
    if settings.public_base_url:
        base = urlsplit(settings.public_base_url)
        own.add(f"{base.scheme}://{base.netloc}".lower())
    hosts = connection.headers.getlist("host")
    if len(hosts) == 1 and hosts[0]:
        scheme = connection.scope["scheme"]
        own.add(f"{WEB_SCHEMES.get(scheme, scheme)}://{hosts[0]}".lower())
    return own
