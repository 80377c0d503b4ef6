"""media_server/endpoints/audio.py"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import av
import pytest

from hls.asset import Asset, AssetDownload, StoredFile
from media_server.jobs.publish import put_pointer
from media_server.storage.assets import download_key


async def stored(server: Any, asset: Asset, name: str) -> bytes:
    """The rendition's files one after the other, as the storage has them."""
    rendition = asset.rendition(name)
    return b"".join(
        [
            await server.services.assets.file(asset.track_id, asset.version, name, file.name)
            for file in (rendition.init, *rendition.segments)
        ]
    )


def path_of(asset: Asset) -> str:
    return f"/tracks/{asset.track_id}/audio.m4a"


async def test_the_file_is_the_best_rendition_as_it_is_stored(server: Any) -> None:
    asset = await server.publish(ladder=("128k", "192k", "opus-128"))
    answer = await server.ask(path_of(asset))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/mp4")
    assert answer.content == await stored(server, asset, "192k")
    assert answer.headers["content-length"] == str(len(answer.content))
    with av.open(io.BytesIO(answer.content)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"


@pytest.mark.parametrize("bitrate", [128, 192])
async def test_a_bit_rate_is_a_rendition(server: Any, bitrate: int) -> None:
    asset = await server.publish()
    answer = await server.ask(f"{path_of(asset)}?bitrate={bitrate}")
    assert answer.content == await stored(server, asset, f"{bitrate}k")


@pytest.mark.parametrize("bitrate", ["", "320", "128k", "-1", "1e5"])
async def test_another_bit_rate_is_refused_with_those_there_are(server: Any, bitrate: str) -> None:
    asset = await server.publish()
    answer = await server.ask(f"{path_of(asset)}?bitrate={bitrate}")
    assert (answer.status_code, answer.json()["code"]) == (400, "bitrate_not_allowed")
    assert "128, 192" in answer.json()["detail"]


async def test_a_track_of_opus_alone_has_no_such_file(server: Any) -> None:
    asset = await server.publish(ladder=("opus-128",))
    answer = await server.ask(path_of(asset))
    assert (answer.status_code, answer.json()["code"]) == (404, "rendition_not_found")


async def test_a_track_that_grows_is_not_there_yet(server: Any) -> None:
    asset = await server.publish(state="growing")
    answer = await server.ask(path_of(asset))
    assert (answer.status_code, answer.json()["code"]) == (503, "track_not_ready")
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("asked", "first", "last"), [("0-0", 0, 0), ("100-99999", 100, 99999), ("-1", -1, None), ("7-", 7, None)]
)
async def test_a_range_is_that_part_of_the_file(
    server: Any, asked: str, first: int, last: int | None
) -> None:
    """RFC 9110 14.2; parts that lie in several segments too."""
    asset = await server.publish()
    whole = await stored(server, asset, "192k")
    answer = await server.ask(path_of(asset), headers={"Range": f"bytes={asked}"})
    begin = first % len(whole)
    end = len(whole) - 1 if last is None else last
    assert answer.status_code == 206
    assert answer.content == whole[begin : end + 1]
    assert answer.headers["content-range"] == f"bytes {begin}-{end}/{len(whole)}"


async def test_a_range_behind_the_end_is_refused(server: Any) -> None:
    asset = await server.publish()
    size = len(await stored(server, asset, "192k"))
    answer = await server.ask(path_of(asset), headers={"Range": f"bytes={size}-"})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{size}")


async def test_what_the_client_has_is_not_sent_again(server: Any) -> None:
    asset = await server.publish()
    tag = (await server.ask(path_of(asset))).headers["etag"]
    answer = await server.ask(path_of(asset), headers={"If-None-Match": tag})
    assert (answer.status_code, answer.content) == (304, b"")
    other = await server.ask(f"{path_of(asset)}?bitrate=128")
    assert other.headers["etag"] != tag


async def test_a_head_reads_no_segment(server: Any) -> None:
    asset = await server.publish()
    answer = await server.ask(path_of(asset), "HEAD")
    assert answer.status_code == 200
    assert server.services.cache.misses == 0
    assert answer.headers["content-length"] == str(len(await stored(server, asset, "192k")))


MP3 = bytes(range(256)) * 4097
"""Longer than what is read from the storage at once."""


async def with_files(server: Any) -> Asset:
    """A track with MP3s at two bit rates, one of them at two rates, and a FLAC."""
    asset = await server.publish()
    downloads = []
    for name, bitrate_bps, rate_hz, data in (
        ("mp3-128", 128_000, 48_000, b"low"),
        ("mp3-320-44100", 320_000, 44_100, b"cd"),
        ("mp3-320", 320_000, 48_000, MP3),
        ("flac", None, 96_000, b"fLaC"),
    ):
        fmt = name.split("-")[0]
        file = StoredFile(name=f"{name}-01234567.{fmt}", bytes=len(data), sha256="", media_type="")
        key = download_key(asset.track_id, asset.version, file.name)
        await server.services.storage.put(key, data, media_type="")
        downloads.append(
            AssetDownload(
                name=name, format=fmt, bitrate_bps=bitrate_bps, rate_hz=rate_hz, channels=2, file=file
            )
        )
    return await server.publish(asset, downloads=tuple(downloads))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", MP3),
        ("?bitrate=128", b"low"),
        ("?bitrate=320", MP3),
        ("?bitrate=320&rate=44100", b"cd"),
        ("?rate=44100", b"cd"),
    ],
)
async def test_a_file_is_the_best_of_what_is_asked_for(server: Any, query: str, expected: bytes) -> None:
    asset = await with_files(server)
    answer = await server.ask(f"/tracks/{asset.track_id}/audio.mp3{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/mpeg")
    assert answer.content == expected
    assert answer.headers["content-disposition"].startswith('attachment; filename="Ann - Uberfahrt.mp3"')


@pytest.mark.parametrize(
    ("path", "code", "allowed"),
    [
        ("audio.mp3?bitrate=192", "bitrate_not_allowed", "128, 320"),
        ("audio.mp3?bitrate=128&rate=44100", "rate_not_allowed", "48000"),
        ("audio.mp3?rate=cd", "rate_not_allowed", "48000, 44100"),
        ("audio.flac?bitrate=900", "bitrate_not_allowed", "lossless"),
    ],
)
async def test_what_there_is_not_is_refused_with_what_there_is(
    server: Any, path: str, code: str, allowed: str
) -> None:
    asset = await with_files(server)
    answer = await server.ask(f"/tracks/{asset.track_id}/{path}")
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert answer.json()["detail"].endswith(f"which are {allowed}")


async def test_a_format_that_was_not_made_is_not_found(server: Any) -> None:
    asset = await with_files(server)
    for fmt in ("ogg", "opus"):
        answer = await server.ask(f"/tracks/{asset.track_id}/audio.{fmt}")
        assert (answer.status_code, answer.json()["code"]) == (404, "rendition_not_found")


async def test_a_range_of_a_file_is_read_from_the_storage_and_no_more(server: Any) -> None:
    """RFC 9110 14.2; also over what is read at once, and not through the cache of segments."""
    asset = await with_files(server)
    path = f"/tracks/{asset.track_id}/audio.mp3"
    for first, last in ((0, 0), (700_000, 900_000), (len(MP3) - 5, len(MP3) - 1)):
        answer = await server.ask(path, headers={"Range": f"bytes={first}-{last}"})
        assert (answer.status_code, answer.content) == (206, MP3[first : last + 1])
        assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(MP3)}"
    assert server.services.cache.misses == 0
    tag = answer.headers["etag"]
    assert (await server.ask(path, headers={"If-None-Match": tag})).status_code == 304


async def test_a_file_that_another_process_has_replaced_is_never_half_of_each(server: Any) -> None:
    """RFC 9110 13.1.5: who holds a part of the old one gets all of the new one. This process remembers the
    old one still when it is asked."""
    asset = await with_files(server)
    path = f"/tracks/{asset.track_id}/audio.mp3"
    old = await server.ask(path, headers={"Range": "bytes=0-99"})
    [low, cd, best, flac] = asset.downloads
    name = best.file.name.replace("01234567", "76543210")
    new = replace(best, file=replace(best.file, name=name, bytes=3))
    await server.services.storage.put(
        download_key(asset.track_id, asset.version, name), b"new", media_type=""
    )
    changed = replace(asset, downloads=(low, cd, new, flac))
    await put_pointer(server.services.storage, server.services.state, changed)
    await server.services.storage.delete(download_key(asset.track_id, asset.version, best.file.name))
    answer = await server.ask(path, headers={"Range": "bytes=100-", "If-Range": old.headers["etag"]})
    assert (answer.status_code, answer.content) == (200, b"new")
    assert answer.headers["etag"] != old.headers["etag"]


async def test_a_track_tells_its_files_and_where_they_are(server: Any) -> None:
    asset = await with_files(server)
    told = (await server.ask(f"/tracks/{asset.track_id}")).json()["downloads"]
    assert [one["format"] for one in told] == ["mp3", "mp3", "mp3", "flac"]
    sizes = [int((await server.ask(one["url"], "HEAD")).headers["content-length"]) for one in told]
    assert sizes == [one["bytes"] for one in told] == [3, 2, len(MP3), 4]


async def test_a_private_track_is_for_those_who_may_hear_it(start: Callable[..., Any]) -> None:
    """Contract, Who may hear."""
    server = start(app_env="staging", jwt_secret="correct-horse-battery-staple-0123456789")
    asset = await server.publish(visibility="private", user_id="ann")
    assert (await server.ask(path_of(asset))).status_code == 401
    assert (await server.ask(path_of(asset), headers=server.bearer("bob"))).status_code == 403
    answer = await server.ask(path_of(asset), headers=server.bearer("ann"))
    assert answer.status_code == 200
    assert answer.headers["cache-control"].startswith("private")
