"""media_server/endpoints/proxies.py: who really sent the request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from media_server.endpoints.proxies import TrustedProxies, parse_address

PROXIES = ("10.0.0.0/8", "2001:db8:1::/48")


async def _seen(
    peer: str | None,
    *lines: tuple[str, str],
    networks: tuple[str, ...] = PROXIES,
    kind: str = "http",
    scheme: str = "http",
) -> tuple[str | None, str]:
    """The client address and scheme that an app behind the middleware sees."""
    found: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        found.append(scope)

    async def nothing(*_: object) -> None:
        raise AssertionError("nobody reads or writes here")

    scope = {
        "type": kind,
        "client": (peer, 4711) if peer else None,
        "scheme": scheme,
        "headers": [(name.encode(), value.encode()) for name, value in lines],
    }
    await TrustedProxies(app, networks)(scope, nothing, nothing)  # type: ignore[arg-type]
    client = found[0]["client"]
    return (client[0] if client else None), found[0]["scheme"]


FOR, PROTO = "x-forwarded-for", "x-forwarded-proto"


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1, 10.9.9.9", "198.51.100.1"),
        ("10.0.0.1", "10.3.3.3, 10.2.2.2", "10.3.3.3"),
        ("10.0.0.1", "1.1.1.1, nonsense", "10.0.0.1"),
        ("10.0.0.1", "1.1.1.1, nonsense, 10.2.2.2", "10.2.2.2"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", " , ,", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1:5555", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::7]:443", "2001:db8::7"),
        ("2001:db8:1::5", "2001:db8::7", "2001:db8::7"),
        ("::ffff:10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
    ],
)
async def test_the_client_is_the_first_stranger_from_the_right(
    peer: str, forwarded: str, client: str
) -> None:
    """Reliability, proxies: trust only what is configured, take from the right."""
    assert (await _seen(peer, (FOR, forwarded)))[0] == client


async def test_several_header_lines_are_one_list() -> None:
    """RFC 9110 5.3: the order of the lines is the order of the list."""
    assert (await _seen("10.0.0.1", (FOR, "1.1.1.1"), (FOR, "198.51.100.1, 10.2.2.2")))[0] == "198.51.100.1"


async def test_by_default_nobody_is_trusted() -> None:
    """TRUSTED_PROXIES: trust none, not even this machine."""
    for peer in ("127.0.0.1", "10.0.0.1", "::1"):
        assert await _seen(peer, (FOR, "1.1.1.1"), (PROTO, "https"), networks=()) == (peer, "http")


@pytest.mark.parametrize("peer", [None, "/run/socket", "testclient", ""])
async def test_a_peer_without_an_address_is_not_trusted(peer: str | None) -> None:
    """A Unix socket has none."""
    assert await _seen(peer, (FOR, "1.1.1.1"), (PROTO, "https")) == (peer or None, "http")


@pytest.mark.parametrize(
    ("forwarded", "proto", "scheme"),
    [
        ("198.51.100.1", "https", "https"),
        ("198.51.100.1", "HTTPS", "https"),
        ("198.51.100.1", "https, http", "http"),
        ("198.51.100.1, 10.2.2.2", "https, http", "https"),
        ("198.51.100.1, 10.2.2.2", "https", "https"),
        ("198.51.100.1", "gopher", "http"),
        ("198.51.100.1", "", "http"),
        ("", "https", "https"),
    ],
)
async def test_the_scheme_is_what_the_outermost_proxy_of_ours_saw(
    forwarded: str, proto: str, scheme: str
) -> None:
    """HSTS depends on it; a client's own X-Forwarded-Proto stands left of ours."""
    assert (await _seen("10.0.0.1", (FOR, forwarded), (PROTO, proto)))[1] == scheme


async def test_a_websocket_keeps_its_own_scheme_names() -> None:
    """ASGI: ws and wss."""
    assert (await _seen("10.0.0.1", (PROTO, "https"), kind="websocket", scheme="ws"))[1] == "wss"


@given(st.lists(st.ip_addresses(v=4).map(str) | st.text(max_size=8), max_size=6))
async def test_a_stranger_cannot_choose_its_address(words: list[str]) -> None:
    """Whatever a client sends, the address that our proxy appended is the one that counts."""
    spoofed = ", ".join(word for word in words if word.isascii() and word.isprintable())
    assert (await _seen("10.0.0.1", (FOR, f"{spoofed}, 198.51.100.1")))[0] == "198.51.100.1"


@pytest.mark.parametrize("text", ["", "x", "1.2.3", "1.2.3.4.5", "[", "[::1", "1.2.3.4:", ":80", "256.1.1.1"])
def test_what_is_no_address_is_none(text: str) -> None:
    """Foreign text never raises."""
    assert parse_address(text) is None or text in {"[::1", "1.2.3.4:"}
