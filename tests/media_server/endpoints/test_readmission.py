"""media_server/endpoints/readmission.py: how often a listener's token is looked at."""

from __future__ import annotations

import time
from typing import Any

import pytest
from starlette.requests import HTTPConnection

from media_server.auth.tokens import LEEWAY_S, TokenVerifier
from media_server.endpoints.readmission import TOKEN_EVERY_S, Readmission
from media_server.errors import Unauthenticated


async def test_a_token_is_looked_at_once_a_minute(guarded: Any) -> None:
    """Between two looks the track alone is, which lies in memory."""
    asset = await guarded.publish(visibility="private")
    header = guarded.bearer("owner-1")["Authorization"].encode()
    request = HTTPConnection(
        {
            "type": "http",
            "app": guarded.app,
            "method": "GET",
            "path": "/stream",
            "query_string": b"",
            "headers": [(b"authorization", header)],
        }
    )
    seconds = 0.0
    readmission = Readmission(request, asset, lambda: seconds)
    tomorrow = time.time() + guarded.services.settings.jwt_max_lifetime_s + LEEWAY_S + 1
    guarded.services.verifier = TokenVerifier(guarded.services.settings, lambda: tomorrow)
    seconds = TOKEN_EVERY_S - 1
    assert await readmission.asset() == asset
    seconds = TOKEN_EVERY_S
    for _ in range(2):
        with pytest.raises(Unauthenticated, match="expired"):
            await readmission.asset()
