"""Tags are foreign text and covers foreign pictures: both come out harmless."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import av
import pytest
import signals
import sources

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
    """reliability.md: outputs leak no software, serials or places of the input."""
    container = {"TITLE": "T", "encoder": "Lavf", "location": "+52+13/", "id3v2_priv.own": "x",
                 "description": "x", "iTunNORM": "x", "iTunSMPB": "x", "Songs-DB_Custom1": "x",
                 "ID3v1 Comment": "x", "replaygain_track_gain": "-3 dB", "R128_TRACK_GAIN": "0"}  # fmt: skip
    tags = clean_tags(container, {"title": "other", "artist": "A"})
    assert tags == {"title": "T", "artist": "A"}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Recorded\r\nlive\x1b[0m", "Recorded  live[0m"),
        ("x" * 5000, "x" * 1024),
        ("20240506 take 3", "20240506 take 3"),
        ("DEADBEEF 00000001", "DEADBEEF 00000001"),
        (" 000004F6 000003E4 00003A98 00", None),  # iTunNORM, as much as ID3v1 holds
        (" 00000000 00000210 00000A5C 0000000000B6499C 00000000 006327AD", None),
        ("9D09130B+174405+11+150+14097+27391", None),
        ("Processed by SoX", None),
        ("   ", None),
    ],
)
def test_a_comment_is_what_somebody_wrote(text: str, kept: str | None) -> None:
    """Bounded and cleaned as every text; figures that programs leave there are nobody's comment."""
    assert clean_tags({"comment": text}).get("comment") == kept


def test_lyrics_keep_their_lines_and_may_be_long() -> None:
    assert clean_tags({"lyrics-eng": "one\r\ntwo\x1b[0m\rthree\n\n"}) == {"lyrics": "one\ntwo[0m\nthree"}
    assert len(clean_tags({"LYRICS": "x" * 100_000})["lyrics"]) == 16_384


@pytest.mark.parametrize(
    ("value", "kept"),
    [("USRC17607839", "USRC17607839"), ("us-rc1-76-07839", "USRC17607839"), ("Tape 4", None), ("", None)],
)
def test_an_isrc_is_one_or_none(value: str, kept: str | None) -> None:
    """ISO 3901; in RIFF INFO the chunk of that name is where a sound came from."""
    assert clean_tags({"TSRC": value}).get("isrc") == kept


def id3v2(major: int, *more: tuple[str, bytes], **frames: bytes) -> bytes:
    """A tag of version 2.3 or 2.4 with these frames of fewer than 128 bytes."""
    body = b"".join(
        name.encode() + len(data).to_bytes(4, "big") + b"\0\0" + data
        for name, data in (*frames.items(), *more)
    )
    return b"ID3" + bytes([major, 0, 0, 0, 0, len(body) >> 7, len(body) & 127]) + body


def id3v1(title: bytes, artist: bytes, album: bytes) -> bytes:
    texts = b"".join(text.ljust(30, b"\0") for text in (title, artist, album))
    return b"TAG" + texts + b"1987" + b"n\xf6te".ljust(28, b"\0") + b"\0\x05" + bytes([17])


def mp3() -> bytes:
    """Frames without a tag: MPEG-1 layer III, 128 kbit/s, 44.1 kHz, all silence."""
    return (b"\xff\xfb\x90\x64" + bytes(413)) * 20


def riff_info() -> bytes:
    info = {b"INAM": b"Caf\xe9\0", b"IART": b"Art\x92s\0", b"IPRD": b"Album\0", b"ICRD": b"1999\0",
            b"IGNR": b"Jazz\0", b"ITRK": b"7\0", b"ICMT": b"n\xf6te\0", b"ISRC": b"Tape 4\0"}  # fmt: skip
    listed = sources.riff(b"INFO", *info.items())
    header = struct.pack("<HHIIHH", 1, 1, 8000, 16_000, 2, 16)
    return sources.riff(b"WAVE", (b"fmt ", header), (b"LIST", listed[8:]), (b"data", bytes(2000)))


def aiff(kind: bytes, data: bytes) -> bytes:
    """A tenth of a second of silence, a chunk of text in front of it."""
    rate = bytes.fromhex("400eac44") + bytes(6)
    chunks = (
        (b"COMM", struct.pack(">hIh", 1, 4410, 16) + rate),
        (kind, data),
        (b"SSND", bytes(8 + 2 * 4410)),
    )
    body = b"".join(name + struct.pack(">I", len(d)) + d + bytes(len(d) & 1) for name, d in chunks)
    return b"FORM" + struct.pack(">I", 4 + len(body)) + b"AIFF" + body


def vorbis_comments(folder: Path) -> bytes:
    """A FLAC file whose second block is a comment of ours (RFC 9639 8.6)."""
    comments = ["TITLE=T\u00eftel", "ARTIST=A", "ALBUM=B", "ALBUMARTIST=C", "TRACKNUMBER=3",
                "DATE=2020-01-02", "GENRE=Funk", "ISRC=US-RC1-76-07839",
                "LYRICS=one\ntwo", "COMMENT=n\u00f6te", "ENCODER=x", "LOCATION=here"]  # fmt: skip
    block = struct.pack("<I", 0) + struct.pack("<I", len(comments))
    block += b"".join(struct.pack("<I", len(c.encode())) + c.encode() for c in comments)
    signals.write(folder / "plain.flac", signals.silence(0.1), 48_000, "flac")
    plain = (folder / "plain.flac").read_bytes()
    frames = plain[plain.index(b"\xff\xf8", 42) :]
    return b"fLaC\0" + plain[5:42] + b"\x84" + len(block).to_bytes(3, "big") + block + frames


def mp4_atoms(folder: Path) -> bytes:
    def data(kind: bytes, value: bytes, of: int = 1) -> bytes:
        return sources.atom(kind, sources.atom(b"data", struct.pack(">II", of, 0), value))

    path = folder / "x.m4a"
    sources.whole_frames(path, signals.silence(0.1), 48_000)
    texts = {b"\xa9nam": "T\u00eftel", b"\xa9ART": "A", b"\xa9alb": "B", b"aART": "C",
             b"\xa9day": "2020-01-02", b"\xa9gen": "Funk", b"\xa9lyr": "one\ntwo",
             b"\xa9cmt": "n\u00f6te", b"\xa9xyz": "+52+13/", b"\xa9too": "x"}  # fmt: skip
    own = (sources.atom(b"mean", bytes(4), b"com.apple.iTunes"), sources.atom(b"name", bytes(4), b"ISRC"))
    isrc = sources.atom(b"----", *own, sources.atom(b"data", struct.pack(">II", 1, 0), b"USRC17607839"))
    number = data(b"trkn", struct.pack(">4H", 0, 3, 0, 0), of=0)
    sources.add_tags(path, *(data(kind, text.encode()) for kind, text in texts.items()), number, isrc)
    return path.read_bytes()


FULL = {"title": "T\u00eftel", "artist": "A", "album": "B", "album_artist": "C", "track": "3",
        "date": "2020-01-02", "genre": "Funk", "isrc": "USRC17607839", "lyrics": "one\ntwo",
        "comment": "n\u00f6te"}  # fmt: skip

TECHNICAL = [("COMM", b"\0eng" + name + b"\0secret") for name in (
    b"iTunNORM", b"iTunSMPB", b"iTunPGAP", b"iTunes_CDDB_1", b"Songs-DB_Custom1", b"ID3v1 Comment"
)]  # fmt: skip
PRIVATE = [("PRIV", b"comment\0secret"), ("GEOB", b"\0text/plain\0comment\0comment\0secret"),
           ("UFID", b"comment\0secret"), ("WCOM", b"http://secret"), ("TSSE", b"\0secret"),
           ("TXXX", b"\0description\0secret")]  # fmt: skip

CARRIERS: dict[str, tuple[Callable[[Path], bytes], dict[str, str]]] = {
    "id3v1": (
        lambda _: mp3() + id3v1(b"Caf\xe9", b"Art\x92s", "\u30a2\u30eb\u30d0\u30e0".encode("cp932")),
        {"title": "Caf\u00e9", "artist": "Art\u2019s", "album": "\u30a2\u30eb\u30d0\u30e0", "date": "1987",
         "track": "5", "genre": "Rock", "comment": "n\u00f6te"},
    ),
    "id3v2.3": (
        lambda _: id3v2(
            3, *PRIVATE, *TECHNICAL, TIT2=b"\1\xff\xfe" + "T\u00eftel".encode("utf-16-le"),
            TPE1=b"\0A", TALB=b"\0B", TPE2=b"\0C",
            TRCK=b"\x003", TYER=b"\x002020", TDAT=b"\x000201", TCON=b"\0Funk", TSRC=b"\0USRC17607839",
            USLT=b"\0engwords\0one\ntwo", COMM=b"\0eng\0n\xf6te",
        ) + mp3(),
        FULL,
    ),
    "id3v2.4": (
        lambda _: id3v2(
            4, TIT2=b"\3" + "T\u00eftel".encode(), TPE1=b"\3A", TALB=b"\3B", TPE2=b"\3C", TRCK=b"\x033",
            TDRC=b"\x032020-01-02", TCON=b"\3Funk", TSRC=b"\3USRC17607839", USLT=b"\3eng\0one\ntwo",
            COMM=b"\3eng\0" + "n\u00f6te".encode(),
        ) + mp3(),
        FULL,
    ),
    "id3v2, a code page called Latin-1": (
        lambda _: id3v2(3, TIT2=b"\0" + "\u30c6\u30b9\u30c8".encode("cp932"), TPE1=b"\0Don\x92t") + mp3(),
        {"title": "\u30c6\u30b9\u30c8", "artist": "Don\u2019t"},
    ),
    "vorbis comments": (vorbis_comments, FULL),
    "mp4 atoms": (mp4_atoms, FULL),
    "riff info": (
        lambda _: riff_info(),
        {"title": "Caf\u00e9", "artist": "Art\u2019s", "album": "Album", "date": "1999",
         "genre": "Jazz", "track": "7", "comment": "n\u00f6te"},
    ),
    "id3v2.3, technical comments alone": (lambda _: id3v2(3, *PRIVATE, *TECHNICAL) + mp3(), {}),
    "vorbis, a description": (
        lambda folder: vorbis_comments(folder).replace(b"COMMENT=n\xc3\xb6te", b"DESCRIPTION=n"),
        {**FULL, "comment": "n"},
    ),
    "aiff, an annotation": (lambda _: aiff(b"ANNO", b"n\xf6te"), {"comment": "n\u00f6te"}),
    "aiff, comments": (
        lambda _: aiff(b"COMT", struct.pack(">HIHH6sIHH4s", 2, 0, 1, 5, b"cue 1\0", 0, 0, 4, b"n\xf6te")),
        {"comment": "n\u00f6te"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("made", "tags"), CARRIERS.values(), ids=CARRIERS)
def test_tags_are_unicode_wherever_they_lie(
    tmp_path: Path, made: Callable[[Path], bytes], tags: dict[str, str]
) -> None:
    """requirements I9; what programs note for themselves is nobody's business."""
    path = tmp_path / "src.bin"
    path.write_bytes(made(tmp_path))
    assert probe(path).tags == tags


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


def apic(data: bytes, media_type: bytes, number: int = 0) -> bytes:
    """An ID3v2.4 frame with a picture."""
    body = b"\0" + media_type + b"\0\3" + str(number).encode() + b"\0" + data
    size = bytes(len(body) >> shift & 127 for shift in (21, 14, 7, 0))
    return b"APIC" + size + b"\0\0" + body


def pictured(path: Path, *frames: bytes) -> None:
    body = b"".join(frames)
    size = bytes(len(body) >> shift & 127 for shift in (21, 14, 7, 0))
    path.write_bytes(b"ID3\4\0\0" + size + body + mp3())


def test_a_hundred_pictures_are_no_hundred_streams(tmp_path: Path) -> None:
    """Bad input 30: the first is the cover, the audio is fine."""
    path = tmp_path / "x.mp3"
    pictured(path, *(apic(signals.picture(24, 16), b"image/png", number) for number in range(100)))
    assert probe(path).has_cover
    with open_source(path) as container:
        assert read_cover(container) is not None


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'


@pytest.mark.parametrize(
    ("data", "media_type", "is_tried"),
    [
        (SVG, b"image/svg+xml", False),
        (SVG, b"image/png", True),
        (b"no picture at all", b"image/jpeg", True),
        (b"", b"image/png", False),
    ],
)
def test_what_is_no_picture_of_pixels_is_no_cover(
    tmp_path: Path, data: bytes, media_type: bytes, is_tried: bool
) -> None:
    """Bad input 30: SVG is left alone, and refused where it calls itself something else."""
    path = tmp_path / "x.mp3"
    pictured(path, apic(data, media_type))
    assert probe(path).has_cover is is_tried
    with open_source(path) as container:
        if not is_tried:
            assert read_cover(container) is None
            return
        with pytest.raises(Malformed) as caught:
            read_cover(container)
    assert caught.value.code == "bad_cover"


def test_a_picture_of_too_many_pixels_is_never_decoded(tmp_path: Path) -> None:
    """Bad input 30: a 110 KB PNG can be 30,000 x 30,000."""
    path = tmp_path / "x.mp3"
    huge = signals.picture_header(30_000, 30_000)
    signals.write(path, signals.music(0.5, 44_100, 2), 44_100, "mp3", cover=huge)
    with open_source(path) as container, pytest.raises(Malformed) as caught:
        read_cover(container)
    assert caught.value.code == "bad_cover"
