"""Ids are canonical lower-case UUIDs and nothing else."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_server.ids import canonical_uuid, is_canonical_uuid


@given(st.uuids())
def test_every_uuid_is_canonical_in_one_spelling_only(value: uuid.UUID) -> None:
    assert canonical_uuid(str(value)) == str(value)
    assert not is_canonical_uuid(value.hex)
    assert not is_canonical_uuid("{" + str(value) + "}")
    assert not is_canonical_uuid(value.urn)


@given(st.text(max_size=64))
def test_what_is_accepted_is_safe_as_a_path(text: str) -> None:
    if is_canonical_uuid(text):
        assert set(text) <= set("0123456789abcdef-")


@pytest.mark.parametrize("text", ["", "..", "/" * 36, "A" * 36, "\u0661" * 36, "0" * 4096])
def test_the_rest_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        canonical_uuid(text)
