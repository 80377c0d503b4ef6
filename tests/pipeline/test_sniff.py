"""What a file is comes from its bytes alone."""

from __future__ import annotations

import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Malformed, MediaError, Unsupported
from pipeline.sniff import sniff

MP3_FRAME = b"\xff\xfb\x90\x64" + bytes(413)
"""MPEG-1 layer III, 128 kbit/s, 44.1 kHz: 144 * 128000 // 44100 = 417 bytes."""

ADTS_FRAME = b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(9)
"""AAC-LC, 44.1 kHz, 16 bytes long."""


@pytest.mark.parametrize(
    ("head", "demuxer"),
    [
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "wav"),
        (b"RF64\xff\xff\xff\xffWAVEds64", "wav"),
        (b"FORM\x00\x00\x00\x00AIFF", "aiff"),
        (b"FORM\x00\x00\x00\x00AIFC", "aiff"),
        (b"fLaC\x00\x00\x00\x22", "flac"),
        (b"ID3\x04\x00\x00\x00\x00\x00\x05hellofLaC\x00", "flac"),
        (b"OggS\x00\x02", "ogg"),
        (b"\x00\x00\x00\x20ftypM4A ", "mov"),
        (b"\x1a\x45\xdf\xa3\x01", "matroska"),
        (MP3_FRAME * 4, "mp3"),
        (bytes(100) + MP3_FRAME * 4, "mp3"),
        (b"ID3\x03\x00\x00\x00\x00\x00\x02xx" + MP3_FRAME * 5, "mp3"),
        (MP3_FRAME + b"TAG" + bytes(125), "mp3"),
        (ADTS_FRAME * 4, "aac"),
    ],
)
def test_a_container_is_known_by_its_magic(head: bytes, demuxer: str) -> None:
    assert sniff(io.BytesIO(head)) == demuxer


@pytest.mark.parametrize(
    ("content", "kind", "code"),
    [
        (b"", Malformed, "empty"),
        (b"I", Malformed, "not_audio"),
        (b"ID3", Malformed, "not_audio"),
        (b"just some text, not music\n" * 50, Malformed, "not_audio"),
        (bytes(1 << 20), Malformed, "not_audio"),
        (b"\xff" * (1 << 20), Malformed, "not_audio"),
        (b"\x7fELF" + bytes(5000), Malformed, "not_audio"),
        (b"%PDF-1.7\n", Malformed, "not_audio"),
        (b"<!DOCTYPE html><title>502</title>", Malformed, "not_audio"),
        (b"PK\x03\x04" + bytes(100), Malformed, "not_audio"),
        (b"ID3\x03\x00\x00\x00\x00\x00\x02xx", Malformed, "no_audio_data"),
        (b"ID3\x03\x00\x00\x7f\x7f\x7f\x7f" + MP3_FRAME * 4, Malformed, "corrupt"),
        (b"\x89PNG\r\n\x1a\n", Unsupported, "format_not_allowed"),
        (b"\xff\xd8\xff\xe0JFIF", Unsupported, "format_not_allowed"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1/x.ts\n", Unsupported, "format_not_allowed"),
        (b"\xef\xbb\xbf#EXTM3U\n", Unsupported, "format_not_allowed"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", Unsupported, "format_not_allowed"),
        (b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n", Unsupported, "format_not_allowed"),
        (b"[playlist]\nFile1=/etc/passwd\n", Unsupported, "format_not_allowed"),
        (b";FFMETADATA1\n", Unsupported, "format_not_allowed"),
        (b"<?xml version='1.0'?><MPD/>", Unsupported, "format_not_allowed"),
        (
            b"<!doctype SVG [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><svg/>",
            Unsupported,
            "format_not_allowed",
        ),
        (b"<ASX version='3'/>", Unsupported, "format_not_allowed"),
        (b"[Playlist]\nFile1=x", Unsupported, "format_not_allowed"),
        (b"HTTP://127.0.0.1/x.mp3\n", Unsupported, "format_not_allowed"),
        (b"PERFORMER x\nFILE x.wav WAVE\n", Unsupported, "format_not_allowed"),
        (b"sine=frequency=1000", Unsupported, "format_not_allowed"),
        (b"v=0 is where it begins\n", Malformed, "not_audio"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Unsupported, "format_not_allowed"),
    ],
)
def test_what_is_no_audio_has_a_stable_code(content: bytes, kind: type[MediaError], code: str) -> None:
    """reliability.md, bad inputs 1 to 12, 29 and 36."""
    with pytest.raises(kind) as caught:
        sniff(io.BytesIO(content))
    assert caught.value.code == code


def test_noise_is_not_taken_for_mpeg_audio() -> None:
    """Bad input 4: a megabyte of random bytes opens in FFmpeg as mp3; a chain of frames is asked for here."""
    for seed in range(20):
        noise = random.Random(seed).randbytes(1 << 18)
        with pytest.raises(Malformed):
            sniff(io.BytesIO(noise))


@given(st.binary(max_size=600))
def test_any_bytes_get_an_answer_or_a_media_error(content: bytes) -> None:
    try:
        assert sniff(io.BytesIO(content)) in {"wav", "aiff", "flac", "ogg", "mov", "matroska", "mp3", "aac"}
    except MediaError as error:
        assert error.code
