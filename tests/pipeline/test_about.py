"""Each format names its tags as its players look for them; nothing else of a source is in them."""

from __future__ import annotations

import base64
import struct
from dataclasses import replace

import pytest
import whole_files

from pipeline.about import edges_of, picture_comment, spelled
from pipeline.m4a import freeform_tags
from pipeline.outputs import Format
from pipeline.replaygain import FileLoudness


def test_vorbis_comments_have_the_names_of_their_recommendation() -> None:
    assert spelled(whole_files.about(), Format.FLAC) == {
        "TITLE": "Überfahrt",
        "ARTIST": "Ann",
        "ALBUM": "Ferry",
        "ALBUMARTIST": "Ann & Co",
        "DATE": "2024-05-06",
        "TRACKNUMBER": "3/12",
        "ISRC": "DEA123456789",
        "DESCRIPTION": "Übers Meer",
        "REPLAYGAIN_TRACK_GAIN": "-4.00 dB",
        "REPLAYGAIN_TRACK_PEAK": "0.891251",
    }


def test_opus_has_its_own_gain_and_not_replaygain_s() -> None:
    """RFC 7845 5.2.1."""
    names = spelled(whole_files.about(), Format.OPUS)
    assert names["R128_TRACK_GAIN"] == "-2304"
    assert not [name for name in names if name.startswith("REPLAYGAIN")]


@pytest.mark.parametrize(
    ("fmt", "name", "text"),
    [
        (Format.MP3, "REPLAYGAIN_ALBUM_GAIN", "-6.00 dB"),
        (Format.FLAC, "REPLAYGAIN_ALBUM_PEAK", "1.000000"),
        (Format.OGG, "REPLAYGAIN_ALBUM_GAIN", "-6.00 dB"),
        (Format.OPUS, "R128_ALBUM_GAIN", "-2816"),
    ],
)
def test_a_track_of_an_album_says_how_loud_the_album_is(fmt: Format, name: str, text: str) -> None:
    """M4A has it among its own boxes."""
    album = FileLoudness(integrated_lufs=-12.0, true_peak_dbtp=0.0)
    assert spelled(replace(whole_files.about(), album=album), fmt)[name] == text
    assert freeform_tags(replace(whole_files.about(), album=album))["replaygain_album_gain"] == "-6.00 dB"
    assert name not in spelled(whole_files.about(), fmt)


@pytest.mark.parametrize("fmt", Format)
def test_what_is_not_kept_of_a_source_is_in_no_file(fmt: Format) -> None:
    said = replace(
        whole_files.about(), tags={"title": "T", "location": "secret", "encoder": "x", "genre": ""}
    )
    assert {name.lower() for name in spelled(said, fmt)} <= {
        "title", "replaygain_track_gain", "replaygain_track_peak", "r128_track_gain"
    }  # fmt: skip


def test_a_picture_in_a_comment_is_a_front_cover_of_its_own_size() -> None:
    """RFC 9639 8.8."""
    said = whole_files.about(cover=True)
    assert said.cover is not None
    assert edges_of(said.cover) == (64, 48)
    block = base64.b64decode(picture_comment(said)["METADATA_BLOCK_PICTURE"])
    kind, type_bytes = struct.unpack_from(">II", block)
    assert (kind, block[8 : 8 + type_bytes]) == (3, b"image/jpeg")
    words = struct.unpack_from(">6I", block, 8 + type_bytes)
    assert words == (0, 64, 48, 24, 0, len(said.cover.data))
    assert block.endswith(said.cover.data)
    assert picture_comment(whole_files.about()) == {}
