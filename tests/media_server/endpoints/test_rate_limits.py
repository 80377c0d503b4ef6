"""Who asks too often is told when to come again, and nobody else is; time is a number that the tests move.

Source: contract, limits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from httpx2 import ASGITransport, AsyncClient, Response
from prometheus_client.parser import text_string_to_metric_families
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from media_server.auth.tokens import mint
from media_server.endpoints.problem import Problems
from media_server.endpoints.rate_limits import RateLimits
from media_server.endpoints.services import Services
from media_server.settings import Settings
from media_server.state.buckets import LocalBuckets

TRACK = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
MEDIA = f"/hls/{TRACK}/0123456789abcdef/128k/000001.m4s"
GUEST, OTHER_GUEST = "203.0.113.9", "203.0.113.10"
ORIGIN = "https://app.example"
LIMITS = [name for name in Settings.model_fields if name.startswith("rate_limit_")]


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Limited:
    """The limits before an application that takes everything, and a clock that stands still."""

    def __init__(self, services: Services) -> None:
        self.clock = Clock()
        self.services = services
        services.buckets = LocalBuckets(self.clock)
        self.app = Problems(RateLimits(_taken, services, here=LocalBuckets(self.clock)))

    async def ask(self, path: str, method: str = "GET", *, peer: str = GUEST, **more: Any) -> Response:
        transport = ASGITransport(app=self._known, client=(peer, 4711))
        async with AsyncClient(transport=transport, base_url="http://localhost:8082") as client:
            return await client.request(method, path, **more)

    async def let_in(self, times: int, path: str, method: str = "GET", **more: Any) -> int:
        """How many of so many requests are taken."""
        return sum([(await self.ask(path, method, **more)).status_code == 200 for _ in range(times)])

    async def handshake(self) -> int:
        """The status of the answer to a WebSocket that is asked for; `_taken` says 200."""
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        scope = {
            "type": "websocket", "path": "/stream", "query_string": b"", "headers": [], "client": (GUEST, 1),
            "extensions": {"websocket.http.response": {}},
        }  # fmt: skip
        await self._known(scope, receive, send)
        assert sent[0]["type"] == "websocket.http.response.start"
        return int(sent[0]["status"])

    def refused(self) -> dict[str, float]:
        """What the metric says, by limit."""
        families = text_string_to_metric_families(self.services.metrics.render().decode())
        return {
            sample.labels["limit"]: sample.value
            for family in families
            for sample in family.samples
            if sample.name == "veza_http_rate_limited_total"
        }

    async def _known(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope, "app": _App(self.services)}, receive, send)


class _App:
    """As much of an application as `services_of` looks at."""

    def __init__(self, services: Services) -> None:
        self.state = self
        self.services = services


async def _taken(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("taken")(scope, receive, send)


@pytest.fixture
def limited(guarded: Any) -> Limited:
    """Limits as they are by default, at a server with secrets."""
    return Limited(guarded.services)


async def test_a_guest_has_twenty_at_once_and_is_told_when_to_come_again(limited: Limited) -> None:
    """contract: 100/min (burst 20) without a token; 429 carries Retry-After."""
    assert await limited.let_in(20, "/tracks") == 20
    refused = await limited.ask("/tracks")
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["cache-control"] == "no-store"
    assert refused.json()["code"] == "rate_limited"
    assert refused.json()["limits"] == {"RATE_LIMIT_GUEST_PER_MINUTE": 100.0}
    assert "100 requests a minute without a valid token" in refused.json()["detail"]
    limited.clock.now_s += int(refused.headers["retry-after"])
    assert await limited.let_in(1, "/tracks") == 1
    assert limited.refused() == {"guest": 1.0}


async def test_a_guest_has_a_hundred_in_a_minute(limited: Limited) -> None:
    let_in = 0
    for _ in range(120):
        let_in += await limited.let_in(2, "/tracks")
        limited.clock.now_s += 0.5
    assert 115 <= let_in <= 120  # a burst, and 100 in the minute


async def test_addresses_do_not_share(limited: Limited) -> None:
    await limited.let_in(21, "/tracks")
    assert await limited.let_in(20, "/tracks", peer=OTHER_GUEST) == 20


async def test_the_addresses_of_one_subscriber_do(limited: Limited) -> None:
    """A /64 holds more addresses than anybody could wait for."""
    let_in = [await limited.let_in(1, "/tracks", peer=f"2001:db8::{number:x}") for number in range(1, 26)]
    assert sum(let_in) == 20


async def test_a_user_has_a_hundred_at_once_with_all_his_tokens_and_addresses(
    limited: Limited, guarded: Any
) -> None:
    """contract: 1000/min (burst 100) with a token."""
    token, another = guarded.bearer("user-1"), guarded.bearer("user-1", track_id=TRACK)
    assert await limited.let_in(60, "/tracks", headers=token) == 60
    assert await limited.let_in(60, "/tracks", headers=another, peer=OTHER_GUEST) == 40
    assert await limited.let_in(20, "/tracks") == 20, "users take nothing from guests of their address"
    assert await limited.let_in(10, "/tracks", headers=guarded.bearer("user-2"), peer=OTHER_GUEST) == 10


@pytest.mark.parametrize("kind", ["made up", "expired", "of another issuer", "two of them"])
async def test_who_makes_tokens_up_is_a_guest(limited: Limited, guarded: Any, kind: str) -> None:
    """reliability: else each made-up token would be a budget of its own."""
    settings = guarded.services.settings
    let_in = 0
    for number in range(30):
        subject = f"user-{number}"
        token = {
            "made up": f"{number}.{number}.{number}",
            "expired": mint(settings, subject=subject, now=time.time() - 7200),
            "of another issuer": mint(
                settings.model_copy(update={"jwt_issuer": "somebody"}), subject=subject, now=time.time()
            ),
            "two of them": f"{mint(settings, subject=subject, now=time.time())}, Bearer x",
        }[kind]
        let_in += await limited.let_in(1, "/tracks", headers={"Authorization": f"Bearer {token}"})
    assert let_in == 20


async def test_a_token_in_the_query_counts_too(limited: Limited, guarded: Any) -> None:
    token = guarded.bearer("user-1")["Authorization"].removeprefix("Bearer ")
    assert await limited.let_in(50, f"/tracks?token={token}") == 50


async def test_websockets_have_a_budget_of_their_own(limited: Limited) -> None:
    """contract: WebSocket connections 10/min (burst 2)."""
    assert [await limited.handshake() for _ in range(3)] == [200, 200, 429]
    limited.clock.now_s += 6
    assert [await limited.handshake() for _ in range(2)] == [200, 429]
    assert await limited.let_in(20, "/tracks") == 20
    assert limited.refused() == {"websocket": 2.0}


async def test_media_is_never_taken_from_the_minute_and_the_minute_never_from_media(limited: Limited) -> None:
    """contract: media is counted apart, so that no honest player is hit."""
    assert await limited.let_in(500, MEDIA) == 500
    assert await limited.let_in(21, "/tracks") == 20
    assert await limited.let_in(200, f"/tracks/{TRACK}/cover") == 200


async def test_who_fetches_media_without_end_is_slowed_to_the_rate(limited: Limited) -> None:
    assert await limited.let_in(1010, MEDIA) == 1000
    limited.clock.now_s += 1
    assert await limited.let_in(110, MEDIA) == 100
    assert await limited.let_in(10, MEDIA, peer=OTHER_GUEST) == 10
    assert limited.refused() == {"media": 20.0}


async def test_a_page_load_meets_no_limit_and_a_flood_of_them_does(limited: Limited) -> None:
    assert await limited.let_in(3 * 30, "/web/app.js") == 90
    assert await limited.let_in(20, "/tracks") == 10
    assert limited.refused() == {"address": 10.0}
    limited.clock.now_s += 0.1
    assert await limited.let_in(20, "/web/app.js") == 10


@pytest.mark.parametrize("path", ["/health", "/healthz", "/readyz", "/metrics"])
async def test_what_watches_the_server_always_sees_it(start: Callable[..., Any], path: str) -> None:
    limited = Limited(start(**dict.fromkeys(LIMITS, 1)).services)
    assert await limited.let_in(2, "/tracks") == 1
    assert await limited.let_in(10, path) == 10


async def test_a_server_with_the_key_counts_against_the_total_alone(
    limited: Limited, key: dict[str, str]
) -> None:
    """contract: 1000/s per server."""
    path = "/api/v1/internal/transcode"
    assert await limited.let_in(1010, path, "POST", headers=key) == 1000
    assert limited.refused() == {"server": 10.0}
    assert await limited.let_in(1, "/tracks", peer=OTHER_GUEST) == 0
    assert await limited.let_in(1, MEDIA, peer=OTHER_GUEST) == 1
    limited.clock.now_s += 0.1
    assert await limited.let_in(1, "/tracks", peer=OTHER_GUEST) == 1


@pytest.mark.parametrize("headers", [{}, {"X-Internal-API-Key": "guessed"}])
async def test_who_guesses_the_key_is_a_guest(limited: Limited, headers: dict[str, str]) -> None:
    assert await limited.let_in(30, "/api/v1/internal/jobs", headers=headers) == 20


async def test_the_key_opens_nothing_elsewhere(limited: Limited, key: dict[str, str]) -> None:
    assert await limited.let_in(30, "/tracks", headers=key) == 20


async def test_in_development_who_sits_at_this_machine_is_trusted(server: Any) -> None:
    limited = Limited(server.services)
    for path in ("/dev/jobs", "/api/v1/internal/jobs"):
        assert await limited.let_in(200, path, peer="127.0.0.1") == 200
        assert await limited.let_in(30, path, peer=GUEST) < 30


async def test_a_refused_request_takes_nothing_from_everybody_else(start: Callable[..., Any]) -> None:
    """Else one guest could use up the server's total for all."""
    limited = Limited(start(rate_limit_server_per_second=30).services)
    await limited.let_in(90, "/tracks")
    assert await limited.let_in(15, "/tracks", peer=OTHER_GUEST) == 10
    assert limited.refused() == {"guest": 70.0, "server": 5.0}


async def test_zero_takes_a_limit_away(start: Callable[..., Any]) -> None:
    limited = Limited(start(**dict.fromkeys(LIMITS, 0)).services)
    assert await limited.let_in(150, "/tracks") == 150
    assert [await limited.handshake() for _ in range(5)] == [200] * 5


async def test_a_refusal_is_logged_named_and_readable_by_the_page(start: Callable[..., Any]) -> None:
    """contract: problems carry the request id, CORS headers are on errors too."""
    server = start(app_env="staging", cors_allowed_origins=ORIGIN, rate_limit_guest_per_minute=1)
    path = "/tracks"
    with capture_logs() as logged:
        await server.ask(path, headers={"Origin": ORIGIN})
        refused = await server.ask(path, headers={"Origin": ORIGIN, "X-Request-ID": "request-1"})
    assert refused.status_code == 429
    assert refused.json()["request_id"] == refused.headers["x-request-id"] == "request-1"
    assert refused.headers["access-control-allow-origin"] == ORIGIN
    assert "Retry-After" in refused.headers["access-control-expose-headers"]
    assert refused.headers["x-content-type-options"] == "nosniff"
    [line] = [line for line in logged if line["event"] == "http.request" and line["status"] == 429]
    assert line["code"] == "rate_limited"


async def test_an_address_is_the_one_that_the_proxy_saw(start: Callable[..., Any]) -> None:
    """reliability: a thousand made-up X-Forwarded-For headers are still one guest."""
    server = start(trusted_proxies="10.0.0.0/8")

    async def let_in(peer: str, forwarded: Callable[[int], str]) -> int:
        answers = [
            await server.ask("/tracks", peer=peer, headers={"X-Forwarded-For": forwarded(number)})
            for number in range(25)
        ]
        return sum(answer.status_code != 429 for answer in answers)

    assert await let_in("10.0.0.1", lambda number: f"198.51.100.{number}") == 25
    assert await let_in("10.0.0.1", lambda number: f"198.51.100.{number}, {GUEST}") < 25
    assert await let_in("192.0.2.1", lambda number: f"198.51.100.{number}") < 25
