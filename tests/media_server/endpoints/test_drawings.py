"""media_server/endpoints/drawings.py"""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.waveform import Waveform


async def test_a_waveform_has_at_most_the_points_that_were_asked_for(server: Any) -> None:
    """audiowaveform JSON, version 2: two numbers for each point."""
    asset = await server.publish()
    for width in (1, 100, 1200, 20_000):
        drawn = (await server.ask(f"/tracks/{asset.track_id}/waveform.json?width={width}")).json()
        assert (drawn["version"], drawn["channels"], drawn["bits"], drawn["sample_rate"]) == (2, 1, 8, 48000)
        assert 1 <= drawn["length"] <= width
        assert len(drawn["data"]) == 2 * drawn["length"]
        # every sample of the track lies in some point
        samples = drawn["length"] * drawn["samples_per_pixel"]
        assert samples >= asset.duration_samples > samples - drawn["samples_per_pixel"]


async def test_without_a_width_it_is_as_wide_as_the_page(server: Any) -> None:
    asset = await server.publish()
    url = f"/tracks/{asset.track_id}/waveform.json"
    assert (await server.ask(url)).json() == (await server.ask(f"{url}?width=1200")).json()


@pytest.mark.parametrize("width", ["0", "20001", "-1", "1.5", "x", "", "9" * 400])
async def test_a_width_out_of_bounds_is_told(server: Any, width: str) -> None:
    asset = await server.publish()
    answer = await server.ask(f"/tracks/{asset.track_id}/waveform.json?width={width}")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_parameter")


async def test_the_waveform_at_full_resolution(server: Any) -> None:
    asset = await server.publish()
    answer = await server.ask(f"/tracks/{asset.track_id}/waveform.dat")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert Waveform.from_dat(answer.content).samples_per_pixel == 256
    part = await server.ask(f"/tracks/{asset.track_id}/waveform.dat", headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, answer.content[:4])


async def test_the_cover_has_its_type(server: Any) -> None:
    asset = await server.publish()
    answer = await server.ask(f"/tracks/{asset.track_id}/cover")
    assert answer.headers["content-type"] == "image/png"
    assert answer.content.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "seconds"), [("waveform.json", 3600), ("waveform.dat", 3600), ("cover", 2_592_000)]
)
async def test_drawings_are_kept_as_long_as_the_contract_says(server: Any, name: str, seconds: int) -> None:
    """Contract, caching: waveform 1 h + ETag, cover 30 days."""
    asset = await server.publish()
    url = f"/tracks/{asset.track_id}/{name}"
    answer = await server.ask(url)
    assert answer.headers["cache-control"] == f"public, max-age={seconds}"
    known = await server.ask(url, headers={"If-None-Match": answer.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")


async def test_what_a_track_does_not_have_is_404(server: Any) -> None:
    asset = await server.publish(cover=None, waveform=None)
    for name, code in (
        ("cover", "cover_not_found"),
        ("waveform.json", "waveform_not_found"),
        ("waveform.dat", "waveform_not_found"),
    ):
        answer = await server.ask(f"/tracks/{asset.track_id}/{name}")
        assert (answer.status_code, answer.json()["code"]) == (404, code)


async def test_drawings_are_for_those_who_may_hear(guarded: Any) -> None:
    asset = await guarded.publish(visibility="private")
    for name in ("cover", "waveform.json", "waveform.dat"):
        url = f"/tracks/{asset.track_id}/{name}"
        assert (await guarded.ask(url)).status_code == 401
        answer = await guarded.ask(url, headers=guarded.bearer("owner-1"))
        assert answer.headers["cache-control"].startswith("private")
