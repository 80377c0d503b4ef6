"""media_server/endpoints/hls.py: the same packets in MPEG-TS, for players that know no fMP4"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import urljoin, urlsplit

import m3u8
import pytest
import transport_stream

from hls.asset import Asset
from hls.mpegts import AUDIO_PID
from hls.packets import read_packets
from hls.segment_format import SegmentFormat


def segment_path(asset: Asset, number: int = 0, rendition: str = "128k") -> str:
    name = asset.rendition(rendition).segments[number].name.replace(".m4s", ".ts")
    return f"/hls/{asset.track_id}/{asset.version}/{rendition}/{name}"


async def test_a_player_finds_everything_from_the_master(server: Any) -> None:
    """The packets of every rendition as they are stored, at the bit rates and lengths that were declared."""
    asset = await server.publish(ladder=("128k", "192k", "opus-128"))
    url = f"/hls/{asset.track_id}/master-ts.m3u8"
    answer = await server.ask(url)
    assert answer.headers["content-type"] == "application/vnd.apple.mpegurl"
    variants = m3u8.loads(answer.text).playlists
    assert [variant.uri for variant in variants] == ["stream_128k-ts.m3u8", "stream_192k-ts.m3u8"]
    for variant in variants:
        media_url = urljoin(url, variant.uri)
        media = m3u8.loads((await server.ask(media_url)).text)
        assert (media.version, media.is_endlist, len(media.segments)) == (3, True, 3)
        files = [await server.ask(urljoin(media_url, segment.uri)) for segment in media.segments]
        assert {(file.status_code, file.headers["content-type"]) for file in files} == {(200, "video/mp2t")}
        heard = transport_stream.pes_of(b"".join(file.content for file in files), AUDIO_PID)
        stored = [
            packet.data
            for segment in media.segments
            for packet in read_packets(
                (await server.ask(urljoin(media_url, segment.uri.replace(".ts", ".m4s")))).content
            )
        ]
        assert [data for pes in heard for _, data in pes.frames] == stored
        assert sum(segment.duration for segment in media.segments) == pytest.approx(
            len(stored) * 1024 / 48_000, abs=1e-5
        )
        rates = [8 * len(f.content) / s.duration for f, s in zip(files, media.segments, strict=True)]
        assert max(rates[:-1]) <= variant.stream_info.bandwidth < max(rates) + 1


async def test_segments_never_change_and_have_ranges_and_tags(server: Any) -> None:
    """Contract, caching; the tag is of these bytes: the name is the hash of what is stored."""
    asset = await server.publish()
    whole = await server.ask(segment_path(asset))
    assert whole.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert "content-encoding" not in whole.headers
    head = await server.ask(segment_path(asset), "HEAD")
    for name in ("content-length", "etag", "content-type", "cache-control", "accept-ranges"):
        assert head.headers[name] == whole.headers[name]
    part = await server.ask(segment_path(asset), headers={"Range": "bytes=188-375"})
    assert (part.status_code, part.content) == (206, whole.content[188:376])
    known = await server.ask(segment_path(asset), headers={"If-None-Match": whole.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    stored = await server.ask(segment_path(asset).replace(".ts", ".m4s"))
    assert stored.headers["etag"] != whole.headers["etag"]


async def test_a_segment_is_rendered_once_and_kept_by_the_cache(server: Any) -> None:
    asset = await server.publish()
    first = await server.ask(segment_path(asset))
    cache = server.services.cache
    assert (cache.hits, cache.misses, cache.size_bytes) == (0, 1, len(first.content))
    assert (await server.ask(segment_path(asset))).content == first.content
    assert (cache.hits, cache.misses) == (1, 1)


async def test_a_replaced_version_stays_fetchable(server: Any) -> None:
    """Contract: for 24 h. Its asset is gone, so a segment must tell all by itself."""
    old = await server.publish()
    body = (await server.ask(segment_path(old, 1))).content
    new = await server.publish(seed=2, track_id=old.track_id)
    server.services.cache.drop("tracks/")
    assert new.version != old.version
    answer = await server.ask(segment_path(old, 1))
    assert (answer.status_code, answer.content) == (200, body)


async def test_what_cannot_be_carried_is_not_there(server: Any) -> None:
    """Opus, an init segment, a segment that is not listed: 404 and nothing else."""
    asset = await server.publish(ladder=("128k", "opus-128"))
    init = asset.rendition("128k").init.name.replace(".mp4", ".ts")
    for path, code in (
        (f"/hls/{asset.track_id}/stream_opus-128-ts.m3u8", "rendition_not_found"),
        (f"/hls/{asset.track_id}/stream_320k-ts.m3u8", "rendition_not_found"),
        (segment_path(asset, 0, "opus-128"), "file_not_found"),
        (f"/hls/{asset.track_id}/{asset.version}/128k/{init}", "file_not_found"),
        (f"/hls/{asset.track_id}/{asset.version}/128k/0-00000000.ts", "file_not_found"),
        (f"/hls/{asset.track_id}/{asset.version}/128k/0-00000000.ts%0a", "file_not_found"),
    ):
        answer = await server.ask(path)
        assert (answer.status_code, answer.json()["code"]) == (404, code), path
    only_opus = await server.publish(asset, renditions=asset.renditions[-1:])
    answer = await server.ask(f"/hls/{only_opus.track_id}/master-ts.m3u8")
    assert (answer.status_code, answer.json()["code"]) == (404, "rendition_not_found")


async def test_one_signature_of_the_folder_opens_both_formats(guarded: Any) -> None:
    """Contract, signed URLs: playlists fetched with a token carry signed URIs, in MPEG-TS as in fMP4."""
    asset = await guarded.publish(visibility="private")
    url = f"/hls/{asset.track_id}/master-ts.m3u8"
    assert (await guarded.ask(url)).status_code == 401
    assert (await guarded.ask(segment_path(asset))).status_code == 401
    master = await guarded.ask(url, headers=guarded.bearer("owner-1"))
    media_url = urljoin(url, m3u8.loads(master.text).playlists[0].uri)
    media = m3u8.loads((await guarded.ask(media_url)).text)
    assert len({urlsplit(segment.uri).query for segment in media.segments}) == 1
    segment = urljoin(media_url, media.segments[0].uri)
    answer = await guarded.ask(segment)
    assert (answer.status_code, answer.headers["cache-control"]) == (
        200,
        "private, max-age=31536000, immutable",
    )
    assert (await guarded.ask(segment.replace(".ts?", ".m4s?"))).status_code == 200
    assert (await guarded.ask(segment.replace("/128k/", "/192k/"))).status_code == 403


async def test_a_growing_track_grows_in_mpegts_too(server: Any) -> None:
    asset = await server.publish(state="growing")
    answer = await server.ask(f"/hls/{asset.track_id}/stream_128k-ts.m3u8")
    assert answer.headers["cache-control"] == "public, no-cache"
    assert "#EXT-X-PLAYLIST-TYPE:EVENT" in answer.text
    assert "#EXT-X-ENDLIST" not in answer.text
    empty = tuple(replace(rendition, segments=()) for rendition in asset.renditions)
    await server.publish(asset, state="growing", renditions=empty)
    for name in ("master-ts.m3u8", "stream_128k-ts.m3u8"):
        answer = await server.ask(f"/hls/{asset.track_id}/{name}")
        assert (answer.status_code, answer.json()["code"]) == (503, "track_not_ready")


async def test_a_job_that_asked_for_it_is_played_in_mpegts_first(server: Any) -> None:
    """In the list and by itself, as in the callback; the others are there as well."""
    asset = await server.publish(segment_format=SegmentFormat.TS)
    url = f"/hls/{asset.track_id}/master-ts.m3u8"
    track = (await server.ask(f"/tracks/{asset.track_id}")).json()
    assert track["stream_manifest_url"] == track["manifest_urls"]["ts"] == url
    assert track["manifest_urls"]["aac"] == f"/hls/{asset.track_id}/master.m3u8"
    [listed] = (await server.ask("/tracks")).json()["tracks"]
    assert listed["stream_manifest_url"] == url
