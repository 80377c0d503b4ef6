"""The text that playlists are made of: bis 4.1, 4.2."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hls.attributes import attribute_list, quoted_string, uri_line


def test_an_attribute_list_has_no_white_space() -> None:
    """bis 4.2: clients that split at "=" and "," lose an attribute with a space before it."""
    assert attribute_list({"BANDWIDTH": "1", "CODECS": '"a,b"'}) == 'BANDWIDTH=1,CODECS="a,b"'


def test_a_quoted_string_is_quoted() -> None:
    assert quoted_string("a b=c,d") == '"a b=c,d"'


@pytest.mark.parametrize("text", ['a"b', "a\nb", "a\rb", "a\x00b", "a\x7fb", "a\x85b"])
def test_a_string_that_would_end_early_is_refused(text: str) -> None:
    """bis 4.2: no line feed, carriage return or double quote; 4: no control characters."""
    with pytest.raises(ValueError, match="quote or a control character"):
        quoted_string(text)


@pytest.mark.parametrize("uri", ["a/b.m4s", "a.m4s?x=1&y=#2", "https://host/a.m4s"])
def test_a_uri_is_a_line(uri: str) -> None:
    assert uri_line(uri) == uri


@pytest.mark.parametrize("uri", ["", "#EXT-X-ENDLIST", " a", "a ", "a\nb", "a\rb", "a\tb", "\ufeff\x00"])
def test_what_is_not_a_uri_line_is_refused(uri: str) -> None:
    """bis 4.1: blank lines are ignored, lines with # are tags or comments."""
    with pytest.raises(ValueError, match="not a URI line"):
        uri_line(uri)


@given(st.text(max_size=40))
def test_a_quoted_string_never_holds_what_ends_it(text: str) -> None:
    try:
        quoted = quoted_string(text)
    except ValueError:
        return
    assert quoted[1:-1] == text
    assert not set('"\r\n') & set(quoted[1:-1])
