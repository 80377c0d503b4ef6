"""media_server/endpoints/audio.py"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import av
import pytest

from hls.asset import Asset


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


async def test_a_private_track_is_for_those_who_may_hear_it(start: Callable[..., Any]) -> None:
    """Contract, Who may hear."""
    server = start(app_env="staging", jwt_secret="correct-horse-battery-staple-0123456789")
    asset = await server.publish(visibility="private", user_id="ann")
    assert (await server.ask(path_of(asset))).status_code == 401
    assert (await server.ask(path_of(asset), headers=server.bearer("bob"))).status_code == 403
    answer = await server.ask(path_of(asset), headers=server.bearer("ann"))
    assert answer.status_code == 200
    assert answer.headers["cache-control"].startswith("private")
