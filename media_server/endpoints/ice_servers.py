"""The STUN and TURN servers that listeners are told of.

Owns: the `Link` header fields, and TURN passwords that end by themselves. The secret itself is never told.
Source: RFC 9725 4.6 (ice-server links), draft-uberti-behave-turn-rest-00 2.2 (credentials).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final

from media_server.settings import Settings

REL: Final = 'rel="ice-server"'


def ice_server_links(settings: Settings, expires: int) -> tuple[str, ...]:
    """The values of the Link fields, passwords ending at `expires` (Unix seconds).

    TURN is told only with a password: without one a browser refuses the whole list.
    """
    links = [f"<{url}>; {REL}" for url in settings.stun_urls]
    if settings.turn_secret is not None:
        username = str(expires)
        password = turn_password(settings.turn_secret.get_secret_value(), username)
        credential = f'username="{username}"; credential="{password}"; credential-type="password"'
        links += [f"<{url}>; {REL}; {credential}" for url in settings.turn_urls]
    return tuple(links)


def turn_password(secret: str, username: str) -> str:
    """The password of a user whose name is its end; a TURN server with the same secret finds the same."""
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()
