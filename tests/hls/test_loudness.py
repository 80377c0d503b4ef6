"""The block `loudness` of `asset.json`."""

from __future__ import annotations

import orjson
from pydantic import TypeAdapter

from hls.loudness import AssetAlbum, AssetLoudness

ADAPTER = TypeAdapter(AssetLoudness)


def test_what_an_older_server_wrote_is_read() -> None:
    """It knew no reasons, no second measuring and no albums."""
    told = ADAPTER.validate_json(
        b'{"integrated_lufs":-9,"true_peak_dbtp":0,"range_lu":6,"gain_db":-5,"target_lufs":-14}'
    )
    assert (told.reason, told.planned_lufs, told.measured, told.album) == (None, None, {}, None)


def test_what_a_track_brings_to_its_album_comes_back_as_it_was_written() -> None:
    album = AssetAlbum(
        integrated_lufs=-12.5, true_peak_dbtp=0.1, most_gain_db=-1.15, blocks=((4_000, 3), (5_749, 17))
    )
    told = AssetLoudness(
        integrated_lufs=-9.0, true_peak_dbtp=0.0, range_lu=6.0, gain_db=-1.5, target_lufs=-14.0, album=album
    )
    text = ADAPTER.dump_json(told)
    assert orjson.loads(text)["album"]["blocks"] == [[4_000, 3], [5_749, 17]]
    assert ADAPTER.validate_json(text) == told
