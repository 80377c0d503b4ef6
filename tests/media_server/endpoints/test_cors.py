"""media_server/endpoints/cors.py: which web pages may read our answers."""

from __future__ import annotations

import pytest
from httpx2 import ASGITransport, AsyncClient, Response
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from media_server.endpoints.cors import EXPOSED_HEADERS, Cors, Origins, is_shared
from media_server.endpoints.problem import EXCEPTION_HANDLERS, Problems
from media_server.errors import NotFound

ORIGIN = "https://veza.example"
PLAYLIST = "/hls/x/master.m3u8"


async def _ask(
    method: str, path: str, headers: dict[str, str] | list[tuple[str, str]], *configured: str
) -> Response:
    async def answer(request: Request) -> PlainTextResponse:
        if request.url.path.endswith("missing"):
            raise NotFound("track_not_found", "there is no such track")
        return PlainTextResponse("#EXTM3U", headers={"Vary": "Accept-Encoding"})

    app = Starlette(
        routes=[Route("/{path:path}", answer, methods=["GET", "POST", "OPTIONS"])],
        middleware=[Middleware(Cors, origins=Origins.of(configured or (ORIGIN,))), Middleware(Problems)],
        exception_handlers=EXCEPTION_HANDLERS,
    )
    async with AsyncClient(transport=ASGITransport(app=app), base_url="http://test") as client:
        return await client.request(method, path, headers=headers)


def _preflight(origin: str = ORIGIN, method: str = "GET", headers: str = "range") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }


@pytest.mark.parametrize("path", [PLAYLIST, "/tracks", "/tracks/x/cover", "/hls/x/missing"])
async def test_a_listed_origin_may_read_playback_with_credentials(path: str) -> None:
    """Contract: exact origins, credentials allowed, Vary: Origin, on errors too."""
    answer = await _ask("GET", path, {"Origin": ORIGIN})
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "Origin" in answer.headers["vary"].split(", ")
    exposed = set(answer.headers["access-control-expose-headers"].split(", "))
    assert exposed == set(EXPOSED_HEADERS) >= {"Date", "Age", "Content-Range", "ETag", "X-Request-ID"}


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "https://veza.example.evil.example",
        "https://evilveza.example",
        "https://sub.veza.example",
        "http://veza.example",
        "https://veza.example:443",
        "https://veza.example:8443",
        "https://veza.example/",
        "https://VEZA.example",
        "*",
        "",
    ],
)
async def test_any_other_origin_may_not(origin: str) -> None:
    """Reliability, CORS: `null`, suffix and prefix lookalikes, port variants."""
    answer = await _ask("GET", PLAYLIST, {"Origin": origin})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert answer.headers["vary"] == "Accept-Encoding, Origin"


async def test_an_answer_to_nobody_varies_too() -> None:
    """A cache that stored it must not give it to a page of a listed origin without its headers."""
    answer = await _ask("GET", PLAYLIST, {})
    assert answer.headers["vary"] == "Accept-Encoding, Origin"
    assert "access-control-allow-origin" not in answer.headers


async def test_two_origins_are_none() -> None:
    """A request has one; two are somebody's trick."""
    answer = await _ask("GET", PLAYLIST, [("Origin", ORIGIN), ("Origin", "https://evil.example")])
    assert "access-control-allow-origin" not in answer.headers


async def test_a_star_never_comes_with_credentials() -> None:
    """Development default: any origin, no credentials; the answer is the same for all, so nothing varies."""
    answer = await _ask("GET", PLAYLIST, {"Origin": "https://anywhere.example"}, "*")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    assert answer.headers["vary"] == "Accept-Encoding"


async def test_a_preflight_allows_range_and_authorization() -> None:
    """What hls.js and an audio element with a token ask for; POST, PATCH and DELETE are WHEP's."""
    answer = await _ask("OPTIONS", PLAYLIST, _preflight(headers="authorization,range"))
    assert answer.status_code == 204
    assert answer.content == b""
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["access-control-allow-credentials"] == "true"
    methods = {"GET", "HEAD", "OPTIONS", "POST", "PATCH", "DELETE"}
    assert set(answer.headers["access-control-allow-methods"].split(", ")) == methods
    allowed = {name.lower() for name in answer.headers["access-control-allow-headers"].split(", ")}
    assert {"authorization", "range", "if-none-match"} <= allowed
    assert answer.headers["access-control-max-age"] == "7200"
    assert answer.headers["vary"] == "Origin"


async def test_a_preflight_of_another_origin_is_refused() -> None:
    """The reason is in the answer, for whoever sets up the server."""
    answer = await _ask("OPTIONS", PLAYLIST, _preflight("https://evil.example"))
    assert (answer.status_code, answer.json()["code"]) == (403, "origin_denied")
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["vary"] == "Origin"


async def test_options_without_a_preflights_headers_is_an_ordinary_request() -> None:
    """Only Origin and Access-Control-Request-Method together make a preflight."""
    assert (await _ask("OPTIONS", PLAYLIST, {"Origin": ORIGIN})).text == "#EXTM3U"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/healthz",
        "/metrics",
        "/status",
        "/openapi.json",
        "/transcode",
        "/api/v1/internal/transcode",
        "/api/v1/internal/tracks/x",
        "/dev/upload",
        "/hlsx/y",
        "/trackshop",
        "//hls/x",
    ],
)
@pytest.mark.parametrize("configured", [ORIGIN, "*"])
async def test_what_is_not_playback_is_never_shared(path: str, configured: str) -> None:
    """Contract: internal routes never get CORS headers, in development neither."""
    assert not is_shared(path)
    for method, headers in (
        ("GET", {"Origin": ORIGIN}),
        ("OPTIONS", _preflight()),
        ("POST", {"Origin": ORIGIN}),
    ):
        answer = await _ask(method, f"http://test{path}", headers, configured)
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_configured_origins_are_read_as_browsers_write_them() -> None:
    """Lower case, no slash at the end; `null` is dropped."""
    origins = Origins.of(["HTTPS://Veza.Example/", "null"])
    assert origins.allows(ORIGIN)
    assert not origins.allows("null")
    assert not origins.allows(None)
    assert not Origins.of([]).allows(ORIGIN)
