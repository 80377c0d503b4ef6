"""media_server/endpoints/routes.py: what holds for the whole application."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.routing import Route, WebSocketRoute

TRACK = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"


@pytest.mark.parametrize(
    "path", ["/nothing", "/hls", "/hls/", f"/hls/{TRACK}", "/tracks/", "/api/v1/internal"]
)
async def test_what_is_not_there_is_a_problem(server: Any, path: str) -> None:
    """RFC 9457; and never a redirect to what might be meant."""
    answer = await server.ask(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", f"/hls/{TRACK}/master.m3u8", {"GET", "HEAD"}),
        ("DELETE", f"/tracks/{TRACK}", {"GET", "HEAD"}),
        ("GET", "/api/v1/internal/transcode", {"POST"}),
        ("GET", f"/api/v1/internal/tracks/{TRACK}", {"DELETE"}),
        ("PUT", "/", {"GET", "HEAD"}),
        ("OPTIONS", "/metrics", {"GET", "HEAD"}),
    ],
)
async def test_another_method_is_405_with_those_that_are(
    server: Any, method: str, path: str, allowed: set[str]
) -> None:
    """RFC 9110 15.5.6: Allow is a must."""
    answer = await server.ask(path, method)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize("settings", [{}, {"web_page": False}])
async def test_head_works_wherever_get_does(start: Callable[..., Any], settings: dict[str, Any]) -> None:
    server = start(**settings)
    asset = await server.publish()
    server.services.stopping.set()  # the event streams end at once
    rendition = asset.rendition("128k")
    values = {
        "track_id": asset.track_id, "version": asset.version, "rendition": "128k",
        "file": rendition.init.name, "job_id": TRACK, "path": "app.js",
    }  # fmt: skip
    for route in server.app.routes:
        if isinstance(route, WebSocketRoute):
            continue
        assert isinstance(route, Route)
        if "GET" in (route.methods or ()):
            url = route.path_format.format(**values)
            got, head = await server.ask(url), await server.ask(url, "HEAD")
            assert (head.status_code, head.content) == (got.status_code, b""), url
            assert head.headers["content-type"] == got.headers["content-type"], url
            if (
                url not in {"/status", "/metrics"}
                and "events" not in url
                and "problem" not in got.headers["content-type"]
            ):
                assert head.headers["content-length"] == got.headers["content-length"], url


async def test_playback_is_shared_with_the_origins_that_are_allowed_and_nothing_else_is(
    start: Callable[..., Any],
) -> None:
    """Contract: CORS for playback routes, on errors too; never for internal ones."""
    origin = "https://veza.example"
    server = start(cors_allowed_origins=(origin,))
    asset = await server.publish()
    for path, status in ((f"/hls/{asset.track_id}/master.m3u8", 200), (f"/hls/{TRACK}/master.m3u8", 404)):
        answer = await server.ask(path, headers={"Origin": origin})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, origin)
    for path in ("/", "/api/v1/internal/jobs", "/dev/jobs", "/status"):
        answer = await server.ask(path, headers={"Origin": origin})
        assert "access-control-allow-origin" not in answer.headers


async def test_a_signed_playlist_does_not_reach_the_log(
    guarded: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Contract: tokens and signatures are redacted in every log."""
    asset = await guarded.publish(visibility="private")
    token = guarded.bearer("owner-1")["Authorization"].removeprefix("Bearer ")
    answer = await guarded.ask(f"/hls/{asset.track_id}/stream_128k.m3u8?token={token}")
    uri = next(line for line in answer.text.splitlines() if ".m4s" in line)
    assert (await guarded.ask(f"/hls/{asset.track_id}/{uri}")).status_code == 200
    written = capsys.readouterr()
    assert token not in written.out + written.err
    assert uri.rpartition("signature=")[2] not in written.out + written.err
