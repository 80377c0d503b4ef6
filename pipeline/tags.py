"""Tags and cover art of a source, made harmless.

Tags are foreign text: they are brought to Unicode (`charset`), normalised (NFC), stripped of control and
direction characters and capped. A cover is re-encoded, so that nothing of the original file's bytes
reaches a browser.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av

from pipeline.charset import readable
from pipeline.errors import Malformed
from pipeline.media import Cover

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

MAX_VALUE_CHARACTERS = 1024
MAX_LYRICS_CHARACTERS = 16_384
MAX_COVER_BYTES = 10_000_000
MAX_COVER_PIXELS = 25_000_000
COVER_EDGE_PIXELS = 1200
"""The longer edge of a published cover; larger ones are scaled down."""

KEPT = (
    "title",
    "artist",
    "album",
    "album_artist",
    "composer",
    "genre",
    "date",
    "track",
    "disc",
    "copyright",
    "isrc",
    "lyrics",
    "comment",
)
"""What a player shows. The rest (encoder, GPS, private frames) was not written for every listener."""

_OTHER_NAMES = {
    "album artist": "album_artist",
    "albumartist": "album_artist",
    "tsrc": "isrc",
    "unsyncedlyrics": "lyrics",
    "year": "date",
}
"""What FFmpeg leaves as the format calls it."""

_ISRC = re.compile(r"[A-Z]{2}[A-Z0-9]{3}[0-9]{7}")
"""ISO 3901: country, registrant, year and number. In RIFF the chunk called ISRC is the source of a sound."""

_OF_A_PROGRAM = re.compile(
    r"[0-9A-F]{8}( [0-9A-F]{8}){2,}( [0-9A-F]{1,16})*|[0-9A-F]{8}(\+\d+){2,}|Processed by SoX",
    re.IGNORECASE,
)
"""A comment of no person: iTunes' figures of volume, padding and CDDB (`iTunNORM`, `iTunSMPB`,
`iTunes_CDDB_1`), of which ID3v1 has the first thirty characters, and what SoX writes. In ID3v2 each has a
description, and by that another key than `comment`."""

_NEVER_PRINTED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_PICTURE_CODECS = frozenset({"mjpeg", "png", "webp", "bmp", "gif"})


def clean(text: str) -> str:
    """`text` in NFC as one line without control, format or surrogate characters, at most 1024 characters."""
    return _printable(re.sub(r"[\r\n\t]", " ", text))[:MAX_VALUE_CHARACTERS]


def clean_lines(text: str) -> str:
    """As `clean`, but with the ends of its lines as line feeds, at most 16,384 characters."""
    lines = re.split(r"\r\n|\r|\n", text)
    return "\n".join(_printable(line.replace("\t", " ")) for line in lines).strip()[:MAX_LYRICS_CHARACTERS]


def _printable(text: str) -> str:
    normal = unicodedata.normalize("NFC", text)
    return "".join(c for c in normal if unicodedata.category(c) not in _NEVER_PRINTED).strip()


def clean_tags(*sources: Mapping[str, str]) -> dict[str, str]:
    """The tags that are kept, lower-case keys, the first source that has one wins."""
    tags: dict[str, str] = {}
    for source in sources:
        for key, value in source.items():
            name = _name_of(key)
            if name in KEPT and name not in tags and (text := _value_of(name, value)):
                tags[name] = text
    return tags


def _value_of(name: str, value: str) -> str:
    """What is kept of a value; empty where nothing is."""
    meant = readable(value[: 2 * MAX_LYRICS_CHARACTERS])  # a title may have megabytes
    if name == "lyrics":
        return clean_lines(meant)
    if name == "isrc":
        isrc = clean(meant).replace("-", "").upper()
        return isrc if _ISRC.fullmatch(isrc) else ""
    text = clean(meant)
    return "" if name == "comment" and _OF_A_PROGRAM.fullmatch(text) else text


def _name_of(key: str) -> str:
    """Ours for FFmpeg's; ID3v2 has lyrics by their language, such as `lyrics-eng`."""
    name = key.lower()
    return "lyrics" if name.startswith("lyrics-") else _OTHER_NAMES.get(name, name)


def cover_stream(container: InputContainer) -> VideoStream | None:
    """The stream that is an attached picture, not a video."""
    return next(filter(is_picture, container.streams.video), None)


def is_picture(stream: Stream) -> bool:
    """Whether it is a picture that goes with the audio."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def read_cover(container: InputContainer) -> Cover | None:
    """The embedded picture as a JPEG of at most 1200 pixels an edge, or None if there is none.

    Raises:
        Malformed: `bad_cover`, the picture is too big or cannot be decoded; the audio may still be fine.
    """
    stream = cover_stream(container)
    if stream is None:
        return None
    codec = cast("VideoCodecContext | None", stream.codec_context)  # None where FFmpeg knows no decoder
    if codec is None or codec.name not in _PICTURE_CODECS:
        raise Malformed("bad_cover", "the embedded picture has a format that is not read")
    if codec.width * codec.height > MAX_COVER_PIXELS:
        allowed = f"at most {MAX_COVER_PIXELS} pixels are decoded"
        raise Malformed("bad_cover", f"the embedded picture is {codec.width}x{codec.height}, {allowed}")
    try:
        for packet in container.demux(stream):
            if packet.size > MAX_COVER_BYTES:
                allowed = f"at most {MAX_COVER_BYTES} are read"
                raise Malformed("bad_cover", f"the embedded picture has {packet.size} bytes, {allowed}")
            for frame in packet.decode():
                return Cover(data=_as_jpeg(frame), media_type="image/jpeg")
    except (av.error.FFmpegError, ValueError) as error:
        raise Malformed("bad_cover", "the embedded picture cannot be decoded") from error
    raise Malformed("bad_cover", "the embedded picture is empty")


def _as_jpeg(frame: av.VideoFrame) -> bytes:
    scale = min(1.0, COVER_EDGE_PIXELS / max(frame.width, frame.height))
    width, height = max(2, round(frame.width * scale)), max(2, round(frame.height * scale))
    small = frame.reformat(width=width, height=height, format="yuvj420p")
    encoder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.time_base = Fraction(1, 1)
    return b"".join(bytes(p) for p in [*encoder.encode(small), *encoder.encode(None)])
