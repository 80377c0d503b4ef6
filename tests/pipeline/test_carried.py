"""No rendition has more in it than its source; the lowest of each codec is made all the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import signals
import sources

from pipeline.carried import Carried, fill
from pipeline.decode import Reader
from pipeline.errors import Unsupported
from pipeline.ladder import DEFAULT_LADDER, RUNGS, ladder_for

EVERY_RUNG = tuple(RUNGS)


def source(codec: str, kbps: int = 0, **changed: object) -> Carried:
    values = {"rate_hz": 44_100, "channels": 2, "sample_bits": 16, "bit_rate_bps": kbps * 1000}
    return Carried(codec=codec, **{**values, **changed})


def filled(carried: Carried, names: tuple[str, ...] = EVERY_RUNG) -> list[str]:
    ladder, _ = fill(ladder_for(min(carried.channels, 2), names), carried)
    return [rung.name for rung in ladder]


@pytest.mark.parametrize("codec", ["flac", "alac", "pcm_s16le", "pcm_s24be", "pcm_f32le", "pcm_u8"])
def test_a_lossless_source_fills_every_rung(codec: str) -> None:
    assert filled(source(codec, 100)) == list(EVERY_RUNG)


@pytest.mark.parametrize(
    ("codec", "kbps", "highest"),
    [
        ("mp3float", 128, ["128k", "opus-128"]),
        ("mp3float", 320, ["320k", "opus-192"]),
        ("mp3float", 245, ["256k", "opus-192"]),  # LAME's V0, as it names itself
        ("mp3float", 190, ["192k", "opus-192"]),  # V2
        ("aac", 260, ["256k", "opus-192"]),  # 256k as encoders hit it
        ("vorbis", 112, ["128k", "opus-128"]),
        ("mp2float", 384, ["320k", "opus-192"]),
        ("opus", 128, ["160k", "opus-128"]),  # Opus needs fewer bits than AAC
        ("opus", 510, ["320k", "opus-192"]),
        ("mp3float", 32, ["64k", "opus-64"]),
        ("pcm_mulaw", 128, ["128k", "opus-128"]),
    ],
)
def test_a_lossy_source_fills_the_first_rung_that_holds_it_and_those_below(
    codec: str, kbps: int, highest: list[str]
) -> None:
    names = filled(source(codec, kbps))
    aac, opus = (names.index(name) for name in highest)
    assert names[aac + 1].startswith("opus")
    assert opus == len(names) - 1
    assert names == [name for name in EVERY_RUNG if name in names]


@pytest.mark.parametrize(
    ("profile", "kbps", "highest"),
    [
        ("LC", 64, ["64k", "opus-64"]),
        ("HE-AAC", 48, ["96k", "opus-96"]),
        ("HE-AAC", 64, ["128k", "opus-128"]),
        ("HE-AACv2", 32, ["96k", "opus-96"]),
        ("HE-AACv2", 48, ["160k", "opus-192"]),
        ("xHE-AAC", 64, ["128k", "opus-128"]),
        ("Main", 64, ["64k", "opus-64"]),
    ],
)
def test_a_profile_that_needs_fewer_bits_counts_for_more(profile: str, kbps: int, highest: list[str]) -> None:
    """ISO/IEC 14496-3 4.6.18, 8.6.4: bits go to half the band, and with parametric stereo to one channel."""
    names = filled(source("aac", kbps, profile=profile))
    aac = [name for name in names if not name.startswith("opus")]
    assert [aac[-1], names[-1]] == highest


def test_a_decode_pass_tells_the_profile(tmp_path: Path) -> None:
    """HE-AAC is known by the element that its frames have: its header may be that of a plain one."""
    path = tmp_path / "x.m4a"
    sources.high_efficiency(path, signals.music(1, 22_050, 2), 22_050, 64_000)
    reader = Reader(path, 60)
    assert sum(block.samples for block in reader)
    assert reader.carried is not None
    assert (reader.carried.profile, reader.carried.rate_hz) == ("HE-AAC", 44_100)
    assert reader.carried.bit_rate_bps == pytest.approx(64_000, rel=0.1)
    assert filled(reader.carried, DEFAULT_LADDER) == ["128k", "opus-128"]
    assert filled(reader.carried, ("64k", "96k", "128k", "192k")) == ["64k", "96k", "128k"]


def test_what_holds_it_is_asked_of_all_rungs_not_of_those_in_the_ladder() -> None:
    """A source of 200 kbit/s is held by 256k; 320k would be the first above it in the default ladder."""
    assert filled(source("mp3float", 200), DEFAULT_LADDER) == ["128k", "192k", "opus-128"]
    assert filled(source("mp3float", 128), DEFAULT_LADDER) == ["128k", "opus-128"]


def test_the_lowest_of_each_codec_is_never_left_out() -> None:
    assert filled(source("mp3float", 48), ("192k", "320k", "opus-128", "opus-192")) == ["192k", "opus-128"]


def test_mono_is_compared_with_mono() -> None:
    """A rung has half its bit rate in mono, and so has a source."""
    assert filled(source("mp3float", 64, channels=1), DEFAULT_LADDER) == ["128k", "opus-128"]
    assert filled(source("mp3float", 96, channels=1), DEFAULT_LADDER) == ["128k", "192k", "opus-128"]


def test_a_source_without_a_bit_rate_gets_the_lowest_rungs() -> None:
    """Nothing of it could be decoded but silence; not a crash."""
    assert filled(source("mp3float", 0), DEFAULT_LADDER) == ["128k", "opus-128"]


@pytest.mark.parametrize(("sample_bits", "bit_depth"), [(8, 16), (16, 16), (32, 24), (64, 24)])
def test_the_lossless_rendition_is_like_its_source(sample_bits: int, bit_depth: int) -> None:
    """20 and 24 bits come out of a decoder in 32; deeper and float sources keep 24 of theirs."""
    carried = source("flac", rate_hz=88_200, channels=1, sample_bits=sample_bits)
    (rendition,), warnings = fill(ladder_for(1, ("lossless",)), carried)
    assert (rendition.rate_hz, rendition.channels, rendition.bit_depth) == (88_200, 1, bit_depth)
    assert (rendition.name, rendition.bitrate_bps, warnings) == ("lossless", 0, ())


@pytest.mark.parametrize(
    ("carried", "warning"),
    [
        (source("mp3float", 320), "lossless_of_lossy"),
        (source("pcm_alaw"), "lossless_of_lossy"),
        (source("flac", channels=6), "lossless_channels"),
        (source("pcm_s32le", rate_hz=384_000), "lossless_rate"),
        (source("flac", rate_hz=35_467), "lossless_rate"),
        (source("flac", is_uniform=False), "lossless_mixed"),
    ],
)
def test_a_source_that_cannot_be_lossless_is_warned_of(carried: Carried, warning: str) -> None:
    """Only where lossless was asked for; where nothing else was, there is nothing to make."""
    channels = min(carried.channels, 2)
    ladder, warnings = fill(ladder_for(channels, ("128k", "lossless")), carried)
    assert ([rung.name for rung in ladder], warnings) == (["128k"], (warning,))
    assert fill(ladder_for(channels, ("128k",)), carried)[1] == ()
    with pytest.raises(Unsupported, match="lossless is all that is asked for, and the source") as refused:
        fill(ladder_for(channels, ("lossless",)), carried)
    assert refused.value.code == "no_rendition"


@pytest.mark.parametrize(
    ("fmt", "subtype", "kbps", "bits"),
    [
        ("mp3", None, 320, 32),
        ("m4a", None, 192, 32),
        ("flac", "PCM_16", None, 16),
        ("wav", "PCM_24", None, 32),
    ],
)
def test_a_decode_pass_tells_what_the_source_carries(
    tmp_path: Path, fmt: str, subtype: str | None, kbps: int | None, bits: int
) -> None:
    """By the packets that were decoded, not by the header."""
    signals.write(tmp_path / "a", signals.music(1, 44_100, 2), 44_100, fmt, subtype=subtype)
    reader = Reader(tmp_path / "a", 60)
    assert sum(block.samples for block in reader)
    carried = reader.carried
    assert carried is not None
    assert (carried.rate_hz, carried.channels, carried.sample_bits) == (44_100, 2, bits)
    assert carried.is_uniform
    assert carried.is_lossless == (kbps is None)
    assert kbps is None or carried.bit_rate_bps == pytest.approx(kbps * 1000, rel=0.05)
