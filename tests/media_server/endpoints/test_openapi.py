"""media_server/endpoints/openapi.py"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.routing import Route

SETTINGS: list[dict[str, Any]] = [{}, {"web_page": False}, {"app_env": "staging"}]


def values(node: Any) -> Iterator[Any]:
    """Every object in a document."""
    if isinstance(node, dict):
        yield node
        for child in node.values():
            yield from values(child)
    elif isinstance(node, list):
        for child in node:
            yield from values(child)


async def document_of(server: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await server.ask("/openapi.json")).json()
    return found


@pytest.mark.parametrize("settings", SETTINGS)
async def test_the_document_has_every_route_and_no_other(
    start: Callable[..., Any], settings: dict[str, Any]
) -> None:
    server = start(**settings)
    document = await document_of(server)
    described = {(path, method.upper()) for path, item in document["paths"].items() for method in item}
    routed = {
        (route.path_format, method)
        for route in server.app.routes
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD"
    }
    assert described == routed
    # OpenAPI knows no WebSockets
    assert len(routed) == sum(isinstance(route, Route) for route in server.app.routes)


@pytest.mark.parametrize("settings", SETTINGS)
async def test_every_operation_says_what_openapi_asks_for(
    start: Callable[..., Any], settings: dict[str, Any]
) -> None:
    """OpenAPI 3.1: unique ids, a description for each response, every path parameter declared."""
    document = await document_of(start(**settings))
    assert document["openapi"] == "3.1.1"
    assert {"title", "version"} <= document["info"].keys()
    operations = [(p, o) for p, item in document["paths"].items() for o in item.values()]
    ids = [operation["operationId"] for _, operation in operations]
    assert len(set(ids)) == len(ids)
    for path, operation in operations:
        assert operation["summary"]
        assert operation["responses"]
        assert all(answer["description"] for answer in operation["responses"].values())
        assert all(re.fullmatch("[1-5][0-9]{2}", status) for status in operation["responses"])
        parameters = operation["parameters"]
        in_path = [p["name"] for p in parameters if p["in"] == "path"]
        assert sorted(in_path) == sorted(re.findall(r"{(\w+)}", path))
        assert all(p["required"] for p in parameters if p["in"] == "path")
        names = [(p["name"], p["in"]) for p in parameters]
        assert len(set(names)) == len(names)


async def test_every_reference_leads_somewhere(server: Any) -> None:
    document = await document_of(server)
    schemas, schemes = document["components"]["schemas"], document["components"]["securitySchemes"]
    references = {node["$ref"] for node in values(document) if "$ref" in node}
    assert {f"#/components/schemas/{name}" for name in schemas} >= references
    assert {"#/components/schemas/Job", "#/components/schemas/JobRequest"} <= references
    for item in document["paths"].values():
        for operation in item.values():
            for alternative in operation["security"]:
                assert set(alternative) <= set(schemes)


async def test_bodies_are_described_by_the_models_that_read_them(server: Any) -> None:
    """One model serves the API body, the event and the schema; in snake_case, as the contract has it."""
    document = await document_of(server)
    schemas = document["components"]["schemas"]
    assert {"track_id", "source", "source_version", "visibility"} <= schemas["JobRequest"][
        "properties"
    ].keys()
    assert set(schemas["JobRequest"]["required"]) == {"track_id", "source"}
    assert {"job_id", "status", "error", "result"} <= schemas["Job"]["properties"].keys()
    assert {"code", "request_id", "detail"} <= schemas["Problem"]["properties"].keys()
    taken = document["paths"]["/api/v1/internal/transcode"]["post"]["requestBody"]["content"]
    assert set(taken) == {"application/json", "multipart/form-data"}


async def test_a_segment_is_described_in_both_of_its_formats(server: Any) -> None:
    document = await document_of(server)
    segment = document["paths"]["/hls/{track_id}/{version}/{rendition}/{file}"]["get"]
    for status in ("200", "206"):
        assert set(segment["responses"][status]["content"]) == {"audio/mp4", "video/mp2t"}


async def test_refusals_are_problems(server: Any) -> None:
    document = await document_of(server)
    segment = document["paths"]["/hls/{track_id}/{version}/{rendition}/{file}"]["get"]
    assert set(segment["responses"]) == {"200", "206", "401", "403", "404", "416", "429"}
    assert "application/problem+json" in segment["responses"]["404"]["content"]
    submit = document["paths"]["/transcode"]["post"]
    assert "Retry-After" in submit["responses"]["429"]["headers"]
    assert submit["security"] == [{"internal_key": []}]


async def test_what_is_answered_is_what_is_described(server: Any) -> None:
    """The names in the JSON are the names in its schema."""
    asset = await server.publish()
    await server.ask("/transcode", "POST", json={"track_id": asset.track_id, "source": {"path": "a"}})
    document = await document_of(server)
    for path, url in {
        "/tracks": "/tracks",
        "/tracks/{track_id}": f"/tracks/{asset.track_id}",
        "/api/v1/internal/jobs": "/api/v1/internal/jobs",
        "/status": "/status",
        "/readyz": "/readyz",
        "/web/config.json": "/web/config.json",
    }.items():
        content = document["paths"][path]["get"]["responses"]["200"]["content"]
        name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
        schema = document["components"]["schemas"][name]
        assert set((await server.ask(url)).json()) == set(schema["properties"])


async def test_who_may_call_is_what_the_server_asks_for(start: Callable[..., Any]) -> None:
    """Contract: the cookie beside the header and the query; a signature for GET and HEAD only."""
    document = await document_of(start(jwt_cookie_name="veza_token"))
    schemes = document["components"]["securitySchemes"]
    assert (schemes["cookie"]["in"], schemes["cookie"]["name"]) == ("cookie", "veza_token")
    token: list[dict[str, Any]] = [{"bearer": []}, {"token": []}, {"cookie": []}]
    signature = {"signature": [], "kid": [], "expires": []}
    paths = document["paths"]
    assert paths["/hls/{track_id}/master.m3u8"]["get"]["security"] == [*token, {}, signature]
    assert paths["/whep/{track_id}"]["post"]["security"] == [*token, {}]
    assert paths["/tracks"]["get"]["security"] == token
    assert paths["/api/v1/internal/jobs"]["get"]["security"] == [{"internal_key": []}]
