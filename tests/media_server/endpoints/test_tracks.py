"""media_server/endpoints/tracks.py"""

from __future__ import annotations

from typing import Any

import pytest
from albums import live_in_album

from hls.asset import AssetSource
from pipeline.outputs import Format


async def test_a_track_in_the_list(server: Any) -> None:
    """The shape that the page reads."""
    asset = await server.publish()
    answer = await server.ask("/tracks")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "tracks": [
            {
                "track_id": asset.track_id,
                "title": "Überfahrt",
                "artist": "Ann",
                "duration_seconds": 9.0,
                "created_at": asset.created_at,
                "renditions": ["128k", "192k"],
                "stream_manifest_url": f"/hls/{asset.track_id}/master.m3u8",
                "cover_url": f"/tracks/{asset.track_id}/cover",
            }
        ],
        "next_cursor": None,
    }


async def test_the_list_is_newest_first_page_by_page(server: Any) -> None:
    ids = [f"00000000-0000-4000-8000-00000000000{number}" for number in range(3)]
    for number, track_id in enumerate(ids):
        await server.publish(track_id=track_id, created_at=f"2026-01-0{number + 1}T00:00:00.000Z", cover=None)
    first = (await server.ask("/tracks?limit=2")).json()
    rest = (await server.ask(f"/tracks?limit=2&cursor={first['next_cursor']}")).json()
    assert [track["track_id"] for track in (*first["tracks"], *rest["tracks"])] == ids[::-1]
    assert rest["next_cursor"] is None
    assert rest["tracks"][0]["cover_url"] is None


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "cursor=x"])
async def test_a_wrong_parameter_of_the_list_is_told(server: Any, query: str) -> None:
    assert (await server.ask(f"/tracks?{query}")).status_code == 400


async def test_a_track_of_an_album_says_how_loud_the_album_is(server: Any) -> None:
    """What it brings to the album is nobody's business."""
    asset = await server.publish()
    await server.publish(loudness=live_in_album(asset, integrated_lufs=-12.344, gain_db=-1.7).loudness)
    told = (await server.ask(f"/tracks/{asset.track_id}")).json()["loudness"]
    assert (told["album_lufs"], told["gain_db"], told["mode"]) == (-12.34, -1.7, "album")
    assert not [name for name in told if "blocks" in name or name == "album"]


async def test_a_track_by_itself(server: Any) -> None:
    """Contract: duration, loudness, tags, renditions, links; the loudness as in the callback."""
    asset = await server.publish()
    answer = await server.ask(f"/tracks/{asset.track_id}")
    rendition = {"codec": "mp4a.40.2", "sample_rate": 48000, "channels": 2, "bit_depth": None}
    assert answer.json() == {
        "track_id": asset.track_id,
        "title": "Überfahrt",
        "artist": "Ann",
        "album": "Ferry",
        "tags": {"album": "Ferry"},
        "duration_seconds": 9.0,
        "loudness": {
            "integrated_lufs": -9.81,
            "true_peak_dbtp": -0.1,
            "range_lu": 6.2,
            "gain_db": -4.19,
            "momentary_max_lufs": -5.12,
            "short_term_max_lufs": -7.0,
            "mode": "limit",
            "reason": "limited",
            "ceiling_dbtp": -1.0,
            "limit_dbtp": -1.23,
            "planned_lufs": -14.01,
            "album_lufs": None,
            "measured": {"128k": {"integrated_lufs": -14.06, "true_peak_dbtp": -1.1}},
            "target_lufs": -14.0,
        },
        "renditions": [
            {"name": "128k", "bitrate": 128000, **rendition},
            {"name": "192k", "bitrate": 192000, **rendition},
        ],
        "downloads": [],
        "formats": ["m4a"],
        "stream_manifest_url": f"/hls/{asset.track_id}/master.m3u8",
        "manifest_urls": {
            "aac": f"/hls/{asset.track_id}/master.m3u8",
            "ts": f"/hls/{asset.track_id}/master-ts.m3u8",
        },
        "waveform_url": f"/tracks/{asset.track_id}/waveform.json",
        "cover_url": f"/tracks/{asset.track_id}/cover",
        "visibility": "public",
        "created_at": asset.created_at,
        "warnings": ["truncated"],
    }


async def test_a_track_links_to_a_playlist_of_each_codec(server: Any) -> None:
    asset = await server.publish(ladder=("128k", "opus-128"))
    track = (await server.ask(f"/tracks/{asset.track_id}")).json()
    assert track["manifest_urls"] == {
        "aac": f"/hls/{asset.track_id}/master.m3u8",
        "opus": f"/hls/{asset.track_id}/master-opus.m3u8",
        "ts": f"/hls/{asset.track_id}/master-ts.m3u8",
    }
    assert track["stream_manifest_url"] == track["manifest_urls"]["aac"]
    assert track["renditions"][-1]["codec"] == "opus"
    for url in track["manifest_urls"].values():
        assert (await server.ask(url)).status_code == 200


@pytest.mark.parametrize(
    ("ladder", "bit_depth", "formats"),
    [
        (("128k",), 16, ["mp3", "m4a", "ogg", "opus", "flac"]),
        (("opus-128",), None, ["mp3", "m4a", "ogg", "opus"]),
    ],
)
async def test_a_track_tells_in_which_formats_it_can_be_kept(
    server: Any, ladder: tuple[str, ...], bit_depth: int | None, formats: list[str]
) -> None:
    """Made or not; a lossy source has no FLAC. Each that is told is answered, and no other."""
    source = AssetSource(
        container="x", codec="x", rate_hz=44_100, channels=2, bit_depth=bit_depth, bit_rate_bps=320_000
    )
    asset = await server.publish(ladder=ladder, source=source)
    assert (await server.ask(f"/tracks/{asset.track_id}")).json()["formats"] == formats
    for fmt in Format:
        answer = await server.ask(f"/tracks/{asset.track_id}/audio.{fmt}", "HEAD")
        assert (answer.status_code == 404) == (fmt not in formats)


async def test_a_track_of_opus_alone_is_played_from_its_own_master(server: Any) -> None:
    """In the list, where only the names of the renditions are known, as by itself."""
    asset = await server.publish(ladder=("128k", "opus-128"))
    asset = await server.publish(asset, renditions=asset.renditions[-1:])
    url = f"/hls/{asset.track_id}/master-opus.m3u8"
    assert (await server.ask(f"/tracks/{asset.track_id}")).json()["stream_manifest_url"] == url
    [listed] = (await server.ask("/tracks")).json()["tracks"]
    assert listed["stream_manifest_url"] == url


async def test_what_a_track_does_not_have_is_null(server: Any) -> None:
    asset = await server.publish(cover=None, waveform=None, title=None, tags={})
    track = (await server.ask(f"/tracks/{asset.track_id}")).json()
    assert {track[name] for name in ("cover_url", "waveform_url", "title", "album")} == {None}


async def test_a_known_track_costs_a_304_and_a_change_shows_at_once(server: Any) -> None:
    asset = await server.publish()
    url = f"/tracks/{asset.track_id}"
    first = await server.ask(url)
    assert first.headers["cache-control"] == "public, no-cache"
    known = {"If-None-Match": first.headers["etag"]}
    assert (await server.ask(url, headers=known)).status_code == 304
    await server.publish(asset, title="Another")
    again = await server.ask(url, headers=known)
    assert (again.status_code, again.json()["title"]) == (200, "Another")


async def test_a_private_track_is_told_to_its_owner_alone(guarded: Any) -> None:
    asset = await guarded.publish(visibility="private")
    url = f"/tracks/{asset.track_id}"
    assert (await guarded.ask(url)).status_code == 401
    assert (await guarded.ask(url, headers=guarded.bearer())).status_code == 403
    answer = await guarded.ask(url, headers=guarded.bearer("owner-1"))
    assert answer.headers["cache-control"] == "private, no-cache"
