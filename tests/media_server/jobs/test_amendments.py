"""media_server/jobs/amendments.py: each field has the newest of what was said about it."""

from __future__ import annotations

import itertools

import pytest

from media_server.errors import Unavailable
from media_server.jobs.amendments import Amendment, Amendments, amended, amendments_key, applied, load, save
from media_server.storage.memory import MemoryStorage

TRACK = "0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11"
EARLIER, AT, LATER = (f"2026-03-01T12:00:0{second}.000Z" for second in (1, 2, 3))
CHANGES = (
    ({"visibility": "public", "title": "one"}, EARLIER),
    ({"visibility": "private"}, AT),
    ({"title": None, "artist": "three"}, LATER),
)


@pytest.mark.parametrize("order", list(itertools.permutations(CHANGES)))
def test_the_newest_change_of_each_field_counts_in_whatever_order_they_come(order) -> None:
    known: Amendments = {}
    for changes, at in (*order, *order):
        known = amended(known, changes, at)
    assert known == {
        "visibility": Amendment(value="private", at=AT),
        "title": Amendment(value=None, at=LATER),
        "artist": Amendment(value="three", at=LATER),
    }


def test_of_two_at_the_same_moment_the_one_that_comes_later_counts() -> None:
    known = amended({}, {"title": "one"}, AT)
    assert amended(known, {"title": "two"}, AT)["title"].value == "two"


def test_a_field_that_nobody_may_change_is_left_out() -> None:
    assert amended({}, {"job_id": "x", "order": "9999"}, AT) == {}


def test_an_upload_that_is_newer_than_a_change_counts_more(embedded) -> None:
    asset = embedded.asset(order=AT, title="of the upload", visibility="public")
    known = {
        "title": Amendment(value="before", at=EARLIER),
        "visibility": Amendment(value="private", at=LATER),
    }
    now = applied(known, asset)
    assert (now.title, now.visibility) == ("of the upload", "private")
    assert applied({}, asset) == asset
    # what a later version writes down is not written into an asset of this one
    assert applied({"version": Amendment(value="v9", at=LATER)}, asset) == asset


async def test_what_is_saved_is_loaded() -> None:
    storage = MemoryStorage()
    assert await load(storage, TRACK) == {}
    known = amended({}, {"title": "Ärger", "artist": None}, AT)
    await save(storage, TRACK, known)
    assert await load(storage, TRACK) == known


@pytest.mark.parametrize("content", [b"", b"[]", b'{"title": 1}', b'{"title": {"value": "x"}}'])
async def test_what_is_none_of_ours_is_said(content: bytes) -> None:
    storage = MemoryStorage()
    await storage.put(amendments_key(TRACK), content, media_type="application/json")
    with pytest.raises(Unavailable) as caught:
        await load(storage, TRACK)
    assert caught.value.code == "bad_amendments"
