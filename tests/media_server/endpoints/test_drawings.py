"""media_server/endpoints/drawings.py"""

from __future__ import annotations

from typing import Any


async def test_the_cover_has_its_type(server: Any) -> None:
    asset = await server.publish()
    answer = await server.ask(f"/tracks/{asset.track_id}/cover")
    assert answer.headers["content-type"] == "image/png"
    assert answer.content.startswith(b"\x89PNG")


async def test_a_cover_is_kept_as_long_as_the_contract_says(server: Any) -> None:
    """Contract, caching: cover 30 days."""
    asset = await server.publish()
    url = f"/tracks/{asset.track_id}/cover"
    answer = await server.ask(url)
    assert answer.headers["cache-control"] == "public, max-age=2592000"
    known = await server.ask(url, headers={"If-None-Match": answer.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")


async def test_a_track_without_a_cover_is_404(server: Any) -> None:
    asset = await server.publish(cover=None)
    answer = await server.ask(f"/tracks/{asset.track_id}/cover")
    assert (answer.status_code, answer.json()["code"]) == (404, "cover_not_found")


async def test_the_cover_is_for_those_who_may_hear(guarded: Any) -> None:
    asset = await guarded.publish(visibility="private")
    url = f"/tracks/{asset.track_id}/cover"
    assert (await guarded.ask(url)).status_code == 401
    answer = await guarded.ask(url, headers=guarded.bearer("owner-1"))
    assert answer.headers["cache-control"].startswith("private")
