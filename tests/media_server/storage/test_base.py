"""What is a key; the contract suite feeds every adapter the texts that are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_server.errors import NotFound
from media_server.storage.base import key_parts, object_not_found, parts_of


@pytest.mark.parametrize("key", ["a", "tracks/0f/asset.json", "a/b-c_d.e/9", "-", "_", "a..b", "a" * 200])
def test_a_key_is_plain_names_between_single_slashes(key: str) -> None:
    assert key_parts(key) == tuple(key.split("/"))


def test_a_prefix_is_a_key_with_a_slash_behind_it() -> None:
    assert parts_of("tracks/a/") == ("tracks", "a")
    with pytest.raises(NotFound):
        key_parts("tracks/a/")


@given(st.text(max_size=30))
def test_no_text_leads_out_of_its_folder(text: str) -> None:
    try:
        parts = parts_of(text)
    except NotFound:
        return
    assert all(part and not part.startswith(".") and part.isascii() and "/" not in part for part in parts)


def test_the_error_does_not_repeat_a_guess() -> None:
    assert object_not_found().code == "object_not_found"
    with pytest.raises(NotFound) as caught:
        parts_of("../secret")
    assert "secret" not in str(caught.value)
