"""What a file is, by its first bytes.

Owns: the one list of containers that are read, and the magic of each. FFmpeg's own probing is never used:
it follows playlists, and finds samples in executables. A name or a media type that came along is ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from pipeline.errors import Malformed, Unsupported
from pipeline.tag_bounds import synchsafe

HEAD_BYTES = 65_536
MPEG_CHAIN = 4
"""Frame headers in a row that must follow one another before bytes count as MPEG audio."""

_NOT_MEDIA = (
    b"\x7fELF",
    b"MZ",
    b"%PDF",
    b"PK\x03\x04",
    b"\xca\xfe\xba\xbe",
    b"<!DOCTYPE",
    b"<html",
    b"<HTML",
)
_REFUSED = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8")
_REFUSED_TEXT = (b"<svg", b"<!doctype svg", b"<?xml", b"<?wpl", b"<smil", b"<mpd", b"<asx", b"[playlist]",
                 b"#extm3u", b"http:", b"https:", b"file:", b"data:", b"concat:", b"ffconcat", b";ffmetadata",
                 b"v=0\r", b"v=0\n", b"rem ", b"file ", b"catalog ", b"performer ", b"title ",
                 b"movie=", b"amovie=", b"sine=", b"aevalsrc=", b"anoisesrc", b"anullsrc")  # fmt: skip
"""Pictures that are scripts, playlists, lists of other files, cue sheets, graphs of filters; in any case."""

_OTHER_AUDIO = (b"\x30\x26\xb2\x75", b"wvpk", b"MAC ", b"DSD ", b"FRM8", b"#!AMR", b"MThd", b"caff", b".snd",
                b"TTA1", b"MPCK", b"MP+", b"\x0b\x77", b"IMPM")  # fmt: skip
"""Windows Media, WavPack, Monkey's Audio, DSD, AMR, MIDI, CAF, AU, True Audio, Musepack, AC-3, modules."""

_FrameBytes = Callable[[bytes], tuple[int, int] | None]

_V1_L3_KBPS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_V1_L2_KBPS = (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)
_V1_L1_KBPS = (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448)
_V2_L1_KBPS = (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256)
_V2_L23_KBPS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_V1_RATES_HZ = (44_100, 48_000, 32_000)


def sniff(file: BinaryIO) -> str:
    """FFmpeg's name of the demuxer that reads this file.

    Args:
        file: positioned at its start; a few reads and seeks, never the whole file.
    Raises:
        Malformed: `empty`, `not_audio`, `no_audio_data` (a tag and nothing after it), `corrupt` (a tag longer
            than the file).
        Unsupported: `format_not_allowed`, something known that is not read here.
    """
    head = file.read(HEAD_BYTES)
    if not head:
        raise Malformed("empty", "the file is empty (0 bytes)")
    tagged = 0
    while head[:3] == b"ID3" and len(head) >= 10:
        tagged += 10 + synchsafe(head[6:10]) + (10 if head[5] & 0x10 else 0)
        file.seek(tagged)
        head = file.read(HEAD_BYTES)
        if not head and file.seek(0, 2) < tagged:
            raise Malformed("corrupt", "the tag is longer than the file")
        if not head:
            raise Malformed("no_audio_data", "the file is a tag without audio after it")
    container = _container(head)
    if container:
        return container
    if head.startswith(_OTHER_AUDIO):
        raise Unsupported("format_not_allowed", "the file is of an audio format that is not read here")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(_REFUSED) or text[:16].lower().startswith(_REFUSED_TEXT):
        raise Unsupported("format_not_allowed", "the file is a picture, a playlist or a script, not audio")
    if text.startswith(_NOT_MEDIA):
        raise Malformed("not_audio", "the file is a document or a program, not audio")
    found = _mpeg_audio(head)
    if found is None:
        raise Malformed("not_audio", "the file has no audio format that is known here")
    return found


def _container(head: bytes) -> str | None:
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if head[:4] == b"fLaC":
        return "flac"
    if head[:4] == b"OggS":
        return "ogg"
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mov"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    return None


def _mpeg_audio(head: bytes) -> str | None:
    """`mp3` or `aac` (ADTS) where a chain of frames starts within the head, else None."""
    at = head.find(b"\xff")
    while 0 <= at < len(head) - 6:
        for name, frame_bytes in (("aac", _adts_frame_bytes), ("mp3", _mpeg_frame_bytes)):
            if _is_chain(head, at, frame_bytes):
                return name
        at = head.find(b"\xff", at + 1)
    return None


def _is_chain(head: bytes, at: int, frame_bytes: _FrameBytes) -> bool:
    """MPEG_CHAIN frames of one kind follow one another from `at`, or fewer up to the very end."""
    start, kind = at, None
    for count in range(MPEG_CHAIN):
        at_the_end = start == len(head) or (start > len(head) and len(head) < HEAD_BYTES and count > 1)
        if count and (at_the_end or head[start : start + 3] == b"TAG"):
            return True
        found = frame_bytes(head[start : start + 7])
        if found is None or kind not in (None, found[1]):
            return False
        start, kind = start + found[0], found[1]
    return True


def _adts_frame_bytes(h: bytes) -> tuple[int, int] | None:
    """Length and kind of an ADTS frame (ISO 14496-3 1.A.2)."""
    if len(h) < 7 or h[0] != 0xFF or h[1] & 0xF6 != 0xF0 or (h[2] >> 2) & 15 > 12:
        return None
    length = (h[3] & 3) << 11 | h[4] << 3 | h[5] >> 5
    return (length, h[2] >> 2 & 15) if length > 7 else None


def _mpeg_frame_bytes(h: bytes) -> tuple[int, int] | None:
    """Length and kind of an MPEG-1/2/2.5 audio frame (ISO 11172-3 2.4.1.3); free format is not read."""
    if len(h) < 4 or h[0] != 0xFF or h[1] & 0xE0 != 0xE0:
        return None
    version, layer = h[1] >> 3 & 3, 4 - (h[1] >> 1 & 3)
    kbps_index, rate_index, padding = h[2] >> 4, h[2] >> 2 & 3, h[2] >> 1 & 1
    if version == 1 or layer == 4 or kbps_index in (0, 15) or rate_index == 3:
        return None
    first = version == 3
    rate_hz = _V1_RATES_HZ[rate_index] >> (0 if first else 1 if version == 2 else 2)
    tables = (_V1_L1_KBPS, _V1_L2_KBPS, _V1_L3_KBPS) if first else (_V2_L1_KBPS, _V2_L23_KBPS, _V2_L23_KBPS)
    bps = tables[layer - 1][kbps_index] * 1000
    if layer == 1:
        length = (12 * bps // rate_hz + padding) * 4
    else:
        length = (144 if first or layer == 2 else 72) * bps // rate_hz + padding
    return length, version << 4 | layer << 2 | rate_index
