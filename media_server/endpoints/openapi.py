"""The OpenAPI document, made from the route table and the types of the bodies.

Owns: nothing that the table could say. What follows from who may call (security, refusals) is derived here.
Source: OpenAPI 3.1.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any, Final

from pydantic import TypeAdapter
from starlette.routing import compile_path

from media_server.auth.signing import SIGNED_METHODS
from media_server.endpoints import problem
from media_server.endpoints.budgets import UNLIMITED_PATHS
from media_server.endpoints.operation import Answer, Caller, Operation, Parameter
from media_server.settings import Settings

OPENAPI: Final = "3.1.1"
REF: Final = "#/components/schemas/{model}"
UUID: Final = {"type": "string", "format": "uuid"}

PATH_PARAMETERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "track_id": UUID,
    "job_id": UUID,
    "session_id": {"type": "string", "pattern": "^[A-Za-z0-9_-]{22}$"},
    "version": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
    "rendition": {"type": "string", "examples": ["128k"]},
    "file": {"type": "string", "examples": ["init-0a1b2c3d.mp4", "0-0a1b2c3d.m4s", "0-0a1b2c3d.ts"]},
    "path": {"type": "string"},
}

REFUSALS: Final[Mapping[Caller, tuple[int, ...]]] = {
    Caller.OPEN: (),
    Caller.PLAYBACK: (401, 403, 404),
    Caller.ADMIN: (401, 403),
    Caller.INTERNAL: (401, 403),
    Caller.LOCAL: (403,),
}
TOKEN: Final[tuple[Mapping[str, Any], ...]] = ({"bearer": []}, {"token": []}, {"cookie": []})
SIGNATURE: Final[Mapping[str, Any]] = {"signature": [], "kid": [], "expires": []}
SECURITY: Final[Mapping[Caller, tuple[Mapping[str, Any], ...]]] = {
    Caller.OPEN: (),
    # the empty one: public tracks need none
    Caller.PLAYBACK: (*TOKEN, {}),
    Caller.ADMIN: TOKEN,
    Caller.INTERNAL: ({"internal_key": []},),
    Caller.LOCAL: (),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An error (RFC 9457). `code` is stable, `limits` names the settings that were involved."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str | None
    limits: Mapping[str, float] | None = None


class _Schemas:
    """The schemas that the document names, each once."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def reference(self, body: Any, *, taken: bool) -> dict[str, Any]:
        """A reference to the schema of `body`, as it is taken from a client or given to one."""
        schema = _schema(body, taken)
        self.found |= schema.get("$defs", {})
        self.found[body.__name__] = {name: value for name, value in schema.items() if name != "$defs"}
        return {"$ref": REF.format(model=body.__name__)}


@cache
def _schema(body: Any, taken: bool) -> Mapping[str, Any]:
    """Made once for each type: it costs milliseconds."""
    return TypeAdapter(body).json_schema(
        by_alias=False, ref_template=REF, mode="validation" if taken else "serialization"
    )


def document(operations: Iterable[Operation], settings: Settings, version: str) -> dict[str, Any]:
    """The document of these operations, as JSON-ready values."""
    schemas = _Schemas()
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path = compile_path(operation.path)[1]
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, path, schemas)
    schemas.reference(Problem, taken=False)
    return {
        "openapi": OPENAPI,
        "info": {
            "title": "veza-media-server",
            "version": version,
            "summary": "A dedicated streaming and transcoding media server for music",
            "description": "Every GET answers HEAD too. Errors are problems as in RFC 9457.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": settings.public_base_url or "/"}],
        "paths": paths,
        "components": {"schemas": schemas.found, "securitySchemes": _security_schemes(settings)},
    }


def _operation(operation: Operation, path: str, schemas: _Schemas) -> dict[str, Any]:
    said: dict[str, Any] = {
        "operationId": _operation_id(operation.method, path),
        "summary": operation.summary,
        "parameters": [*_path_parameters(operation), *(_parameter(one) for one in operation.parameters)],
        "responses": {
            **_answers(operation, schemas),
            **{str(status): _problem(status) for status in _problems(operation)},
        },
        "security": [dict(one) for one in _security(operation)],
    }
    if operation.takes:
        content = {
            media_type: {} if body is None else {"schema": schemas.reference(body, taken=True)}
            for media_type, body in operation.takes.items()
        }
        said["requestBody"] = {"required": True, "content": content}
    return said


def _security(operation: Operation) -> tuple[Mapping[str, Any], ...]:
    """Any one of these; a signature reads a file and begins no session."""
    signed = operation.caller is Caller.PLAYBACK and operation.method in SIGNED_METHODS
    return (*SECURITY[operation.caller], *((SIGNATURE,) if signed else ()))


def _problems(operation: Operation) -> list[int]:
    answered = {answer.status for answer in operation.answers}
    limited = () if operation.path in UNLIMITED_PATHS else (429,)
    return sorted({*REFUSALS[operation.caller], *operation.problems, *limited} - answered)


def _operation_id(method: str, path: str) -> str:
    words = "".join(letter if letter.isalnum() else " " for letter in path).split()
    return "_".join([method.lower(), *words])


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": dict(PATH_PARAMETERS[name])}
        for name in compile_path(operation.path)[2]
    ]


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.where,
        "description": parameter.about,
        "schema": dict(parameter.schema),
    }


def _answers(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    """By status; what comes in one of several media types is described by the first."""
    said: dict[str, Any] = {}
    for answer in operation.answers:
        one = said.setdefault(str(answer.status), _answer(answer, schemas))
        one.get("content", {}).update(_answer(answer, schemas).get("content", {}))
    return said


def _answer(answer: Answer, schemas: _Schemas) -> dict[str, Any]:
    said: dict[str, Any] = {"description": answer.about}
    if answer.media_type is not None:
        schema = schemas.reference(answer.body, taken=False) if answer.body is not None else None
        said["content"] = {answer.media_type: {"schema": schema} if schema else {}}
    return said


def _problem(status: int) -> dict[str, Any]:
    said: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "content": {problem.MEDIA_TYPE: {"schema": {"$ref": REF.format(model="Problem")}}},
    }
    if status in problem.RETRY_AFTER_S:
        said["headers"] = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}}
    return said


def _security_schemes(settings: Settings) -> dict[str, Any]:
    in_query = {"type": "apiKey", "in": "query"}
    return {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        "token": {**in_query, "name": "token", "description": "For players that can set no header"},
        "cookie": {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.jwt_cookie_name,
            "description": "Where no other token is given; WHEP and WebSocket also ask for an Origin of"
            " CORS_ALLOWED_ORIGINS or the server's own",
        },
        "signature": {**in_query, "name": "signature", "description": "Of a signed URL"},
        "kid": {**in_query, "name": "kid", "description": "The key of the signature"},
        "expires": {**in_query, "name": "expires", "description": "The end of the signature, Unix seconds"},
        "internal_key": {"type": "apiKey", "in": "header", "name": settings.internal_api_key_header},
    }
