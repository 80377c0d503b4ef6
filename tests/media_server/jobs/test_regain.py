"""The message that asks for a track with its album's gain."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from media_server.jobs.making import is_making
from media_server.jobs.regain import Regain, is_regain

TRACK = "0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11"
REGAIN = Regain(track_id=TRACK, version="0" * 16, gain_db=-3.05)


def test_it_comes_back_from_the_queue_as_it_was_sent() -> None:
    assert Regain.model_validate_json(REGAIN.to_json()) == REGAIN
    assert is_regain(REGAIN.to_json())
    assert not is_making(REGAIN.to_json())


@pytest.mark.parametrize("body", [b"", b"[]", b'"regain"', b'{"kind": "file"}', b'{"request": {}}', b"\xff"])
def test_other_messages_are_none(body: bytes) -> None:
    assert not is_regain(body)


def test_the_same_wish_is_the_same_job_and_another_gain_another() -> None:
    """One that comes while the one before is in hand must not be taken for it."""
    assert REGAIN.job_id == Regain(track_id=TRACK, version="0" * 16, gain_db=-3.05).job_id
    others = [
        REGAIN.model_copy(update={"version": "1" * 16}),
        REGAIN.model_copy(update={"gain_db": -3.1}),
        REGAIN.model_copy(update={"track_id": TRACK.replace("a11", "a12")}),
    ]
    assert len({REGAIN.job_id, *(one.job_id for one in others)}) == 4


@pytest.mark.parametrize(
    "changed", [{"track_id": "../x"}, {"version": "v1"}, {"gain_db": "nan"}, {"schema_version": 2}]
)
def test_what_is_none_of_ours_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Regain.model_validate({**REGAIN.model_dump(), **changed})
