"""The rungs a track gets: which, in which order, at which bit rate."""

from __future__ import annotations

import pytest

from pipeline.errors import Unsupported
from pipeline.ladder import DEFAULT_LADDER, RUNGS, Codec, Rendition, ladder_for


def test_stereo_gets_three_rungs_of_aac_lowest_first_and_one_of_opus() -> None:
    """Requirements I10; hls.md: the first variant of a master is where a player starts."""
    ladder = ladder_for(2)
    assert [(rung.name, rung.codec, rung.bitrate_bps) for rung in ladder] == [
        ("128k", Codec.AAC, 128_000),
        ("192k", Codec.AAC, 192_000),
        ("320k", Codec.AAC, 320_000),
        ("opus-128", Codec.OPUS, 128_000),
    ]
    assert {(rung.channels, rung.rate_hz) for rung in ladder} == {(2, 48_000)}
    assert tuple(rung.name for rung in ladder) == DEFAULT_LADDER


def test_mono_stays_mono_at_half_the_bit_rate_under_the_same_names() -> None:
    assert [(rung.name, rung.channels, rung.bitrate_bps) for rung in ladder_for(1)] == [
        ("128k", 1, 64_000),
        ("192k", 1, 96_000),
        ("320k", 1, 160_000),
        ("opus-128", 1, 64_000),
    ]


def test_a_job_may_ask_for_some_rungs_in_any_order() -> None:
    """They come in the ladder's order all the same, each once."""
    asked = ("opus-128", "320k", "128k", "320k")
    assert [rung.name for rung in ladder_for(2, asked)] == ["128k", "320k", "opus-128"]


def test_a_rung_for_every_bit_rate_that_is_common() -> None:
    """Requirements I5: a codec after the other, the lowest first, and the source itself."""
    assert [(rung.name, rung.bitrate_bps) for rung in RUNGS.values()] == [
        ("64k", 64_000), ("96k", 96_000), ("128k", 128_000), ("160k", 160_000), ("192k", 192_000),
        ("256k", 256_000), ("320k", 320_000),
        ("opus-64", 64_000), ("opus-96", 96_000), ("opus-128", 128_000), ("opus-192", 192_000),
        ("lossless", 0),
    ]  # fmt: skip
    assert RUNGS["lossless"].codec is Codec.FLAC


def test_a_rung_is_known_by_its_own_name() -> None:
    assert RUNGS["opus-128"] == Rendition(name="opus-128", codec=Codec.OPUS, bitrate_bps=128_000)
    assert all(name == rung.name for name, rung in RUNGS.items())


@pytest.mark.parametrize("names", [(), ("32k",), ("128k", "flac"), ("128K",), ("opus",)])
def test_a_rung_outside_the_product_is_refused_by_name(names: tuple[str, ...]) -> None:
    with pytest.raises(Unsupported) as refused:
        ladder_for(2, names)
    assert refused.value.code == "unknown_rendition"
    assert refused.value.message.endswith(f"known are {', '.join(RUNGS)}")


def test_aac_low_complexity_is_named_as_players_know_it() -> None:
    """RFC 6381: mp4a, object type 0x40 (MPEG-4 audio), audio object type 2 (LC); 1024 samples a frame."""
    assert (Codec.AAC.rfc6381, Codec.AAC.frame_samples) == ("mp4a.40.2", 1024)


def test_opus_is_named_by_its_sample_entry_in_packets_of_20_ms() -> None:
    """RFC 6381 3.3: the four-character code of the ISO file, with its capital."""
    assert (Codec.OPUS.rfc6381, Codec.OPUS.frame_samples) == ("Opus", 960)


@pytest.mark.parametrize("codec", list(Codec))
def test_a_codec_is_found_by_the_name_that_playlists_have(codec: Codec) -> None:
    assert Codec.of_rfc6381(codec.rfc6381) is codec
    with pytest.raises(ValueError, match=r"codec is 'alac', known are mp4a\.40\.2, Opus, fLaC"):
        Codec.of_rfc6381("alac")


@pytest.mark.parametrize(
    ("rate_hz", "samples"),
    [(8_000, 640), (44_100, 3_528), (48_000, 3_840), (88_200, 7_056), (96_000, 7_680), (192_000, 15_360)],
)
def test_a_frame_of_flac_is_80_ms_at_every_rate(rate_hz: int, samples: int) -> None:
    """48 of them are a segment; RFC 9639 7 wants at most 4608 up to 48 kHz and 16384 above."""
    assert Codec.FLAC.frame_samples_at(rate_hz) == samples
    assert Codec.AAC.frame_samples_at(rate_hz) == Codec.AAC.frame_samples


def test_a_rate_without_whole_frames_is_none_of_flac() -> None:
    with pytest.raises(ValueError, match="rate is 35467 Hz, 80 ms of it are no whole number of samples"):
        Codec.FLAC.frame_samples_at(35_467)
