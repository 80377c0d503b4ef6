"""Tags and cover art of a source, made harmless.

Tags are foreign text: they are normalised (NFC), stripped of control and direction characters and capped.
A cover is re-encoded, so that nothing of the original file's bytes reaches a browser.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av

from pipeline.errors import Malformed
from pipeline.media import Cover

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

MAX_VALUE_CHARACTERS = 1024
MAX_TAGS = 64
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
)
"""What a player shows. The rest (comments, encoder, GPS, software) stays in the source."""

_PICTURE_CODECS = frozenset({"mjpeg", "png", "webp", "bmp", "gif"})


def clean(text: str) -> str:
    """`text` in NFC without control, format or surrogate characters, at most 1024 characters."""
    kept = (
        " " if c in "\r\n\t" else c
        for c in unicodedata.normalize("NFC", text)
        if c in "\r\n\t" or unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Co", "Cn"}
    )
    return "".join(kept).strip()[:MAX_VALUE_CHARACTERS]


def clean_tags(*sources: Mapping[str, str]) -> dict[str, str]:
    """The tags that are kept, lower-case keys, the first source that has one wins."""
    tags: dict[str, str] = {}
    for source in sources:
        for key, value in list(source.items())[: MAX_TAGS * 4]:
            name = key.lower()
            text = clean(value)
            if name in KEPT and text:
                tags.setdefault(name, text)
    return tags


def cover_stream(container: InputContainer) -> VideoStream | None:
    """The stream that is an attached picture, not a video."""
    attached = av.stream.Disposition.attached_pic
    return next((s for s in container.streams.video if s.disposition & attached), None)


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
