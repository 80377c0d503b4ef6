"""The source of a live track is brought once more, if it is still the one."""

from __future__ import annotations

import hashlib

import pytest

from hls.asset import AssetSource
from media_server.errors import Conflict, NotFound
from media_server.jobs.job import Source
from media_server.jobs.original import bring, place_of
from media_server.storage.assets import original_key

TRACK = "0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11"
DATA = b"sound"


def source(path: str | None = None) -> AssetSource:
    return AssetSource(
        container="flac", codec="flac", rate_hz=48_000, channels=2, bit_depth=16, bit_rate_bps=None, path=path
    )


def of(embedded, path: str | None = None):
    return embedded.asset(source=source(path), source_sha256=hashlib.sha256(DATA).hexdigest())


async def test_an_upload_is_brought_from_where_it_is_kept(embedded, tmp_path) -> None:
    await embedded.storage.put(original_key(TRACK), DATA, media_type="")
    brought = await bring(of(embedded), tmp_path / "a", embedded.storage, embedded.settings)
    assert brought.read_bytes() == DATA


async def test_what_others_keep_is_brought_from_there(embedded, tmp_path) -> None:
    (embedded.settings.upload_dir / "song").write_bytes(DATA)
    assert place_of(of(embedded, "song")) == Source(path="song")
    brought = await bring(of(embedded, "song"), tmp_path / "a", embedded.storage, embedded.settings)
    assert brought.read_bytes() == DATA


async def test_what_is_gone_is_said_to_be(embedded, tmp_path) -> None:
    for path in (None, "song"):
        with pytest.raises(NotFound) as caught:
            await bring(of(embedded, path), tmp_path / "a", embedded.storage, embedded.settings)
        assert caught.value.code == "source_not_found"


async def test_another_file_in_its_place_is_not_taken_for_it(embedded, tmp_path) -> None:
    await embedded.storage.put(original_key(TRACK), b"other", media_type="")
    (embedded.settings.upload_dir / "song").write_bytes(b"other")
    for number, path in enumerate((None, "song")):
        with pytest.raises(Conflict) as caught:
            await bring(of(embedded, path), tmp_path / str(number), embedded.storage, embedded.settings)
        assert caught.value.code == "source_changed"
