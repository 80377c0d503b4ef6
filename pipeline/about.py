"""What a file says of itself beside its sound, and how each format spells it.

Only the tags that are kept of a source (`pipeline.tags`) are written, and the picture that was encoded anew.
Sources: ID3v2.3; the Vorbis comment field names; RFC 9639 8.6 and 8.8 (comment, picture).
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass

import av

from pipeline.media import Cover
from pipeline.outputs import Format
from pipeline.replaygain import FileLoudness, r128_tags, replaygain_tags
from pipeline.tags import KEPT

FRONT_COVER = 3
"""ID3v2's picture type, which FLAC and Vorbis share."""

COMMENT_NAMES = {
    "album_artist": "ALBUMARTIST",
    "track": "TRACKNUMBER",
    "disc": "DISCNUMBER",
    "comment": "DESCRIPTION",
}
"""Where Vorbis comments have another word than FFmpeg."""

ID3_NAMES = {"isrc": "TSRC"}

WITH_LANGUAGE = {"comment": b"COMM", "lyrics": b"USLT"}
"""Frames of ID3v2 that say in which language their text is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Tags by FFmpeg's lower-case names, cleaned; the loudness of the file itself, and that of its album."""

    tags: Mapping[str, str]
    loudness: FileLoudness
    cover: Cover | None = None
    album: FileLoudness | None = None

    def kept(self) -> dict[str, str]:
        """The tags that a file may have, in a fixed order."""
        return {name: self.tags[name] for name in KEPT if self.tags.get(name)}


def spelled(about: About, fmt: Format) -> dict[str, str]:
    """Every tag of a file of this format, as its muxer wants them named.

    M4A has no name of its own for some: see `pipeline.m4a`. Of MP3 the muxer cannot write those of
    `pipeline.id3`.
    """
    kept = about.kept()
    match fmt:
        case Format.MP3:
            named = {
                ID3_NAMES.get(name, name): text for name, text in kept.items() if name not in WITH_LANGUAGE
            }
            return {**named, **_replaygain(about)}
        case Format.M4A:
            return kept
        case Format.OPUS:
            return {**_as_comments(kept), **r128_tags(about.loudness, about.album)}
        case Format.OGG | Format.FLAC:
            return {**_as_comments(kept), **_replaygain(about)}


def edges_of(cover: Cover) -> tuple[int, int]:
    """Width and height in pixels of a picture that we encoded."""
    decoder = av.CodecContext.create("mjpeg", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    frame = decoder.decode(av.Packet(cover.data))[0]
    return frame.width, frame.height


def picture_comment(about: About) -> dict[str, str]:
    """The cover as a Vorbis comment has it: a FLAC picture block in base 64 (RFC 9639 8.8)."""
    if about.cover is None:
        return {}
    media_type, (width, height) = about.cover.media_type.encode(), edges_of(about.cover)
    block = b"".join(
        (
            struct.pack(">II", FRONT_COVER, len(media_type)),
            media_type,
            struct.pack(">IIIIII", 0, width, height, 24, 0, len(about.cover.data)),
            about.cover.data,
        )
    )
    return {"METADATA_BLOCK_PICTURE": base64.b64encode(block).decode()}


def _replaygain(about: About) -> dict[str, str]:
    return {name.upper(): text for name, text in replaygain_tags(about.loudness, about.album).items()}


def _as_comments(tags: Mapping[str, str]) -> dict[str, str]:
    return {COMMENT_NAMES.get(name, name.upper()): text for name, text in tags.items()}
