"""media_server/endpoints/ice_servers.py: what listeners are told of STUN and TURN."""

from __future__ import annotations

from typing import Any

import pytest

from media_server.endpoints.ice_servers import ice_server_links, turn_password
from media_server.settings import Settings

SECRET = "north"  # of the test vector
EXPIRES = 1_792_000_000


def links(**values: Any) -> tuple[str, ...]:
    return ice_server_links(Settings(**values), EXPIRES)


def test_without_servers_nothing_is_said() -> None:
    assert links() == ()


def test_each_server_is_a_link_of_its_own() -> None:
    """RFC 9725 4.6: rel=ice-server; username, credential and credential-type where there is a password."""
    found = links(
        stun_urls="stun:a.example:3478, stun:b.example:3478",
        turn_urls="turn:a.example:3478?transport=udp,turns:a.example:443?transport=tcp",
        turn_secret=SECRET,
    )
    password = turn_password(SECRET, str(EXPIRES))
    said = f'rel="ice-server"; username="{EXPIRES}"; credential="{password}"; credential-type="password"'
    assert found == (
        '<stun:a.example:3478>; rel="ice-server"',
        '<stun:b.example:3478>; rel="ice-server"',
        f"<turn:a.example:3478?transport=udp>; {said}",
        f"<turns:a.example:443?transport=tcp>; {said}",
    )


def test_turn_without_a_secret_is_not_told() -> None:
    """W3C webrtc-pc 4.4.1.6: a TURN server without a credential makes a browser refuse the whole list."""
    assert links(turn_urls="turn:a.example:3478") == ()


@pytest.mark.parametrize(
    ("secret", "username", "password"),
    [
        # printf '%s' 1792000000 | openssl dgst -sha1 -hmac north -binary | base64
        ("north", "1792000000", "u95kHdta2JGHJOo0t6NPRv39Jz4="),
        ("other", "1792000000", "LvwwC0sHoXUadtPvbr+8vmz97Js="),
    ],
)
def test_the_password_is_what_a_turn_server_computes(secret: str, username: str, password: str) -> None:
    """draft-uberti-behave-turn-rest-00 2.2: base64(hmac-sha1(secret, username)), by OpenSSL."""
    assert turn_password(secret, username) == password
