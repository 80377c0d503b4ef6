"""Which files are made of a source: never more than it carries."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.errors import Unsupported
from pipeline.media import MediaInfo
from pipeline.outputs import OUTPUTS, Format, has_left_out, outputs_for


def source(**changed: Any) -> MediaInfo:
    told = {"container": "wav", "codec": "pcm_s16le", "rate_hz": 48_000, "channels": 2, "bit_depth": 16}
    return MediaInfo(**{**told, **changed})


def lossy(bit_rate_bps: int | None) -> MediaInfo:
    return source(container="mp3", codec="mp3float", bit_depth=None, bit_rate_bps=bit_rate_bps)


def named(names: tuple[str, ...], of: MediaInfo, channels: int = 2) -> list[str]:
    return [output.name for output in outputs_for(names, of, channels)]


def test_there_is_every_format_at_every_rate_of_the_contract() -> None:
    """Requirement I5."""
    kbit = {
        fmt: [
            o.bitrate_bps // 1000
            for o in OUTPUTS.values()
            if o.format is fmt and o.rate_hz == 48_000 and o.bitrate_bps
        ]
        for fmt in Format
    }
    four = [128, 192, 256, 320]
    assert kbit == {"mp3": four, "m4a": four, "ogg": four, "opus": [64, 96, 128, 192], "flac": []}
    assert {o.format for o in OUTPUTS.values() if o.rate_hz == 44_100} == {"mp3", "m4a", "ogg"}
    assert OUTPUTS["mp3-320-44100"].rate_hz == 44_100
    for rate_hz in (88_200, 96_000):
        high = [o for o in OUTPUTS.values() if o.rate_hz == rate_hz]
        assert [(o.format, (o.bitrate_bps or 0) // 1000) for o in high] == [("m4a", kbit) for kbit in four]


@pytest.mark.parametrize(
    ("bit_rate_bps", "expected"),
    [
        (320_000, "mp3-320"),
        (319_000, "mp3-256"),
        (192_000, "mp3-192"),
        (64_000, "mp3-128"),
        (None, "mp3-320"),
    ],
)
def test_no_file_has_a_bit_rate_above_that_of_a_lossy_source(bit_rate_bps: int | None, expected: str) -> None:
    """The lowest stays: who asks for an MP3 gets one."""
    assert named(("mp3-320",), lossy(bit_rate_bps)) == [expected]


@pytest.mark.parametrize(
    ("rate_hz", "expected"),
    [
        (48_000, ["m4a-320"]),
        (88_200, ["m4a-320", "m4a-320-88200"]),
        (192_000, ["m4a-320", "m4a-320-88200", "m4a-320-96000"]),
    ],
)
def test_a_high_rate_is_for_a_source_that_has_it(rate_hz: int, expected: list[str]) -> None:
    """What is left out is told: no other rate takes its place. One below 48 kHz every source has."""
    asked = ("m4a-320", "m4a-320-88200", "m4a-320-96000")
    assert named(asked, source(rate_hz=rate_hz)) == expected
    assert has_left_out(asked, outputs_for(asked, source(rate_hz=rate_hz), 2)) == (len(expected) < 3)
    assert named(("m4a-320-44100",), source(rate_hz=22_050)) == ["m4a-320-44100"]


def test_what_becomes_the_same_is_made_once() -> None:
    assert named(("mp3-320", "mp3-256", "ogg-128"), lossy(200_000)) == ["mp3-192", "ogg-128"]


def test_a_rate_is_kept_when_the_bit_rate_falls() -> None:
    assert named(("mp3-320-44100",), lossy(200_000)) == ["mp3-192-44100"]


@pytest.mark.parametrize(
    "of",
    [lossy(320_000), source(rate_hz=352_800), source(channels=6)],
    ids=["lossy", "beyond 192 kHz", "surround"],
)
def test_flac_is_left_out_where_it_would_promise_what_is_not_there(of: MediaInfo) -> None:
    asked = ("flac", "opus-128")
    made = outputs_for(asked, of, 2)
    assert [output.name for output in made] == ["opus-128"]
    assert has_left_out(asked, made)
    assert not has_left_out(asked[1:], made)


@pytest.mark.parametrize(("bits", "depth"), [(8, 16), (16, 16), (24, 24), (32, 24), (64, 24)])
def test_flac_has_the_source_s_rate_channels_and_depth(bits: int, depth: int) -> None:
    of = source(rate_hz=192_000, channels=1, bit_depth=bits)
    [flac] = outputs_for(("flac",), of, 2)
    assert (flac.rate_hz, flac.channels, flac.bit_depth, flac.bitrate_bps) == (192_000, 1, depth, None)


def test_mono_stays_mono_at_half_the_bit_rate() -> None:
    [mp3] = outputs_for(("mp3-320",), source(channels=1), 1)
    assert (mp3.name, mp3.channels, mp3.bitrate_bps) == ("mp3-320", 1, 160_000)


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(Unsupported, match="mp3-320") as caught:
        outputs_for(("mp3-321",), source(), 2)
    assert caught.value.code == "unknown_output"


def test_the_media_types_are_those_that_browsers_know() -> None:
    assert {fmt.value: fmt.media_type for fmt in Format} == {
        "mp3": "audio/mpeg",
        "m4a": "audio/mp4",
        "ogg": "audio/ogg",
        "opus": "audio/ogg",
        "flac": "audio/flac",
    }
