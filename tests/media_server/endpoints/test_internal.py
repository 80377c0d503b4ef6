"""media_server/endpoints/internal.py"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

JOBS = "/api/v1/internal/jobs"
KEY = "an-internal-key-of-the-tests-0123456789"
OLD = "the-key-before-the-rotation-0123456789"


async def test_the_key_opens_also_the_previous_one(start: Callable[..., Any]) -> None:
    """Contract: INTERNAL_API_KEY and INTERNAL_API_KEY_PREVIOUS, from anywhere."""
    server = start(app_env="staging", internal_api_key=KEY, internal_api_key_previous=OLD)
    for given in (KEY, OLD):
        answer = await server.ask(
            JOBS, headers={"X-Internal-API-Key": given}, peer="203.0.113.9", base="http://media.example"
        )
        assert answer.status_code == 200


@pytest.mark.parametrize("given", [None, "", "wrong", KEY[:-1], KEY + "x", KEY.upper(), "\u00e4"])
async def test_any_other_key_is_refused_also_here(start: Callable[..., Any], given: str | None) -> None:
    server = start(internal_api_key=KEY)
    headers = {} if given is None else {"X-Internal-API-Key": given.encode("latin-1")}
    answer = await server.ask(JOBS, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "internal_key_needed")


@pytest.mark.parametrize(("peer", "status"), [("10.1.2.3", 200), ("192.0.2.7", 200), ("192.0.2.8", 403)])
async def test_an_address_list_holds_beside_the_key(
    start: Callable[..., Any], peer: str, status: int
) -> None:
    """Contract: INTERNAL_ALLOWED_IPS; the right key from another address opens nothing."""
    server = start(internal_api_key=KEY, internal_allowed_ips=("10.0.0.0/8", "192.0.2.7"))
    assert (await server.ask(JOBS, headers={"X-Internal-API-Key": KEY}, peer=peer)).status_code == status


async def test_two_keys_are_none(start: Callable[..., Any]) -> None:
    server = start(internal_api_key=KEY)
    headers = [("X-Internal-API-Key", KEY), ("X-Internal-API-Key", "wrong")]
    assert (await server.ask(JOBS, headers=headers)).status_code == 401


async def test_the_header_may_be_called_otherwise(start: Callable[..., Any]) -> None:
    server = start(internal_api_key=KEY, internal_api_key_header="X-Service-Key")
    assert (await server.ask(JOBS, headers={"X-Service-Key": KEY})).status_code == 200
    assert (await server.ask(JOBS, headers={"X-Internal-API-Key": KEY})).status_code == 401


async def test_a_token_opens_no_internal_route(guarded: Any) -> None:
    assert (await guarded.ask(JOBS, headers=guarded.bearer("a", ("admin",)))).status_code == 401


async def test_outside_development_no_key_means_closed(start: Callable[..., Any]) -> None:
    server = start(app_env="staging")
    answer = await server.ask(JOBS)
    assert (answer.status_code, answer.json()["code"]) == (403, "internal_only")


@pytest.mark.parametrize(
    "base", ["http://localhost:8082", "http://127.0.0.1:8082", "http://[::1]:8082", "http://localhost"]
)
@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
async def test_in_development_this_machine_needs_no_key(server: Any, base: str, peer: str) -> None:
    """Contract: a loopback peer with a loopback Host."""
    assert (await server.ask(JOBS, base=base, peer=peer)).status_code == 200


@pytest.mark.parametrize("peer", ["192.168.1.7", "203.0.113.9", "::ffff:192.168.1.7", "fe80::1"])
async def test_another_machine_is_refused(server: Any, peer: str) -> None:
    assert (await server.ask(JOBS, peer=peer)).status_code == 403


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.1:8082@evil.example",
     "10.0.0.1", "[::2]", "[::1].evil.example", "localhost:", "", "127.1", "2130706433", "127.0.0.999"],
)  # fmt: skip
async def test_a_host_that_is_not_this_machine_is_refused(server: Any, host: str) -> None:
    """DNS rebinding: a name of somebody else's that points here."""
    assert (await server.ask(JOBS, headers={"Host": host})).status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://localhost:8082"}, 200),
        ({"Origin": "http://localhost:8082", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "http://localhost:3000"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://localhost:8082", "Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
async def test_a_page_of_another_origin_is_refused(server: Any, headers: dict[str, str], status: int) -> None:
    """A page that a developer has open must not reach the internal routes through the browser."""
    answer = await server.ask(JOBS, headers=headers)
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers
