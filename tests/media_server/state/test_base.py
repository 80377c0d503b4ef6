"""media_server/state/base.py: cursors and limits of the lists; the ports are tests/contract/test_state.py."""

from __future__ import annotations

import base64

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_server.errors import BadRequest
from media_server.state.base import MAX_PAGE, check_limit, read_cursor, write_cursor


@given(st.text(alphabet=st.characters(codec="utf-8")), st.text(alphabet=st.characters(codec="utf-8")))
def test_a_cursor_is_read_as_it_was_written_and_fits_into_an_address(created_at: str, item_id: str) -> None:
    cursor = write_cursor(created_at, item_id)
    assert read_cursor(cursor) == (created_at, item_id)
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize("cursor", ["", "x", "!!!!", "ä", "\x00", write_cursor("a", "b")[:-1]])
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read_cursor(cursor)
    assert caught.value.code == "bad_cursor"


@pytest.mark.parametrize("value", [None, [], ["a"], ["a", "b", "c"], ["a", None], [1, 2], {"a": "b"}])
def test_what_holds_no_place_in_a_list_is_refused(value: object) -> None:
    with pytest.raises(BadRequest) as caught:
        read_cursor(base64.urlsafe_b64encode(orjson.dumps(value)).decode())
    assert caught.value.code == "bad_cursor"


@given(st.text(max_size=60))
def test_no_text_breaks_the_reading(text: str) -> None:
    try:
        assert len(read_cursor(text)) == 2
    except BadRequest as error:
        assert error.code == "bad_cursor"


@pytest.mark.parametrize("limit", [1, MAX_PAGE])
def test_a_page_may_be_that_long(limit: int) -> None:
    check_limit(limit)


@pytest.mark.parametrize("limit", [0, -1, MAX_PAGE + 1])
def test_a_page_that_is_none_is_refused_with_what_is_allowed(limit: int) -> None:
    with pytest.raises(BadRequest) as caught:
        check_limit(limit)
    assert caught.value.message == f"limit is {limit}, allowed are 1 to {MAX_PAGE}"
