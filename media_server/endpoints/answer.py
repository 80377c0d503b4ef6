"""Answers that are JSON made for this one request, and the parameters of a query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import orjson
from starlette.requests import Request
from starlette.responses import Response

from media_server.errors import BadRequest

JSON: Final = "application/json"

Choice = TypeVar("Choice")


def json_answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON that no cache keeps. Dataclasses and enums become objects and values."""
    kept = {"Cache-Control": "no-store", **(headers or {})}
    return Response(orjson.dumps(content), status, kept, JSON)


def whole_number(request: Request, name: str, *, default: int, least: int = 1, most: int) -> int:
    """A whole number from the query.

    Raises:
        BadRequest: `bad_parameter`, it is not one from `least` to `most`.
    """
    text = request.query_params.get(name)
    if text is None:
        return default
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else least - 1
    if not least <= number <= most:
        raise BadRequest("bad_parameter", f"{name} must be a whole number from {least} to {most}")
    return number


def one_of(request: Request, name: str, choices: Mapping[str, Choice], *, default: str) -> Choice:
    """What the query's word stands for.

    Raises:
        BadRequest: `bad_parameter`, it is none of the choices.
    """
    word = request.query_params.get(name, default)
    if word not in choices:
        raise BadRequest("bad_parameter", f"{name} must be one of {', '.join(choices)}")
    return choices[word]
