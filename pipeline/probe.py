"""What a source file is, before a sample of it is decoded.

The demuxer is chosen by `sniff`, and FFmpeg is told to read this one file with this one demuxer only:
it can follow no playlist, no reference and no address (CVE-2016-1897 and its kin).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av
import av.subtitles.stream  # PyAV loads it late, where a lack of memory looks like a broken file

from pipeline.aiff import comments
from pipeline.checksum import STREAMINFO_BYTES, streaminfo_bits
from pipeline.errors import LimitExceeded, Malformed, Unsupported
from pipeline.media import MediaInfo
from pipeline.sniff import sniff
from pipeline.tag_bounds import check_tags
from pipeline.tags import clean_tags, cover_stream, is_picture

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext
    from av.audio.stream import AudioStream
    from av.container import InputContainer

MIN_RATE_HZ, MAX_RATE_HZ = 8_000, 384_000
MAX_CHANNELS = 8
MAX_STREAMS = 16
CODECS = frozenset(
    {"flac", "mp3", "mp3float", "mp2", "mp2float", "aac", "alac", "vorbis", "opus", "libopus", "libvorbis"}
)
"""Decoders that are trusted with foreign bytes; PCM in all its forms beside them."""

ENCRYPTED = frozenset({"drms", "enca"})
"""Sample entries of FairPlay and of ISO 14496-12 8.12; FFmpeg decodes the noise they are without a key."""

ALAC_COOKIE_BYTES = 36
"""An atom's header of 12 bytes, then ALACSpecificConfig: frame length in 4, version in 1, bits in 1."""


@contextmanager
def open_source(path: Path) -> Iterator[InputContainer]:
    """The file, opened by the demuxer that its content asks for.

    Raises:
        Malformed, Unsupported: as `sniff`, and `corrupt` where the demuxer refuses the file.
        LimitExceeded: `metadata_limit`, `limit_memory`; where FFmpeg refuses the file for it, `bad_rate` and
            `too_many_streams`.
    """
    with path.open("rb") as file:
        demuxer = sniff(file)
        check_tags(file, demuxer)
    options = {"protocol_whitelist": "file", "format_whitelist": _whitelist(demuxer)}
    try:
        container = av.open(str(path), format=demuxer, options=options, metadata_errors="surrogateescape")
    except MemoryError:
        tracks = _edges(path).count(b"trak") if demuxer == "mov" else 0
        if tracks > MAX_STREAMS:  # FFmpeg calls it a lack of memory if there are more than a thousand
            allowed = f"at most {MAX_STREAMS} are read"
            raise LimitExceeded(
                "too_many_streams", f"the file has {tracks} streams or more, {allowed}"
            ) from None
        raise LimitExceeded("limit_memory", "the file asks for more memory than a job may use") from None
    except Exception as error:  # PyAV maps FFmpeg's codes to many builtin classes; here all mean the input
        if demuxer == "wav" and (rate_hz := wave_rate_hz(path)) is not None:
            _check_rate(rate_hz)
        raise Malformed("corrupt", _why_unreadable(path, demuxer, error)) from error
    with container:
        yield container


def probe(path: Path) -> MediaInfo:
    """Format, codec, rate, channels, tags of a file; nothing is decoded.

    Raises:
        MediaError: the file cannot become a track; see `describe` and `open_source`.
    """
    with open_source(path) as container:
        return describe(container)


def describe(container: InputContainer) -> MediaInfo:
    """What an open source is.

    Raises:
        LimitExceeded: `too_many_streams`, `bad_rate`, `bad_channels`.
        Malformed: `no_audio_stream`.
        Unsupported: `codec_not_allowed`, `encrypted`.
    """
    stream = audio_stream(container)
    codec = stream.codec_context
    warnings = ["multiple_audio_streams"] if len(container.streams.audio) > 1 else []
    duration_s = container.duration / av.time_base if container.duration else None
    return MediaInfo(
        container=container.format.name,
        codec=codec.name,
        rate_hz=codec.sample_rate,
        channels=codec.channels,
        duration_s=duration_s if duration_s and duration_s > 0 else None,
        bit_rate_bps=codec.bit_rate or container.bit_rate or None,
        bit_depth=_bit_depth(stream),
        tags=clean_tags(container.metadata, stream.metadata, _left_by_ffmpeg(container)),
        has_cover=cover_stream(container) is not None,
        warnings=tuple(warnings),
    )


def audio_stream(container: InputContainer) -> AudioStream:
    """The stream to play: the first of audio, checked against the limits.

    Raises:
        MediaError: as `describe`.
    """
    count = sum(not is_picture(stream) for stream in container.streams)
    if count > MAX_STREAMS:
        raise LimitExceeded(
            "too_many_streams", f"the file has {count} streams, at most {MAX_STREAMS} are read"
        )
    if not container.streams.audio:
        raise Malformed("no_audio_stream", "the file has no audio in it")
    stream = container.streams.audio[0]
    codec = cast("AudioCodecContext | None", stream.codec_context)  # None where FFmpeg knows no decoder
    name = codec.name if codec else "unknown"
    if codec is not None and codec.codec_tag in ENCRYPTED:
        raise Unsupported("encrypted", "the audio is encrypted")
    if codec is None or not (name in CODECS or name.startswith("pcm_")):
        name = name if codec else sample_entry(Path(container.name)) or name
        raise Unsupported("codec_not_allowed", f"the audio is coded as {name}, which is not read here")
    if not name.startswith("pcm_") and not (codec.sample_rate and codec.channels):
        raise Malformed("corrupt", "the header of the audio cannot be read")
    _check_rate(codec.sample_rate)
    if not 1 <= codec.channels <= MAX_CHANNELS:
        allowed = f"allowed are 1 to {MAX_CHANNELS}"
        raise LimitExceeded("bad_channels", f"the file has {codec.channels} channels, {allowed}")
    return stream


def _check_rate(rate_hz: int) -> None:
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        allowed = f"allowed are {MIN_RATE_HZ} to {MAX_RATE_HZ}"
        raise LimitExceeded("bad_rate", f"the sample rate is {rate_hz} Hz, {allowed}")


def _left_by_ffmpeg(container: InputContainer) -> dict[str, str]:
    """Tags that FFmpeg does not read."""
    return {"comment": comments(Path(container.name))} if container.format.name == "aiff" else {}


def _bit_depth(stream: AudioStream) -> int | None:
    """Bits of a lossless source's sample; a lossy one has none. FFmpeg's own format has room for more."""
    codec = stream.codec_context
    stated = codec.extradata or b""
    if codec.name == "flac" and len(stated) == STREAMINFO_BYTES:
        return streaminfo_bits(stated)
    if codec.name == "alac" and len(stated) >= ALAC_COOKIE_BYTES:
        return stated[17]
    named = re.fullmatch(r"pcm_[sfu](8|16|24|32|64)(le|be)?", codec.name)
    return int(named[1]) if named else None


def _whitelist(demuxer: str) -> str:
    return (
        "mov,mp4,m4a,3gp,3g2,mj2"
        if demuxer == "mov"
        else "matroska,webm"
        if demuxer == "matroska"
        else demuxer
    )


def _why_unreadable(path: Path, demuxer: str, error: Exception) -> str:
    if demuxer == "mov" and b"moov" not in _edges(path):
        return "the index (moov) is missing: the upload was cut off"
    return f"the file cannot be read as {demuxer}: {type(error).__name__}"


def wave_rate_hz(path: Path) -> int | None:
    """What the format chunk of a WAVE file states, if it comes first, as it does (RIFF MCI 3-6)."""
    with path.open("rb") as file:
        head = file.read(28)
    return int.from_bytes(head[24:28], "little") if head[12:16] == b"fmt " and len(head) == 28 else None


def sample_entry(path: Path) -> str | None:
    """The first sample entry of an MP4 (ISO 14496-12 8.5.2), where FFmpeg has no name of its codec."""
    _, found, box = _edges(path).partition(b"stsd")
    name = box[12:16]
    return name.decode("ascii") if found and name.isascii() and name.decode().isprintable() else None


def _edges(path: Path, window_bytes: int = 1 << 20) -> bytes:
    """The first and the last MiB: an index stands at one of the ends."""
    with path.open("rb") as file:
        first = file.read(window_bytes)
        file.seek(max(0, path.stat().st_size - window_bytes))
        return first + file.read(window_bytes)
