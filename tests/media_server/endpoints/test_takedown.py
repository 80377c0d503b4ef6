"""media_server/endpoints/takedown.py"""

from __future__ import annotations

from typing import Any

import pytest

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def path_of(track_id: str) -> str:
    return f"/api/v1/internal/tracks/{track_id}"


async def test_nothing_of_a_track_is_left(server: Any) -> None:
    """Its playlists, its segments also where they were in memory, its place in the list, its original."""
    asset = await server.publish()
    kept = await server.publish(track_id=UNKNOWN)
    master = f"/hls/{asset.track_id}/master.m3u8"
    segment = f"/hls/{asset.track_id}/{asset.version}/128k/{asset.rendition('128k').segments[0].name}"
    original = f"sources/{asset.track_id}"
    await server.services.storage.put(original, b"RIFF", media_type="audio/wav")
    for url in (master, segment):
        assert (await server.ask(url)).status_code == 200

    assert (await server.ask(path_of(asset.track_id), "DELETE")).status_code == 204

    for url in (master, segment, f"/tracks/{asset.track_id}", f"/tracks/{asset.track_id}/cover"):
        assert (await server.ask(url)).status_code == 404
    assert await server.services.storage.list(f"tracks/{asset.track_id}/") == []
    assert await server.services.storage.list("sources/") == []
    listed = (await server.ask("/tracks")).json()["tracks"]
    assert [track["track_id"] for track in listed] == [kept.track_id]
    assert (await server.ask(f"/hls/{kept.track_id}/master.m3u8")).status_code == 200


async def test_taking_down_twice_is_as_good(server: Any) -> None:
    """Idempotent: a request that is repeated gets the same answer."""
    asset = await server.publish()
    for _ in range(2):
        answer = await server.ask(path_of(asset.track_id), "DELETE")
        assert (answer.status_code, answer.content) == (204, b"")
    assert (await server.ask(path_of(UNKNOWN), "DELETE")).status_code == 204


@pytest.mark.parametrize("track_id", ["x", "%2e%2e", UNKNOWN.replace("8", "A"), "a%00"])
async def test_an_id_that_is_none_is_refused(server: Any, track_id: str) -> None:
    answer = await server.ask(path_of(track_id), "DELETE")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_track_id")


async def test_it_is_internal(guarded: Any, key: dict[str, str]) -> None:
    asset = await guarded.publish()
    url = path_of(asset.track_id)
    assert (await guarded.ask(url, "DELETE")).status_code == 401
    assert (
        await guarded.ask(url, "DELETE", headers=guarded.bearer("owner-1", ("admin",)))
    ).status_code == 401
    assert (await guarded.ask(f"/hls/{asset.track_id}/master.m3u8")).status_code == 200
    assert (await guarded.ask(url, "DELETE", headers=key)).status_code == 204
