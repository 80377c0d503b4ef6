"""media_server/endpoints/waveforms.py"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import signals
from oracles import audiowaveform

from media_server.endpoints.waveforms import to_json
from media_server.storage.assets import version_prefix
from pipeline.waveform import Bits, Waveform, WaveformMeter

GOLDEN = audiowaveform.golden()
NAMES = ("waveform.json", "waveform.dat", "waveform.png", "waveform.svg")


@pytest.mark.parametrize("case", audiowaveform.CASES, ids=str)
def test_the_json_form_is_audiowaveforms_byte_for_byte(case: audiowaveform.Case) -> None:
    """Version 1.10.3 made the hashes of the same PCM."""
    meter = WaveformMeter(case.channels)
    for block in signals.blocks(signals.as_float(case.pcm)):
        meter.push(block)
    view = (meter.result().split() if case.split else meter.result().mix()).rescaled(case.zoom)
    assert audiowaveform.digest(to_json(view, case.bits)) == GOLDEN[str(case)][1]


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


async def test_the_binary_file_is_at_full_resolution_where_nothing_is_asked(server: Any) -> None:
    """Version 1: 20 bytes of header, one lane at 8 bits."""
    asset = await server.publish()
    answer = await server.ask(f"/tracks/{asset.track_id}/waveform.dat")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert len(answer.content) == 20 + 2 * -(-asset.duration_samples // 256)
    part = await server.ask(f"/tracks/{asset.track_id}/waveform.dat", headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"\1\0\0\0")


async def test_zoom_lanes_and_bits_can_be_chosen(server: Any) -> None:
    """Both forms say the same; the binary one is as long as its lanes and bits make it."""
    asset = await server.publish()
    url = f"/tracks/{asset.track_id}/waveform"
    bits: Bits
    for query, zoom, lanes, bits in (
        ("bits=16&width=20000", 256, 1, 16),
        ("zoom=512", 512, 1, 8),
        ("zoom=1000&bits=16", 1000, 1, 16),
        ("split_channels=true&width=20000", 256, 2, 8),
        ("split_channels=true&bits=16&zoom=16777216", 16_777_216, 2, 16),
        ("split_channels=false&width=900", 512, 1, 8),
    ):
        told = (await server.ask(f"{url}.json?{query}")).json()
        assert (told["samples_per_pixel"], told["channels"], told["bits"]) == (zoom, lanes, bits)
        dat = (await server.ask(f"{url}.dat?{query}")).content
        read = Waveform.from_dat(dat)
        assert (read.samples_per_pixel, read.lanes) == (zoom, lanes)
        assert len(dat) == (20 if lanes == 1 else 24) + len(told["data"]) * bits // 8
        assert read.to_json_object(bits)["data"].tolist() == told["data"]


async def test_a_picture_has_the_size_and_the_colours_that_were_asked_for(server: Any) -> None:
    asset = await server.publish()
    url = f"/tracks/{asset.track_id}/waveform"
    asked = "width=64&height=32&waveform_color=ff0000&background_color=00ff0080"
    png = await server.ask(f"{url}.png?{asked}")
    pixels = signals.pixels(png.content)
    assert (png.headers["content-type"], pixels.shape) == ("image/png", (32, 64, 4))
    assert {tuple(pixel) for row in pixels.tolist() for pixel in row} == {(255, 0, 0, 255), (0, 255, 0, 128)}
    svg = await server.ask(f"{url}.svg?{asked}")
    assert svg.headers["content-type"] == "image/svg+xml"
    assert 'viewBox="0 0 64 32"' in svg.text
    assert {"#ff0000ff", "#00ff0080"} <= set(svg.text.split('"'))


async def test_a_picture_is_1200_by_250_on_nothing_where_nothing_is_asked(server: Any) -> None:
    asset = await server.publish()
    pixels = signals.pixels((await server.ask(f"/tracks/{asset.track_id}/waveform.png")).content)
    assert (pixels.shape, pixels[0, 0].tolist()) == ((250, 1200, 4), [0, 0, 0, 0])
    split = await server.ask(f"/tracks/{asset.track_id}/waveform.png?split_channels=true")
    assert not np.array_equal(signals.pixels(split.content), pixels)


async def test_a_parameter_out_of_bounds_is_told(server: Any) -> None:
    asset = await server.publish()
    for query in (
        *(f"width={width}" for width in ("0", "20001", "-1", "1.5", "x", "", "9" * 400)),
        *(f"zoom={zoom}" for zoom in ("255", "0", "16777217", "x")),
        *("zoom=256&width=1", "bits=12", "split_channels=1"),
    ):
        for name in ("waveform.json", "waveform.dat"):
            answer = await server.ask(f"/tracks/{asset.track_id}/{name}?{query}")
            assert (query, answer.status_code, answer.json()["code"]) == (query, 400, "bad_parameter")


async def test_a_picture_out_of_bounds_is_told(server: Any) -> None:
    asset = await server.publish()
    for query in (
        *("width=0", "width=4097", "height=0", "height=1025", "split_channels=yes"),
        *("waveform_color=red", 'background_color="/><script>'),
    ):
        for name in ("waveform.png", "waveform.svg"):
            answer = await server.ask(f"/tracks/{asset.track_id}/{name}?{query}")
            assert (query, answer.status_code, answer.json()["code"]) == (query, 400, "bad_parameter")


async def test_waveforms_are_kept_as_long_as_the_contract_says(server: Any) -> None:
    """Contract, caching: waveform 1 h + ETag."""
    asset = await server.publish()
    for name in NAMES:
        url = f"/tracks/{asset.track_id}/{name}"
        answer = await server.ask(url)
        assert answer.headers["cache-control"] == "public, max-age=3600"
        held = {"If-None-Match": answer.headers["etag"]}
        known = await server.ask(url, headers=held)
        assert (known.status_code, known.content) == (304, b"")
        assert (await server.ask(f"{url}?split_channels=true", headers=held)).status_code == 200


async def test_hours_of_waveform_are_not_zipped(server: Any) -> None:
    """What is zipped stays in memory for the next listener."""
    asset = await server.publish()
    hours = Waveform(levels=np.full((160_000, 1, 2), -32_768, np.int16))
    key = version_prefix(asset.track_id, asset.version) + asset.waveform.name
    await server.services.storage.put(key, hours.to_dat(16), media_type="application/octet-stream")
    url = f"/tracks/{asset.track_id}/waveform.json"
    zipped = await server.ask(f"{url}?zoom=4096", headers={"Accept-Encoding": "gzip"})
    plain = await server.ask(f"{url}?zoom=256", headers={"Accept-Encoding": "gzip"})
    assert (zipped.headers["content-encoding"], zipped.json()["length"]) == ("gzip", 10_000)
    assert ("content-encoding" in plain.headers, plain.json()["length"]) == (False, 160_000)


async def test_a_track_without_a_waveform_is_404(server: Any) -> None:
    asset = await server.publish(waveform=None)
    for name in NAMES:
        answer = await server.ask(f"/tracks/{asset.track_id}/{name}")
        assert (answer.status_code, answer.json()["code"]) == (404, "waveform_not_found")


async def test_waveforms_are_for_those_who_may_hear(guarded: Any) -> None:
    """A bad parameter is told to nobody else either."""
    asset = await guarded.publish(visibility="private")
    for name in NAMES:
        url = f"/tracks/{asset.track_id}/{name}"
        assert (await guarded.ask(f"{url}?width=0")).status_code == 401
        answer = await guarded.ask(url, headers=guarded.bearer("owner-1"))
        assert answer.headers["cache-control"].startswith("private")
