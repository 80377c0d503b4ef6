"""media_server/endpoints/credentials.py: where a token may stand, and which one counts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import HTTPConnection

from media_server.endpoints.credentials import method_of, token_of
from media_server.errors import Unauthenticated
from media_server.settings import Settings

LISTED = "https://app.example"
SETTINGS = Settings(
    cors_allowed_origins=f"{LISTED},https://other.example",
    public_base_url="https://media.example",
    _env_file=None,
)
Headers = list[tuple[str, str]]


def asked(
    headers: Headers,
    query: str = "",
    *,
    method: str = "GET",
    scheme: str = "http",
) -> HTTPConnection:
    """A request; with the scheme ws or wss, a WebSocket's handshake."""
    scope: dict[str, Any] = {
        "type": "websocket" if scheme.startswith("ws") else "http",
        "path": "/x",
        "scheme": scheme,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }
    return HTTPConnection(scope if scheme.startswith("ws") else scope | {"method": method})


COOKIE = ("cookie", "theme=dark; access_token=c.c.c; lang=de")
BEARER = ("authorization", "Bearer h.h.h")
HOST = ("host", "media.internal:8082")


@pytest.mark.parametrize(
    ("headers", "query", "token"),
    [
        ([], "", None),
        ([BEARER], "", "h.h.h"),
        ([("authorization", "bearer   h.h.h ")], "", "h.h.h"),
        ([("authorization", "Basic h.h.h")], "", None),
        ([("authorization", "Bearerh.h.h")], "", None),
        ([], "token=q.q.q", "q.q.q"),
        ([], "token=", None),
        ([], "Token=q", None),
        ([COOKIE], "", "c.c.c"),
        ([("cookie", 'access_token="c.c.c"')], "", "c.c.c"),
        ([("cookie", "a=1"), COOKIE], "", "c.c.c"),
        ([("cookie", "access_token")], "", None),
        ([("cookie", "access_token=")], "", None),
        ([("cookie", "xaccess_token=c; access_tokenx=c; ACCESS_TOKEN=c")], "", None),
        ([BEARER, COOKIE], "", "h.h.h"),
        ([COOKIE], "token=q.q.q", "q.q.q"),
        ([BEARER], "token=h.h.h", "h.h.h"),
        ([BEARER, BEARER], "token=h.h.h&token=h.h.h", "h.h.h"),
        ([("authorization", "Basic dXNlcg=="), COOKIE], "", "c.c.c"),
        ([COOKIE, COOKIE], "", "c.c.c"),
    ],
)
def test_the_token_of_a_request(headers: Headers, query: str, token: str | None) -> None:
    """Contract: `Authorization: Bearer`, `?token=`, the cookie where there is neither."""
    assert token_of(asked(headers, query), SETTINGS) == token


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ([BEARER], "token=q.q.q"),
        ([BEARER, ("authorization", "Bearer i.i.i")], ""),
        ([], "token=q.q.q&token=r.r.r"),
        ([("authorization", "Bearer")], "token=q.q.q"),
        ([("authorization", "Bearer"), BEARER], ""),
        ([COOKIE, ("cookie", "access_token=d.d.d")], ""),
        ([("cookie", "access_token=c; access_token=d")], ""),
    ],
)
def test_two_different_tokens_are_refused(headers: Headers, query: str) -> None:
    """RFC 6750 2: one method in each request. A second cookie may be put there by a neighbouring site."""
    with pytest.raises(Unauthenticated) as raised:
        token_of(asked(headers, query), SETTINGS)
    assert raised.value.code == "bad_token"


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "bearer a b", "Bearer \u00e9"])
def test_a_bearer_without_a_token_is_not_made_up_for(header: str) -> None:
    """The strictest reading: a header that fails is not replaced by what a browser adds."""
    assert token_of(asked([("authorization", header), COOKIE]), SETTINGS) is None


ORIGINS = [
    (LISTED, True),
    ("https://other.example", True),
    ("https://media.example", True),
    ("http://media.internal:8082", True),
    ("https://media.internal:8082", False),
    ("http://media.internal", False),
    ("https://app.example.evil.example", False),
    ("https://app.example:444", False),
    ("http://app.example", False),
    ("https://evil.example", False),
    ("null", False),
    ("*", False),
    ("", False),
]


@pytest.mark.parametrize(("origin", "counts"), ORIGINS)
@pytest.mark.parametrize(("method", "scheme"), [("POST", "http"), ("DELETE", "http"), ("", "ws")])
def test_what_changes_something_needs_a_known_origin(
    origin: str, counts: bool, method: str, scheme: str
) -> None:
    """Contract: WebSocket and WHEP need an allow-listed `Origin` with the cookie, or the server's own."""
    connection = asked([HOST, COOKIE, ("origin", origin)], method=method, scheme=scheme)
    assert token_of(connection, SETTINGS) == ("c.c.c" if counts else None)


@pytest.mark.parametrize("headers", [[], [("origin", LISTED), ("origin", LISTED)]], ids=["none", "two"])
def test_no_origin_or_two_are_no_known_one(headers: Headers) -> None:
    """A client that sends none is no browser, and can send a header."""
    assert token_of(asked([HOST, COOKIE, *headers], scheme="ws"), SETTINGS) is None


def test_over_tls_the_own_origin_is_that_of_tls() -> None:
    for origin, counts in (("https://media.internal:8082", True), ("http://media.internal:8082", False)):
        connection = asked([HOST, COOKIE, ("origin", origin)], scheme="wss")
        assert token_of(connection, SETTINGS) == ("c.c.c" if counts else None)


@pytest.mark.parametrize("hosts", [[], [HOST, HOST], [("host", "")]])
def test_without_one_host_there_is_no_own_origin_by_it(hosts: Headers) -> None:
    headers = [*hosts, COOKIE, ("origin", "http://media.internal:8082")]
    assert token_of(asked(headers, scheme="ws"), SETTINGS) is None


@pytest.mark.parametrize("origins", ["*", f"*,{LISTED}", ""])
def test_a_star_names_no_origin(origins: str) -> None:
    """Contract: `*` (no credentials)."""
    settings = Settings(cors_allowed_origins=origins, _env_file=None)
    foreign = asked([HOST, COOKIE, ("origin", "https://evil.example")], scheme="ws")
    own = asked([HOST, COOKIE, ("origin", "http://media.internal:8082")], scheme="ws")
    assert (token_of(foreign, settings), token_of(own, settings)) == (None, "c.c.c")


def test_what_a_page_cannot_add_by_itself_needs_no_origin() -> None:
    for scheme in ("http", "ws"):
        headers = [HOST, BEARER, ("origin", "https://evil.example")]
        assert token_of(asked(headers, method="POST", scheme=scheme), SETTINGS) == "h.h.h"


def test_the_cookie_has_the_name_that_is_set() -> None:
    settings = Settings(jwt_cookie_name="__Host-veza", _env_file=None)
    headers = [("cookie", "access_token=c.c.c; __Host-veza=d.d.d")]
    assert token_of(asked(headers), settings) == "d.d.d"


def test_a_websocket_has_no_method() -> None:
    """Its handshake is a GET, which reads nothing."""
    assert (method_of(asked([], method="HEAD")), method_of(asked([], scheme="wss"))) == ("HEAD", "")


@given(st.lists(st.text(st.characters(max_codepoint=255), max_size=40), max_size=3))
def test_no_cookie_header_breaks_it(lines: list[str]) -> None:
    """A browser sends what any site under the domain has set."""
    try:
        token_of(asked([("cookie", f"access_token=c; {line}") for line in lines]), SETTINGS)
    except Unauthenticated as error:
        assert error.code == "bad_token"


async def test_the_cookie_is_never_looked_at_by_internal_routes(guarded: Any) -> None:
    """Contract: never internal routes; a token of whatever kind is not their key."""
    token = guarded.bearer("admin-1", ("admin",))["Authorization"].removeprefix("Bearer ")
    for path, method in (("/api/v1/internal/jobs", "GET"), ("/transcode", "POST")):
        for headers in ({"cookie": f"access_token={token}"}, {"authorization": f"Bearer {token}"}):
            answer = await guarded.ask(path, method, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "internal_key_needed")
