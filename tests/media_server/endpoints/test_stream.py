"""media_server/endpoints/stream.py: who is let in, and how one that is not is told."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from media_server.auth.tokens import LEEWAY_S, TokenVerifier
from media_server.websocket.messages import HEADER, FrameHeader

TRACK = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
WITHIN_S = 10.0
OTHER = "0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11"
SECRET = "a-secret-of-the-tests-0123456789-abcdef"


class Connection:
    """A WebSocket to the application, as an ASGI server would bring it."""

    def __init__(self) -> None:
        self.to_server: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.to_client: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.to_server.put_nowait({"type": "websocket.connect"})

    async def message(self) -> dict[str, Any]:
        async with asyncio.timeout(WITHIN_S):
            return await self.to_client.get()

    async def said(self, action: str) -> dict[str, Any]:
        while True:
            message = await self.message()
            if message.get("text") and (found := json.loads(message["text"]))["action"] == action:
                return dict(found)

    def ask(self, action: str, **data: Any) -> None:
        text = json.dumps({"type": "control", "action": action, "data": data})
        self.to_server.put_nowait({"type": "websocket.receive", "text": text})

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        """Status, headers and problem of a refused handshake."""
        head, body = await self.message(), await self.message()
        assert head["type"] == "websocket.http.response.start"
        headers = {name.decode().lower(): value.decode() for name, value in head["headers"]}
        return head["status"], headers, json.loads(body["body"])


@asynccontextmanager
async def connected(
    server: Any, query: str, headers: dict[str, str] | None = None, path: str = "/stream"
) -> AsyncIterator[Connection]:
    connection = Connection()
    given = {"host": "localhost:8082", **(headers or {})}
    scope = {
        "type": "websocket", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1",
        "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "scheme": "ws", "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
        "client": ("127.0.0.1", 4711), "server": ("127.0.0.1", 8082), "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
    }  # fmt: skip
    running = asyncio.create_task(server.app(scope, connection.to_server.get, connection.to_client.put))
    try:
        yield connection
    finally:
        connection.to_server.put_nowait({"type": "websocket.disconnect", "code": 1001})
        async with asyncio.timeout(WITHIN_S):
            await running


@pytest.fixture
async def guarded(start: Callable[..., Any]) -> Any:
    """A server with secrets; one listener opens many WebSockets here."""
    return start(app_env="staging", jwt_secret=SECRET, rate_limit_websockets_per_minute=0)


async def test_what_is_played_is_what_hls_serves(server: Any) -> None:
    asset = await server.publish()
    async with connected(server, f"track_id={asset.track_id}&position=8") as connection:
        assert (await connection.message())["type"] == "websocket.accept"
        connection.ask("hello", credit=200_000)
        connection.ask("play")
        assert (await connection.said("ready"))["data"]["position"] == 8.0
        init = (await connection.message())["bytes"]
        segment = (await connection.message())["bytes"]
        rendition = asset.rendition("128k")
        for frame, name in ((init, rendition.init.name), (segment, rendition.segments[2].name)):
            path = f"/hls/{asset.track_id}/{asset.version}/128k/{name}"
            assert frame[HEADER.size :] == (await server.ask(path)).content
        assert FrameHeader.unpack(segment).number == 2


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 400, "track_id_missing"),
        ("track_id=", 400, "track_id_missing"),
        ("track_id=nonsense", 404, "track_not_found"),
        (f"track_id={TRACK}", 404, "track_not_found"),
        ("track_id={}&position=-1", 400, "position_invalid"),
        ("track_id={}&position=9.1", 400, "position_invalid"),
        ("track_id={}&position=nan", 400, "position_invalid"),
        ("track_id={}&position=soon", 400, "position_invalid"),
    ],
)
async def test_a_refusal_is_an_http_answer(server: Any, query: str, status: int, code: str) -> None:
    """RFC 9457, with the request id and the careful headers that every answer has."""
    asset = await server.publish()
    async with connected(server, query.format(asset.track_id), {"x-request-id": "ask-1"}) as connection:
        found, headers, problem = await connection.answer()
        assert (found, problem["code"], problem["request_id"]) == (status, code, "ask-1")
        assert headers["content-type"] == "application/problem+json"
        assert headers["x-request-id"] == "ask-1"
        assert headers["x-content-type-options"] == "nosniff"


async def test_a_track_without_a_segment_asks_to_come_again(server: Any) -> None:
    asset = await server.publish()
    empty = tuple(replace(rendition, segments=()) for rendition in asset.renditions)
    await server.publish(asset, state="growing", renditions=empty)
    async with connected(server, f"track_id={asset.track_id}") as connection:
        status, headers, problem = await connection.answer()
        assert (status, problem["code"], headers["retry-after"]) == (503, "track_not_ready", "1")


async def test_a_stopping_server_takes_no_listener(server: Any) -> None:
    asset = await server.publish()
    server.services.stopping.set()
    async with connected(server, f"track_id={asset.track_id}") as connection:
        assert (await connection.answer())[0] == 503


async def test_a_private_track_is_for_its_owner_alone(guarded: Any) -> None:
    """Contract, who may hear: 401 without a token, 403 with another's, an unknown track alike."""
    asset = await guarded.publish(visibility="private")
    for track_id in (asset.track_id, TRACK):
        async with connected(guarded, f"track_id={track_id}") as connection:
            status, headers, problem = await connection.answer()
            assert (status, problem["code"]) == (401, "token_needed")
            assert headers["www-authenticate"].startswith("Bearer")
        async with connected(guarded, f"track_id={track_id}", guarded.bearer("somebody")) as connection:
            assert (await connection.answer())[0] == 403
    async with connected(guarded, f"track_id={asset.track_id}", guarded.bearer("owner-1")) as connection:
        assert (await connection.message())["type"] == "websocket.accept"


async def test_a_token_in_the_query_opens_and_stays_out_of_the_log(guarded: Any) -> None:
    """Contract: tokens are redacted in every log."""
    asset = await guarded.publish(visibility="private")
    token = guarded.bearer("owner-1")["Authorization"].removeprefix("Bearer ")
    with capture_logs() as lines:
        async with connected(guarded, f"track_id={asset.track_id}&token={token}") as connection:
            assert (await connection.message())["type"] == "websocket.accept"
    [line] = [one for one in lines if one["event"] == "websocket.closed"]
    assert (line["status"], line["endpoint"], line["close_code"]) == (101, "/stream", 1001)
    assert "token=[redacted]" in line["path"]
    assert token not in str(lines)


async def test_no_line_of_a_websocket_holds_a_token(guarded: Any) -> None:
    """Reliability: whichever way a token came, let in or refused, no line has any of it."""
    asset = await guarded.publish(visibility="private")
    tokens = [guarded.bearer(who)["Authorization"].removeprefix("Bearer ") for who in ("owner-1", "somebody")]
    own = {"origin": "http://localhost:8082"}
    with capture_logs() as lines:
        for token in (*tokens, f"{tokens[0]}x"):
            for query, headers in (
                (f"&token={token}", {}),
                (f"&t%6Fken={token}", {}),
                ("", {"authorization": f"Bearer {token}"}),
                ("", {"cookie": f"access_token={token}"} | own),
                (f"&token={token}", {"cookie": f"access_token={tokens[0]}"} | own),
            ):
                async with connected(guarded, f"track_id={asset.track_id}{query}", headers) as connection:
                    await connection.message()
    closed = [line for line in lines if line["event"] == "websocket.closed"]
    assert [line["status"] for line in closed] == [101] * 5 + [403] * 5 + [401] * 5
    assert "eyJ" not in str(lines)


async def test_the_cookie_opens_for_pages_that_may_play(guarded: Any) -> None:
    """Contract: the cookie needs an allow-listed `Origin` there; Fetch has no CORS for WebSockets."""
    asset = await guarded.publish(visibility="private")
    token = guarded.bearer("owner-1")["Authorization"].removeprefix("Bearer ")
    cookie = {"cookie": f"access_token={token}"}
    async with connected(
        guarded, f"track_id={asset.track_id}", cookie | {"origin": "http://localhost:8082"}
    ) as connection:
        assert (await connection.message())["type"] == "websocket.accept"
    async with connected(
        guarded, f"track_id={asset.track_id}", cookie | {"origin": "https://evil.example"}
    ) as connection:
        status, _, problem = await connection.answer()
        assert (status, problem["code"]) == (401, "token_needed")


async def test_a_change_of_visibility_ends_who_may_not_hear_any_more(
    guarded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contract: it takes effect within 5 s. Who may still hear goes on."""
    monkeypatch.setattr("media_server.websocket.session.LOOK_EVERY_S", 0.01)
    asset = await guarded.publish()
    query = f"track_id={asset.track_id}"
    async with (
        connected(guarded, query) as guest,
        connected(guarded, query, guarded.bearer("owner-1")) as owner,
    ):
        for connection in (guest, owner):
            connection.ask("hello")
            await connection.said("ready")
        await guarded.publish(asset, visibility="private")
        assert (await guest.said("close"))["data"]["code"] == "token_needed"
        assert (await guest.message())["code"] == 4401
        owner.ask("ping")
        owner.ask("rendition", name="192k")
        await owner.said("rendition_changed")


async def test_a_token_that_runs_out_ends_who_needed_it(
    guarded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reliability: its expiry is looked at again, and the close is 4401. Who needed none goes on."""
    monkeypatch.setattr("media_server.websocket.session.LOOK_EVERY_S", 0.01)
    monkeypatch.setattr("media_server.endpoints.readmission.TOKEN_EVERY_S", 0.0)
    private = await guarded.publish(visibility="private")
    public = await guarded.publish(track_id=OTHER)
    bearer = guarded.bearer("owner-1")
    async with (
        connected(guarded, f"track_id={private.track_id}", bearer) as owner,
        connected(guarded, f"track_id={public.track_id}", bearer) as guest,
    ):
        for connection in (owner, guest):
            connection.ask("hello")
            await connection.said("ready")
        tomorrow = time.time() + guarded.services.settings.jwt_max_lifetime_s + LEEWAY_S + 1
        guarded.services.verifier = TokenVerifier(guarded.services.settings, lambda: tomorrow)
        assert (await owner.said("close"))["data"]["code"] == "token_expired"
        assert (await owner.message())["code"] == 4401
        guest.ask("ping")
        guest.ask("rendition", name="192k")
        await guest.said("rendition_changed")


async def test_handshakes_and_listeners_are_counted(server: Any) -> None:
    asset = await server.publish()
    async with connected(server, f"track_id={asset.track_id}") as connection:
        await connection.message()
        connection.ask("hello")
        await connection.said("ready")
        shown = (await server.ask("/metrics")).text
        assert "veza_websocket_connections_active 1.0" in shown
        assert 'veza_stream_listeners{transport="websocket"} 1.0' in shown
    async with connected(server, "track_id=x") as connection:
        await connection.answer()
    shown = (await server.ask("/metrics")).text
    assert "veza_websocket_connections_active 0.0" in shown
    for status in ("101", "404"):
        assert f'veza_http_requests_total{{endpoint="/stream",method="GET",status="{status}"}} 1.0' in shown


async def test_another_path_has_no_websocket(server: Any) -> None:
    """ASGI: closing before accepting is the server's 403."""
    async with connected(server, "", path="/tracks") as connection:
        assert (await connection.message())["type"] == "websocket.close"


async def test_a_request_that_is_no_websocket_finds_nothing(server: Any) -> None:
    assert (await server.ask(f"/stream?track_id={TRACK}")).status_code == 404


async def test_a_bug_closes_with_1011_and_tells_nothing(
    start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 6455 7.4.1."""

    async def fail(*_: Any) -> None:
        raise ZeroDivisionError("a secret")

    server = start()
    asset = await server.publish()
    monkeypatch.setattr("media_server.websocket.session.Session.run", fail)
    with capture_logs() as lines:
        async with connected(server, f"track_id={asset.track_id}") as connection:
            await connection.message()
            closed = await connection.message()
            assert (closed["code"], closed["reason"]) == (1011, "internal_error")
    assert [one["event"] for one in lines if one["log_level"] == "error"] == ["http.bug"]
