"""The index of albums: two marks for a membership, and an album for each owner."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hls.asset import Asset, AssetAlbum
from media_server.jobs.membership import album_key, album_of, albums_of, enrol, strike, tracks_of

TRACK = "0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11"
OTHER = "1b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a12"
BLANK = AssetAlbum(integrated_lufs=None, true_peak_dbtp=None, most_gain_db=None, blocks=())


def of_album(asset: Asset, album_id: str | None = "a") -> Asset:
    return replace(asset, album_id=album_id, loudness=replace(asset.loudness, album=BLANK))


@pytest.mark.parametrize(
    "other",
    [("8", "a"), ("7", "b"), (None, "a"), ("", "a"), ("7a", ""), ("None", "a"), ("7\n", "a"), ("null", "a")],
)
def test_an_album_is_one_of_its_owner(other: tuple[str | None, str]) -> None:
    """reliability I6: whoever says the same album_id changes nothing of another user's tracks."""
    assert album_key("7", "a") == album_key("7", "a") != album_key(*other)
    assert album_key(None, "a") != album_key("null", "a")


def test_a_track_is_in_an_album_by_what_was_made_of_it(embedded) -> None:
    """Not by its album_id alone: in mode `track` that is a word."""
    asset = embedded.asset()
    assert album_of(of_album(asset)) == album_key("7", "a")
    assert album_of(replace(asset, album_id="a")) is None
    assert album_of(of_album(asset, None)) is None


async def test_both_marks_are_written_and_both_go(embedded) -> None:
    one, other = (of_album(embedded.asset(track_id)) for track_id in (TRACK, OTHER))
    album = album_key("7", "a")
    await enrol(embedded.storage, one)
    await enrol(embedded.storage, one)
    await enrol(embedded.storage, other)
    await enrol(embedded.storage, of_album(embedded.asset(), "b"))
    assert await tracks_of(embedded.storage, album) == (TRACK, OTHER)
    assert {*await albums_of(embedded.storage, TRACK)} == {album, album_key("7", "b")}
    await strike(embedded.storage, TRACK, album)
    await strike(embedded.storage, TRACK, album)
    assert await tracks_of(embedded.storage, album) == (OTHER,)
    assert await albums_of(embedded.storage, TRACK) == (album_key("7", "b"),)


async def test_a_track_that_goes_by_itself_is_marked_nowhere(embedded) -> None:
    await enrol(embedded.storage, embedded.asset())
    assert await albums_of(embedded.storage, TRACK) == ()
    assert await embedded.storage.list("albums/") == []
