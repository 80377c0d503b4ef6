"""media_server/endpoints/hls.py"""

from __future__ import annotations

import gzip
import re
from dataclasses import replace
from typing import Any
from urllib.parse import urljoin, urlsplit

import m3u8
import pytest

from hls.asset import Asset


def segment_path(asset: Asset, number: int = 0, rendition: str = "128k") -> str:
    name = asset.rendition(rendition).segments[number].name
    return f"/hls/{asset.track_id}/{asset.version}/{rendition}/{name}"


def init_path(asset: Asset, rendition: str = "128k") -> str:
    return f"/hls/{asset.track_id}/{asset.version}/{rendition}/{asset.rendition(rendition).init.name}"


async def test_a_player_finds_everything_from_the_master(server: Any) -> None:
    """I2: a master whose every URI answers 200."""
    asset = await server.publish()
    url = f"/hls/{asset.track_id}/master.m3u8"
    answer = await server.ask(url)
    assert answer.headers["content-type"] == "application/vnd.apple.mpegurl"
    variants = m3u8.loads(answer.text).playlists
    assert [variant.uri for variant in variants] == ["stream_128k.m3u8", "stream_192k.m3u8"]
    for variant in variants:
        media_url = urljoin(url, variant.uri)
        media = m3u8.loads((await server.ask(media_url)).text)
        assert media.is_endlist
        uris = [media.segment_map[0].uri, *(segment.uri for segment in media.segments)]
        assert len(uris) == 4
        for uri in uris:
            file = await server.ask(urljoin(media_url, uri))
            assert (file.status_code, file.headers["content-type"]) == (200, "audio/mp4")
            assert len(file.content) > 100


async def test_each_codec_has_a_master_of_its_own(server: Any) -> None:
    """hls.md 1.3: AAC and Opus in one ladder stop GStreamer and Chromium at the first switch."""
    asset = await server.publish(ladder=("128k", "192k", "opus-128", "lossless"))
    masters = {}
    for name in ("master.m3u8", "master-opus.m3u8", "master-lossless.m3u8"):
        answer = await server.ask(f"/hls/{asset.track_id}/{name}")
        assert answer.headers["content-type"] == "application/vnd.apple.mpegurl"
        variants = m3u8.loads(answer.text).playlists
        masters[name] = [(variant.uri, variant.stream_info.codecs) for variant in variants]
    assert masters == {
        "master.m3u8": [("stream_128k.m3u8", "mp4a.40.2"), ("stream_192k.m3u8", "mp4a.40.2")],
        "master-opus.m3u8": [("stream_opus-128.m3u8", "Opus")],
        "master-lossless.m3u8": [("stream_lossless.m3u8", "fLaC")],
    }
    media = m3u8.loads((await server.ask(f"/hls/{asset.track_id}/stream_opus-128.m3u8")).text)
    for uri in (media.segment_map[0].uri, *(segment.uri for segment in media.segments)):
        file = await server.ask(f"/hls/{asset.track_id}/{uri}")
        assert (file.status_code, file.headers["content-type"]) == (200, "audio/mp4")


@pytest.mark.parametrize(
    ("ladder", "missing"),
    [(("128k",), "master-opus.m3u8"), (("opus-128",), "master.m3u8"), (("128k",), "master-lossless.m3u8")],
)
async def test_a_master_of_a_codec_the_track_does_not_have_is_404(
    server: Any, ladder: tuple[str, ...], missing: str
) -> None:
    asset = await server.publish(ladder=ladder)
    answer = await server.ask(f"/hls/{asset.track_id}/{missing}")
    assert (answer.status_code, answer.json()["code"]) == (404, "rendition_not_found")


async def test_the_opus_master_asks_for_the_same_rights_and_signs_its_playlists(guarded: Any) -> None:
    asset = await guarded.publish(ladder=("128k", "opus-128"), visibility="private")
    url = f"/hls/{asset.track_id}/master-opus.m3u8"
    assert (await guarded.ask(url)).status_code == 401
    answer = await guarded.ask(url, headers=guarded.bearer("owner-1"))
    [variant] = m3u8.loads(answer.text).playlists
    media_url = urljoin(url, variant.uri)
    media = m3u8.loads((await guarded.ask(media_url)).text)
    for uri in (media.segment_map[0].uri, media.segments[0].uri):
        assert (await guarded.ask(urljoin(media_url, uri))).status_code == 200


@pytest.mark.parametrize("name", ["master.m3u8", "master-opus.m3u8", "stream_128k.m3u8"])
async def test_playlists_are_gzipped_for_those_who_take_it(server: Any, name: str) -> None:
    """Apple 10.1, short ones too; RFC 9110 12.5.3: q=0 refuses, Vary says what it hung on, tags differ."""
    asset = await server.publish(ladder=("128k", "opus-128"))
    url = f"/hls/{asset.track_id}/{name}"
    server.services.assets.forget(asset.track_id)
    plain = await server.ask(url, headers={"Accept-Encoding": "gzip;q=0, identity"})
    assert "content-encoding" not in plain.headers
    assert plain.headers["vary"] == "Accept-Encoding"
    zipped = await server.raw("GET", url, {"accept-encoding": "deflate, gzip"}, _nothing)
    assert zipped.headers["content-encoding"] == "gzip"
    assert gzip.decompress(zipped.body) == plain.content
    assert zipped.headers["etag"] != plain.headers["etag"]
    assert zipped.headers["vary"] == "Accept-Encoding"


async def _nothing() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def test_a_known_playlist_costs_a_304(server: Any) -> None:
    """RFC 9110 15.4.5: 304 repeats ETag, Cache-Control and Vary, and has no body."""
    asset = await server.publish()
    url = f"/hls/{asset.track_id}/stream_128k.m3u8"
    first = await server.ask(url)
    again = await server.ask(url, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for name in ("etag", "cache-control", "vary"):
        assert again.headers[name] == first.headers[name]
    assert first.headers["cache-control"] == "public, max-age=5"


async def test_a_range_on_a_playlist_is_ignored(server: Any) -> None:
    """hls.md 1.10: Chromium and ffmpeg send `bytes=0-` with everything; 206 and gzip do not mix."""
    asset = await server.publish()
    answer = await server.ask(f"/hls/{asset.track_id}/master.m3u8", headers={"Range": "bytes=0-1"})
    assert answer.status_code == 200
    assert answer.text.startswith("#EXTM3U\n")


async def test_a_growing_playlist_is_never_kept(server: Any) -> None:
    """Contract, caching: growing ones no-cache; EVENT, no end."""
    asset = await server.publish(state="growing")
    for name in ("master.m3u8", "stream_128k.m3u8"):
        answer = await server.ask(f"/hls/{asset.track_id}/{name}")
        assert answer.headers["cache-control"] == "public, no-cache"
    assert "#EXT-X-PLAYLIST-TYPE:EVENT" in answer.text
    assert "#EXT-X-ENDLIST" not in answer.text


async def test_a_growing_track_without_a_segment_asks_to_come_again(server: Any) -> None:
    """An empty playlist would make players give up for good; 503 carries Retry-After."""
    asset = await server.publish()
    empty = tuple(replace(rendition, segments=()) for rendition in asset.renditions)
    await server.publish(asset, state="growing", renditions=empty)
    for name in ("master.m3u8", "stream_128k.m3u8"):
        answer = await server.ask(f"/hls/{asset.track_id}/{name}")
        assert (answer.status_code, answer.json()["code"]) == (503, "track_not_ready")
        assert answer.headers["retry-after"] == "1"


async def test_what_a_growing_track_has_still_to_get_asks_to_come_again(server: Any) -> None:
    """Lossless is made last; once the track is whole, what it has not got it never will."""
    asset = await server.publish(state="growing", options={"ladder": ["128k", "lossless", "of-tomorrow"]})
    path = f"/hls/{asset.track_id}/master-lossless.m3u8"
    answer = await server.ask(path)
    assert (answer.status_code, answer.json()["code"]) == (503, "track_not_ready")
    for changed in ({"options": {"ladder": ["128k"]}}, {"state": "complete"}):
        await server.publish(asset, **changed)
        answer = await server.ask(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "rendition_not_found")


async def test_segments_never_change_and_are_never_zipped(server: Any) -> None:
    """Contract, caching: immutable for a year; hls.md 1.10: never gzip media, whatever is accepted."""
    asset = await server.publish()
    for path in (init_path(asset), segment_path(asset)):
        answer = await server.ask(path, headers={"Accept-Encoding": "gzip"})
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["accept-ranges"] == "bytes"
        assert "content-encoding" not in answer.headers
        assert "vary" not in answer.headers
        assert re.fullmatch(r'"[^"]+"', answer.headers["etag"])
        known = await server.ask(path, headers={"If-None-Match": answer.headers["etag"]})
        assert (known.status_code, known.content) == (304, b"")


@pytest.mark.parametrize(
    ("asked", "first", "last"), [("bytes=0-1", 0, 1), ("bytes=100-", 100, None), ("bytes=-10", -10, None)]
)
async def test_one_range_of_a_segment(server: Any, asked: str, first: int, last: int | None) -> None:
    """RFC 9110 14: 206, Content-Range, exactly these bytes."""
    asset = await server.publish()
    path = segment_path(asset)
    whole = (await server.ask(path)).content
    answer = await server.ask(path, headers={"Range": asked})
    expected = whole[first:] if last is None else whole[first : last + 1]
    start = first % len(whole)
    assert answer.status_code == 206
    assert answer.content == expected
    assert answer.headers["content-range"] == f"bytes {start}-{start + len(expected) - 1}/{len(whole)}"


async def test_a_range_behind_the_end_is_416(server: Any) -> None:
    """RFC 9110 15.5.17: with the size there is."""
    asset = await server.publish()
    size = asset.rendition("128k").segments[0].bytes
    answer = await server.ask(segment_path(asset), headers={"Range": f"bytes={size}-"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{size}")


@pytest.mark.parametrize("asked", ["bytes=0-0,5-6", "bytes=5-1", "items=0-1", "bytes=", "bytes=a-b"])
async def test_what_is_not_one_range_gets_everything(server: Any, asked: str) -> None:
    """Reliability, range DoS: one range, else 200 full."""
    asset = await server.publish()
    answer = await server.ask(segment_path(asset), headers={"Range": asked})
    assert answer.status_code == 200
    assert len(answer.content) == asset.rendition("128k").segments[0].bytes


async def test_head_tells_what_get_would(server: Any) -> None:
    asset = await server.publish()
    for path in (f"/hls/{asset.track_id}/master.m3u8", segment_path(asset)):
        body, head = await server.ask(path), await server.ask(path, "HEAD")
        assert head.content == b""
        for name in ("content-length", "etag", "content-type", "cache-control"):
            assert head.headers[name] == body.headers[name]
    ranged = await server.ask(segment_path(asset), "HEAD", headers={"Range": "bytes=0-1"})
    assert ranged.status_code == 200  # RFC 9110 14.2: ranges are GET's alone


async def test_a_replaced_version_stays_fetchable(server: Any) -> None:
    """Contract: the replaced one stays fetchable, with the tag that it had."""
    old = await server.publish()
    path = segment_path(old)
    tag = (await server.ask(path)).headers["etag"]
    new = await server.publish(seed=2, track_id=old.track_id)
    assert new.version != old.version
    answer = await server.ask(path)
    assert (answer.status_code, answer.headers["etag"]) == (200, tag)
    assert (await server.ask(segment_path(new))).status_code == 200


async def test_what_the_live_version_does_not_list_is_not_served(server: Any) -> None:
    """Not although it is stored: the waveform, or a leftover of the same version."""
    asset = await server.publish()
    leftover = f"tracks/{asset.track_id}/{asset.version}/128k/9-00000000.m4s"
    await server.services.storage.put(leftover, b"left", media_type="audio/mp4")
    for name in ("9-00000000.m4s", "init-00000000.mp4", "0-00000000.m4s"):
        answer = await server.ask(f"/hls/{asset.track_id}/{asset.version}/128k/{name}")
        assert (answer.status_code, answer.json()["code"]) == (404, "file_not_found")


HOSTILE_NAMES = [
    "..", "%2e%2e", "%252e%252e", "..%2f..", "..%5c..", "a%00b", "%2fetc", "x" * 4096, "128k%20", "ÄÖ",
    "128K", "asset.json", "0-abcdef01.M4S", "00-abcdef01.m4s", "-1-abcdef01.m4s", "0-abcdef01.m4s%0a",
    "0-abcdef01.TS", "00-abcdef01.ts", "0-abcdef01.ts%0a", "0-abcdef01..ts",
    "init-abcdef01.mp4%0a",
]  # fmt: skip


async def test_a_hostile_name_answers_like_an_unknown_one(server: Any) -> None:
    """Reliability, path traversal: ids and names are checked before use; nothing but 404 comes back."""
    asset = await server.publish()
    root, init = f"/hls/{asset.track_id}", asset.rendition("128k").init.name
    for name in HOSTILE_NAMES:
        for path in (
            f"/hls/{name}/master.m3u8",
            f"/hls/{name}/stream_128k.m3u8",
            f"{root}/stream_{name}.m3u8",
            f"{root}/{name}/128k/{init}",
            f"{root}/{asset.version}/{name}/{init}",
            f"{root}/{asset.version}/128k/{name}",
        ):
            assert (await server.ask(path)).status_code == 404, path


async def test_an_upper_case_id_is_no_id(server: Any) -> None:
    """Contract: ids are canonical lower-case UUIDs."""
    asset = await server.publish()
    assert (await server.ask(f"/hls/{asset.track_id.upper()}/master.m3u8")).status_code == 404


async def test_with_a_token_the_playlists_open_the_segments(guarded: Any) -> None:
    """Contract: a playlist fetched with a token carries signed relative URIs, so segments need no token."""
    asset = await guarded.publish(visibility="private")
    url = f"/hls/{asset.track_id}/master.m3u8"
    master = await guarded.ask(url, headers=guarded.bearer("owner-1"))
    assert master.headers["cache-control"] == "private, max-age=5"
    media_url = urljoin(url, m3u8.loads(master.text).playlists[0].uri)
    assert "signature=" in media_url
    media = await guarded.ask(media_url)
    listed = m3u8.loads(media.text)
    uris = [listed.segment_map[0].uri, *(segment.uri for segment in listed.segments)]
    # one signature for the whole folder, so that caches share it
    assert len({urlsplit(uri).query for uri in uris}) == 1
    for uri in uris:
        file = await guarded.ask(urljoin(media_url, uri))
        assert file.status_code == 200
        assert file.headers["cache-control"] == "private, max-age=31536000, immutable"


async def test_a_token_may_come_in_the_query(guarded: Any) -> None:
    """For players that can set no header."""
    asset = await guarded.publish(visibility="private")
    token = guarded.bearer("owner-1")["Authorization"].removeprefix("Bearer ")
    assert (await guarded.ask(f"/hls/{asset.track_id}/master.m3u8?token={token}")).status_code == 200
    assert (await guarded.ask(f"{segment_path(asset)}?token={token}")).status_code == 200


async def test_a_public_track_needs_no_token_and_carries_no_signature(guarded: Any) -> None:
    asset = await guarded.publish()
    answer = await guarded.ask(f"/hls/{asset.track_id}/stream_128k.m3u8", headers=guarded.bearer())
    assert answer.status_code == 200
    assert "signature" not in answer.text
    assert answer.headers["cache-control"].startswith("public")


async def test_served_audio_and_the_cache_are_counted(server: Any) -> None:
    """Contract, metrics: cache hits, bytes."""
    asset = await server.publish()
    size = asset.rendition("128k").segments[0].bytes
    for _ in range(3):
        await server.ask(segment_path(asset))
    text = server.services.metrics.render().decode()
    assert f"veza_stream_media_sent_bytes_total {float(3 * size)}" in text
    assert "veza_stream_segment_cache_hits_total 2.0" in text
    assert "veza_stream_segment_cache_misses_total 1.0" in text
    assert 'endpoint="/hls/{track_id}/{version}/{rendition}/{file}"' in text
