"""Tags are foreign text and covers foreign pictures: both come out harmless."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
import signals

from pipeline.errors import Malformed
from pipeline.probe import open_source, probe
from pipeline.tags import clean, clean_tags, read_cover


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Title", "Title"),
        ("a\r\nX-Evil: 1", "a  X-Evil: 1"),
        ("\x1b[31mred\x07", "[31mred"),
        ("nul\x00byte", "nulbyte"),
        ("e\u0301", "\u00e9"),
        ("\u202egnp.exe", "gnp.exe"),
        ("\ud800lone", "lone"),
        ("x" * 5000, "x" * 1024),
        ("  padded  ", "padded"),
    ],
)
def test_a_value_loses_what_could_do_harm(text: str, cleaned: str) -> None:
    """Bad input 45: CRLF, escapes, NUL, directions, surrogates, length; normal form C."""
    assert clean(text) == cleaned


def test_only_what_a_player_shows_is_kept() -> None:
    """reliability.md: outputs leak no comments, software or places of the input."""
    container = {"TITLE": "T", "comment": "secret", "location": "+52+13/"}
    tags = clean_tags(container, {"title": "other", "artist": "A"})
    assert tags == {"title": "T", "artist": "A"}


def test_an_embedded_picture_becomes_a_small_jpeg(tmp_path: Path) -> None:
    path = tmp_path / "x.mp3"
    cover, pcm = signals.picture(2000, 1000), signals.music(0.5, 44_100, 2)
    signals.write(path, pcm, 44_100, "mp3", tags={"title": "T"}, cover=cover)
    info = probe(path)
    assert info.has_cover
    assert info.tags["title"] == "T"
    with open_source(path) as container:
        cover = read_cover(container)
    assert cover is not None
    assert (cover.media_type, cover.data[:3]) == ("image/jpeg", b"\xff\xd8\xff")
    decoder = av.CodecContext.create("mjpeg", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    frames = decoder.decode(av.Packet(cover.data))
    assert (frames[0].width, frames[0].height) == (1200, 600)


def test_a_file_without_a_picture_has_no_cover(tmp_path: Path) -> None:
    path = tmp_path / "x.flac"
    signals.write(path, signals.music(0.2, 44_100, 1), 44_100, "flac")
    with open_source(path) as container:
        assert read_cover(container) is None


def test_a_picture_of_too_many_pixels_is_never_decoded(tmp_path: Path) -> None:
    """Bad input 30: a 110 KB PNG can be 30,000 x 30,000."""
    path = tmp_path / "x.mp3"
    huge = signals.picture_header(30_000, 30_000)
    signals.write(path, signals.music(0.5, 44_100, 2), 44_100, "mp3", cover=huge)
    with open_source(path) as container, pytest.raises(Malformed) as caught:
        read_cover(container)
    assert caught.value.code == "bad_cover"
