"""One row of the route table: a method on a path, its handler, and what the OpenAPI document says of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Handler = Callable[[Request], Awaitable[Response]]


class Caller(StrEnum):
    """Who may call."""

    OPEN = "open"
    PLAYBACK = "playback"
    ADMIN = "admin"
    INTERNAL = "internal"
    LOCAL = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter of the query or a header; `schema` is JSON Schema."""

    name: str
    about: str
    schema: Mapping[str, Any]
    where: Literal["query", "header"] = "query"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer: its media type, and the type of its body where that is JSON of ours."""

    status: int = 200
    about: str
    media_type: str | None = None
    body: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A method on a path. GET answers HEAD too.

    `takes` names the media types of a request body with their types, None for one without a schema;
    `problems` the statuses beside those that follow from `caller`.
    """

    path: str
    handler: Handler
    summary: str
    caller: Caller
    answers: tuple[Answer, ...]
    method: Literal["GET", "POST", "DELETE"] = "GET"
    parameters: tuple[Parameter, ...] = ()
    takes: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[int, ...] = ()

    def route(self) -> Route:
        """The row as Starlette routes it."""
        return Route(self.path, _without_body_for_head(self.handler), methods=[self.method])


def _without_body_for_head(handler: Handler) -> Handler:
    async def handle(request: Request) -> Response:
        response = await handler(request)
        if request.method == "HEAD":
            # its headers are there already: Content-Length tells what GET would bring
            response.body = b""
        return response

    return handle
