"""media_server/endpoints/operation.py"""

from __future__ import annotations

from httpx2 import ASGITransport, AsyncClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from media_server.endpoints.operation import Answer, Caller, Operation


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello " + request.path_params["name"])


OPERATION = Operation(
    path="/hello/{name}",
    handler=hello,
    summary="Greet",
    caller=Caller.OPEN,
    answers=(Answer(about="A greeting", media_type="text/plain"),),
)


async def test_head_has_the_headers_of_get_and_no_body() -> None:
    """RFC 9110 9.3.2."""
    app = Starlette(routes=[OPERATION.route()])
    async with AsyncClient(transport=ASGITransport(app=app), base_url="http://test") as client:
        got, head = await client.get("/hello/ann"), await client.head("/hello/ann")
        assert got.text == "hello ann"
        assert (head.content, head.headers["content-length"]) == (b"", "9")
        assert (await client.post("/hello/ann")).status_code == 405


def test_a_row_is_one_method_on_one_path() -> None:
    route = OPERATION.route()
    assert (route.path_format, route.methods) == ("/hello/{name}", {"GET", "HEAD"})
