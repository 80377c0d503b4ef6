"""A name that every system takes, whatever an artist calls a song."""

from __future__ import annotations

import pytest

from media_server.endpoints.attachment import attachment, harmless

TRACK = "0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11"


def test_a_file_is_called_by_artist_and_title_in_both_forms() -> None:
    """RFC 6266 4.3: the plain form for who does not know the other."""
    assert attachment("Überfahrt", "Ann", TRACK, "mp3") == (
        "attachment; filename=\"Ann - Uberfahrt.mp3\"; filename*=UTF-8''Ann%20-%20%C3%9Cberfahrt.mp3"
    )


@pytest.mark.parametrize(("title", "artist"), [(None, None), ("", ""), ("../..", "\r\n\x00"), ("???", None)])
def test_where_nothing_can_stand_the_track_s_id_does(title: str | None, artist: str | None) -> None:
    assert attachment(title, artist, TRACK, "flac") == (
        f"attachment; filename=\"{TRACK}.flac\"; filename*=UTF-8''{TRACK}.flac"
    )


def test_a_title_without_latin_letters_keeps_them_in_the_long_form() -> None:
    value = attachment("夜に駆ける", None, TRACK, "ogg")
    assert f'filename="{TRACK}.ogg"' in value
    assert "filename*=UTF-8''%E5%A4%9C" in value


@pytest.mark.parametrize(
    ("title", "artist", "plain"),
    [
        ("Noël / “日本語”: Nº1", "Ann & Co", "Ann & Co - Noel No1"),
        ("Straße \u2013 Don\u2019t", "Bjørk", "Bjork - Strasse - Don't"),
        ("日本語", "東京", TRACK),
        ("日本語", "Ann", TRACK),
        ("Song", "東京", "Song"),
        ("!!!", None, "!!!"),
    ],
)
def test_the_plain_form_is_what_ascii_can_say_of_it(title: str, artist: str | None, plain: str) -> None:
    """`curl -OJ` knows no other; a hyphen between nothing is no name."""
    assert f'filename="{plain}.mp3"' in attachment(title, artist, TRACK, "mp3")


@pytest.mark.parametrize(
    "text",
    [
        'a"b',
        "a\uff02b",
        "a\uff0fb",
        "a\r\nX-Evil: 1",
        "../../etc/passwd",
        "a\\b",
        "a;b",
        "a%2fb",
        "a\u202eb",
        "x" * 5000,
        "ä" * 5000,
    ],
)
def test_nothing_ends_the_header_leaves_the_folder_or_is_too_long(text: str) -> None:
    value = attachment(text, None, TRACK, "mp3")
    assert value.isascii()
    assert value.isprintable()
    plain = value.split('"')
    assert len(plain) == 3
    assert not set(plain[1]) & set("/\\:*?<>|%;")
    assert len(plain[1]) <= 124
    assert len(value) < 1000


def test_dots_and_spaces_at_the_ends_go() -> None:
    """Windows drops them, and a leading dot hides."""
    assert harmless(" .. a  .b . ") == "a .b"
