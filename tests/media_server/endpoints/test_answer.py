"""media_server/endpoints/answer.py"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from media_server.endpoints.answer import json_answer, whole_number
from media_server.errors import BadRequest


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Thing:
    colour: Colour
    size: float | None
    parts: tuple[str, ...]


def asked(query: str) -> Request:
    return Request({"type": "http", "query_string": query.encode(), "headers": []})


def test_values_of_ours_become_json() -> None:
    answer = json_answer(Thing(Colour.RED, None, ("ä",)), 202, {"Location": "/x"})
    assert json.loads(bytes(answer.body)) == {"colour": "red", "size": None, "parts": ["ä"]}
    assert answer.status_code == 202
    assert answer.headers["content-type"] == "application/json"
    assert (answer.headers["cache-control"], answer.headers["location"]) == ("no-store", "/x")


@given(st.integers(1, 20))
def test_a_whole_number_within_its_bounds_is_taken(number: int) -> None:
    assert whole_number(asked(f"n={number}"), "n", default=3, most=20) == number


def test_without_one_the_default_is_taken() -> None:
    assert whole_number(asked(""), "n", default=3, most=20) == 3


@pytest.mark.parametrize(
    "text", ["0", "21", "-1", "%2B1", "1.0", "1e1", "x", "", " 1", "٣", "9" * 5000, "1_0"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BadRequest) as told:
        whole_number(asked(f"n={text}"), "n", default=3, most=20)
    assert told.value.code == "bad_parameter"
    assert "from 1 to 20" in told.value.message
