"""media_server/endpoints/services.py"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request

from media_server.endpoints.services import services_of


async def test_a_request_finds_the_parts_of_its_server(server: Any, start: Callable[..., Any]) -> None:
    other = start()
    request = Request({"type": "http", "app": other.app})
    assert services_of(request) is other.services is not server.services


async def test_urls_are_signed_where_there_is_something_to_sign_with(start: Callable[..., Any]) -> None:
    secret = "a-secret-of-the-tests-0123456789-abcdef"
    assert start().services.signer is None
    assert start(jwt_secret=secret).services.signer is not None
    assert start(url_signing_keys=f"k1:{secret}").services.signer is not None
