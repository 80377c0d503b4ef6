"""media_server/endpoints/middleware.py: the layers together, around a small application."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import structlog
from httpx2 import ASGITransport, AsyncClient
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from media_server import log
from media_server.endpoints.middleware import edge
from media_server.endpoints.problem import EXCEPTION_HANDLERS
from media_server.errors import Unauthenticated, Unavailable
from media_server.metrics import Metrics
from media_server.settings import Settings

ORIGIN = "https://veza.example"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln"
SETTINGS = Settings(
    log_format="json", log_level="DEBUG", cors_allowed_origins=(ORIGIN,), trusted_proxies=("10.0.0.0/8",)
)


async def _hello(request: Request) -> Response:
    structlog.get_logger().info("hello.said")
    return PlainTextResponse("hello")


async def _who(request: Request) -> Response:
    structlog.contextvars.bind_contextvars(user_id="user-1")
    return JSONResponse({"request_id": request.state.request_id, "scheme": request.url.scheme})


async def _refused(request: Request) -> Response:
    raise Unauthenticated("bad_token", f"no {TOKEN}")


async def _broken(request: Request) -> Response:
    raise RuntimeError(f"broken by {TOKEN}")


async def _down(request: Request) -> Response:
    raise Unavailable("storage_down", "storage is down")


async def _stream(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a" * 10
        yield b"b" * 5

    return StreamingResponse(pieces())


class Edge:
    """A small application behind the whole edge, with its log lines and metrics."""

    def __init__(self, settings: Settings) -> None:
        self.stream = io.StringIO()
        self.metrics = Metrics()
        log.configure(settings, self.stream)
        self.app = Starlette(
            routes=[
                Route("/healthz", _hello),
                Route("/who", _who, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
                Route("/broken", _broken),
                Route("/down", _down),
                Mount(
                    "/hls",
                    routes=[
                        Route("/{track_id}/master.m3u8", _hello),
                        Mount("/{track_id}/{version}", routes=[Route("/{rendition}/{file}", _stream)]),
                        Route("/{track_id}/refused", _refused),
                    ],
                ),
            ],
            middleware=edge(settings, self.metrics),
            exception_handlers=EXCEPTION_HANDLERS,
        )

    async def ask(
        self,
        path: str,
        method: str = "GET",
        peer: str = "203.0.113.9",
        base: str = "http://test",
        **more: Any,
    ) -> Any:
        transport = ASGITransport(app=self.app, client=(peer, 4711))
        async with AsyncClient(transport=transport, base_url=base) as client:
            return await client.request(method, path, **more)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def said(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["message"] == event]

    def requests_counted(self) -> dict[tuple[str, str, str], float]:
        families = text_string_to_metric_families(self.metrics.render().decode())
        return {
            (s.labels["method"], s.labels["endpoint"], s.labels["status"]): s.value
            for family in families
            for s in family.samples
            if s.name == "veza_http_requests_total"
        }


@pytest.fixture
def server() -> Iterator[Edge]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield Edge(SETTINGS)
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.mark.parametrize("given", ["a", "A-b_c.9", "x" * 64])
async def test_a_plain_request_id_is_taken_over(server: Edge, given: str) -> None:
    """X-Request-ID in and out."""
    answer = await server.ask("/who", headers={"X-Request-ID": given})
    assert answer.headers["x-request-id"] == given == answer.json()["request_id"]
    assert {line["request_id"] for line in server.lines} == {given}


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\tb", "<script>", "a/b", "a;b", "\u00e9".encode()])
async def test_any_other_request_id_is_replaced(server: Edge, given: str | bytes) -> None:
    """It ends up in logs, headers and problems: only what is a name is repeated."""
    answer = await server.ask("/who", headers={"X-Request-ID": given})
    assert len(answer.headers["x-request-id"]) == 36


async def test_every_answer_has_its_own_id_also_problems(server: Edge) -> None:
    """A problem carries the request id of its answer's header."""
    one, other = await server.ask("/nowhere"), await server.ask("/nowhere")
    assert one.json()["request_id"] == one.headers["x-request-id"] != other.headers["x-request-id"]


async def test_what_one_request_bound_is_not_on_the_next_ones_lines(server: Edge) -> None:
    """A user id belongs to its request."""
    await server.ask("/who")
    await server.ask("/hls/t/master.m3u8")
    first, second = server.said("http.request")
    assert first["user_id"] == "user-1"
    assert "user_id" not in second


async def test_a_trace_is_continued_in_the_log(server: Edge) -> None:
    """W3C Trace Context: trace_id of the caller, a span of our own."""
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    await server.ask("/who", headers={"traceparent": f"00-{trace}-{parent}-01"})
    await server.ask("/who", headers={"traceparent": f"00-{'0' * 32}-{parent}-01"})
    known, unknown = server.said("http.request")
    assert known["trace_id"] == trace
    assert len(known["span_id"]) == 16
    assert known["span_id"] != parent
    assert "trace_id" not in unknown


async def test_a_request_leaves_one_line(server: Edge) -> None:
    """Contract, logs: method, path, status, duration, client address."""
    await server.ask("/hls/t/v/128k/1-aa.m4s?x=1")
    (line,) = server.said("http.request")
    assert {
        name: line[name] for name in ("method", "path", "status", "client", "sent_bytes", "endpoint")
    } == {
        "method": "GET",
        "path": "/hls/t/v/128k/1-aa.m4s?x=1",
        "status": 200,
        "client": "203.0.113.9",
        "sent_bytes": 15,
        "endpoint": "/hls/{track_id}/{version}/{rendition}/{file}",
    }
    assert line["duration_ms"] >= 0


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        (f"token={TOKEN}", "token=[redacted]"),
        ("a=1&token=plain&b=2", "a=1&token=[redacted]&b=2"),
        ("t%6Fken=plain", "t%6Fken=[redacted]"),
        ("TOKEN=plain", "TOKEN=[redacted]"),
        ("expires=1&kid=k&signature=AbC", "expires=1&kid=k&signature=[redacted]"),
        ("email=ann%40example.org", "email=[redacted]"),
        ("a", "a"),
    ],
)
async def test_secrets_in_the_query_do_not_reach_the_log(server: Edge, query: str, shown: str) -> None:
    """Contract: `?token=` redacted in every log, however its name is encoded."""
    await server.ask(f"/who?{query}")
    (line,) = server.said("http.request")
    assert line["path"] == f"/who?{shown}"


async def test_no_line_ever_holds_a_token(server: Edge) -> None:
    """Reliability: grep all logs after a full run for `eyJ`: 0 hits."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Cookie": f"access_token={TOKEN}", "Referer": f"/?{TOKEN}"}
    for path in (
        f"/who?token={TOKEN}",
        f"/hls/{TOKEN}/refused",
        "/broken",
        f"/{TOKEN}",
        f"/x?{TOKEN}={TOKEN}",
    ):
        answer = await server.ask(path, headers=headers)
        assert "eyJ" not in answer.text
    assert "eyJ" not in server.stream.getvalue()
    assert b"eyJ" not in server.metrics.render()
    assert len(server.said("http.request")) == 5


@pytest.mark.parametrize(
    ("method", "audited"),
    [("POST", 1), ("PUT", 1), ("DELETE", 1), ("GET", 0), ("HEAD", 0), ("PATCH", 0)],
)
async def test_what_changes_something_is_audited(server: Edge, method: str, audited: int) -> None:
    """Contract: one `audit` line per POST, PUT, DELETE."""
    await server.ask("/who", method)
    lines = server.said("audit")
    assert len(lines) == audited
    assert all(
        (line["method"], line["status"], line["client"], line["user_id"])
        == (method, 200, "203.0.113.9", "user-1")
        for line in lines
    )


async def test_a_refused_change_is_audited_with_its_code(server: Edge) -> None:
    """An attempt is worth a line too."""
    await server.ask("/nowhere", "DELETE")
    (line,) = server.said("audit")
    assert (line["status"], line["code"], line["endpoint"]) == (404, "not_found", "unmatched")


async def test_addresses_stand_only_in_access_and_audit_lines(server: Edge) -> None:
    """Contract: addresses only in access and audit lines."""
    await server.ask("/hls/t/master.m3u8")
    await server.ask("/broken", "POST")
    others = [line for line in server.lines if line["message"] not in {"http.request", "audit"}]
    assert others
    assert "203.0.113.9" not in json.dumps(others)


async def test_a_healthy_probe_is_a_debug_line(server: Edge) -> None:
    """Machines ask every few seconds."""
    await server.ask("/healthz")
    await server.ask("/who")
    assert [line["level"] for line in server.said("http.request")] == ["DEBUG", "INFO"]


async def test_requests_are_counted_by_template(server: Edge) -> None:
    """Finite labels, endpoint = route template, also through mounts."""
    for track in ("a", "b"):
        await server.ask(f"/hls/{track}/master.m3u8")
        await server.ask(f"/hls/{track}/v/128k/{track}.m4s")
    await server.ask("/nowhere/at/all")
    await server.ask("/who", "BREW")
    await server.ask("/broken")
    assert server.requests_counted() == {
        ("GET", "/hls/{track_id}/master.m3u8", "200"): 2.0,
        ("GET", "/hls/{track_id}/{version}/{rendition}/{file}", "200"): 2.0,
        ("GET", "unmatched", "404"): 1.0,
        ("OTHER", "/who", "405"): 1.0,
        ("GET", "/broken", "500"): 1.0,
    }


@pytest.mark.parametrize("path", ["/who", "/nowhere", "/broken", "/down", "/hls/t/refused"])
async def test_every_answer_carries_the_security_headers(server: Edge, path: str) -> None:
    """Contract, headers; on errors too."""
    headers = (await server.ask(path)).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'self'"
    assert policy["media-src"] == policy["worker-src"] == "'self' blob:"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["permissions-policy"] == "geolocation=(), microphone=(), camera=()"
    assert "strict-transport-security" not in headers


async def test_strict_transport_security_is_only_said_over_tls(server: Edge) -> None:
    """RFC 6797 7.2: not over plain HTTP; behind a proxy of ours its word counts, a stranger's does not."""
    name, proto = "strict-transport-security", {"X-Forwarded-Proto": "https"}
    assert name in (await server.ask("/who", base="https://test")).headers
    assert name in (await server.ask("/who", peer="10.0.0.1", headers=proto)).headers
    assert name not in (await server.ask("/who", headers=proto)).headers


async def test_the_log_names_the_client_behind_a_proxy_of_ours(server: Edge) -> None:
    """TRUSTED_PROXIES, from the right."""
    spoofed = {"X-Forwarded-For": "1.1.1.1, 198.51.100.1"}
    await server.ask("/who", peer="10.0.0.1", headers=spoofed)
    await server.ask("/who", peer="203.0.113.9", headers=spoofed)
    assert [line["client"] for line in server.said("http.request")] == ["198.51.100.1", "203.0.113.9"]


async def test_errors_of_playback_can_be_read_by_a_listed_origin(server: Edge) -> None:
    """CORS on errors too: a page must see the 401 to ask its user for a log-in."""
    answer = await server.ask("/hls/t/refused", headers={"Origin": ORIGIN})
    assert (answer.status_code, answer.json()["code"]) == (401, "bad_token")
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["vary"] == "Origin"


async def test_our_bug_leaves_one_traceback(server: Edge) -> None:
    """500, one traceback, none of it outside."""
    answer = await server.ask("/broken")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert server.stream.getvalue().count("Traceback") == 1
    assert "RuntimeError: broken by [redacted]" in server.said("http.bug")[0]["exception"]


async def test_a_client_that_left_is_counted_as_499(server: Edge) -> None:
    """Not an error of ours: an INFO line, and a status of its own."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise OSError("the client has left")

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/who",
        "raw_path": b"/who",
        "query_string": b"",
        "headers": [],
        "scheme": "http",
        "server": ("test", 80),
        "client": None,
        "asgi": {"version": "3.0", "spec_version": "2.4"},
    }
    await server.app(scope, receive, send)
    (line,) = server.said("http.request")
    assert (line["status"], line["level"], line["client"]) == (499, "INFO", None)
    assert {line["level"] for line in server.lines} == {"INFO"}
    assert server.requests_counted() == {("GET", "/who", "499"): 1.0}
