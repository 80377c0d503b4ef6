"""The limits as they are by default, over real HTTP and a real Redis; other tests have them raised.

Source: contract, limits; reliability F11.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
import signals
from e2e.conftest import StartServer
from e2e.presentation import read
from e2e.server import Server, Setting, eventually
from servers.redis import NotInstalledError, PrivateRedis
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from media_server.auth.tokens import mint
from media_server.settings import Settings

DEFAULTS: dict[str, Setting] = {
    name.upper(): field.default
    for name, field in Settings.model_fields.items()
    if name.startswith("rate_limit_")
}
SECRET = "a-secret-that-signs-tokens-0123456789"
KEY = "a-key-between-two-servers-0123456789"
PLAYERS = 8
TOO_MANY = 429


def until_refused(ask: Callable[[], httpx2.Response], most: int) -> tuple[int, float, httpx2.Response]:
    """How many requests were taken before the first refusal, in how many seconds, and the refusal."""
    begun_s = time.monotonic()
    for taken in range(most):
        answer = ask()
        if answer.status_code == TOO_MANY:
            return taken, time.monotonic() - begun_s, answer
        assert answer.is_success, answer.text
    raise AssertionError(f"none of {most} requests was refused")


@pytest.fixture
def redis() -> Iterator[PrivateRedis]:
    try:
        program = PrivateRedis()
    except NotInstalledError as error:
        pytest.skip(str(error))
    with program:
        yield program


def test_a_guest_is_refused_after_his_burst_and_told_when_to_come_again(start_server: StartServer) -> None:
    """contract: 100/min (burst 20) without a token; 429 is a problem and carries Retry-After."""
    server = start_server(**DEFAULTS)
    taken, took_s, refused = until_refused(lambda: server.get("/tracks"), 100)
    assert 20 <= taken <= 20 + took_s * 100 / 60 + 1
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["code"] == "rate_limited"
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["x-request-id"] == refused.json()["request_id"]
    for path in ("/readyz", "/", "/web/app.js", "/api/v1/internal/jobs"):
        assert server.get(path).is_success, path
    assert 'veza_http_rate_limited_total{limit="guest"}' in server.get("/metrics").text


def test_a_third_websocket_is_refused_by_http(start_server: StartServer) -> None:
    """contract: WebSocket connections 10/min (burst 2)."""
    url = f"{start_server(**DEFAULTS).url.replace('http', 'ws', 1)}/stream"
    statuses = []
    while TOO_MANY not in statuses and len(statuses) < 10:
        with pytest.raises(InvalidStatus) as refused:
            connect(url, proxy=None)  # without a track: what is let in is refused with 400
        statuses.append(refused.value.response.status_code)
    assert statuses[:2] == [400, 400]
    assert statuses[-1] == TOO_MANY
    assert 1 <= int(refused.value.response.headers["Retry-After"]) <= 6


@pytest.mark.slow
def test_players_of_one_address_are_never_refused(start_server: StartServer, tmp_path: Path) -> None:
    """contract: no honest player is hit, also not where many fetch whole tracks, or guests ask too much."""
    server = start_server(**DEFAULTS)
    path = tmp_path / "song.flac"
    signals.write(path, signals.music(12.0, 44_100, 2), 44_100, "flac")
    url = server.master_url(server.publish(path)["track_id"])
    until_refused(lambda: server.get("/tracks"), 100)

    def play(_: int) -> int:
        with httpx2.Client(trust_env=False) as client:
            # it asserts that every answer is a whole one
            return sum(len(rung.segments) for rung in read(client, url).values())

    with ThreadPoolExecutor(PLAYERS) as players:
        played = list(players.map(play, range(2 * PLAYERS)))
    assert min(played) == max(played) > 9
    assert not [
        line
        for line in server.log("http.request")
        if line["endpoint"].startswith("/hls") and line["status"] == TOO_MANY
    ]


def test_two_servers_share_one_budget_and_each_goes_on_without_redis(
    start_server: StartServer, redis: PrivateRedis
) -> None:
    """requirements D6: shared through Redis; F11: without it the limits are local, never none."""
    env: dict[str, Setting] = {
        **DEFAULTS,
        "APP_ENV": "staging",
        "JWT_SECRET": SECRET,
        "INTERNAL_API_KEY": KEY,
        "REDIS_URL": redis.url,
        "RATE_LIMIT_TOKEN_PER_MINUTE": 2,
    }
    servers = start_server(**env), start_server(**env)
    settings = Settings(jwt_secret=SECRET, _env_file=None)
    users = itertools.count()

    def asks() -> list[int]:
        """What both say to one more user; each has one request, and half a minute to the next."""
        token = mint(settings, subject=f"user-{next(users)}", now=time.time())
        return [_status(server, f"Bearer {token}") for server in servers for _ in range(2)]

    # an answer that a busy machine brings too late does not count: the server counts alone for a second
    shared = eventually(lambda: found if (found := asks())[2] == TOO_MANY else None, "a shared budget")
    assert [status == TOO_MANY for status in shared] == [False, True, True, True]
    redis.kill()
    alone = asks()
    assert [status == TOO_MANY for status in alone] == [False, True, False, True]
    for server in servers:
        server.wait_for_log("limits.redis_lost")
    redis.start()
    eventually(lambda: asks()[2] == TOO_MANY or None, "a budget that is shared again")
    servers[0].wait_for_log("limits.redis_back")


def _status(server: Server, authorization: str) -> int:
    """The answer to a request that asks nothing of Redis but the count."""
    return server.get("/openapi.json", authorization=authorization).status_code
