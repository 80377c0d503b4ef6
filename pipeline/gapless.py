"""How much of a file is sound, where FFmpeg does not go by what it states.

FFmpeg trims what edit lists, LAME tags and Opus headers state. Of `iTunSMPB`, which AAC without an edit list
carries, it knows the start alone, and nothing of it in an MP3, whose LAME tag goes before it; of a Vorbis
stream that ends on its first page of sound it forgets the end, or trims more of it than is stated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.extent import OGG_MAX_PAGE_BYTES
from pipeline.probe import audio_stream, open_source

if TYPE_CHECKING:
    from av.audio.stream import AudioStream

SMPB = "iTunSMPB"
MAX_TRIM_SAMPLES = 16_384
"""FFmpeg's own bound for the priming; more is no encoder's delay."""

VORBIS_MAX_BLOCK_SAMPLES = 8192
"""Vorbis I 4.2.2: the last block may reach over the end by nearly as much."""

_SMPB_FIELDS = re.compile(r"\s*[0-9A-Fa-f]{8} ([0-9A-Fa-f]{8}) ([0-9A-Fa-f]{8}) ([0-9A-Fa-f]{16})(\s|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gapless:
    """Samples of each channel: those of sound, and at most how many of padding come after them.

    `priming` is how many of the encoder's and the decoder's delay come before them and are FFmpeg's to leave.
    `is_all`: FFmpeg must not trim by itself, not even what the first packet gives (Vorbis I 4.3.9).
    """

    samples: int
    padding: int
    priming: int = 0
    is_all: bool = False

    def excess(self, decoded_samples: int) -> int:
        """How many samples at the end of so many are padding; the delay must have been taken off before.

        What does not fit to what was decoded was copied from another file: then there are none.
        """
        over = decoded_samples - self.samples
        return over if 0 < over <= self.padding else 0


def stated_length(stream: AudioStream, path: Path) -> Gapless | None:
    """What the file says of its length, where it must be asked; None elsewhere."""
    container, codec = stream.container.format.name, stream.codec_context.name
    if container.startswith("mov"):
        return parse_smpb(stream.container.metadata.get(SMPB, ""))
    if container == "mp3" and not stream.start_time:  # else a LAME tag has said it
        return mp3_length(stream.container.metadata.get(SMPB, ""), path)
    return vorbis_length(path) if (container, codec) == ("ogg", "vorbis") else None


def parse_smpb(text: str) -> Gapless | None:
    """The value of an `iTunSMPB` tag in MP4; None where it is none or states what cannot be."""
    noted = _noted(text)
    return None if noted is None else Gapless(samples=noted[2], padding=noted[1])


def mp3_length(text: str, path: Path) -> Gapless | None:
    """By the value of an `iTunSMPB` comment, if its delay, sound and padding are all the frames there are.

    As in AAC, the delay is that of the encoder and the decoder together: iTunes states 528 samples.
    """
    noted = _noted(text)
    if noted is None:
        return None
    priming, padding, samples = noted
    if priming + samples + padding != _samples_in_packets(path):
        return None
    return Gapless(samples=samples, padding=padding, priming=priming)


def _samples_in_packets(path: Path) -> int:
    """Of all frames of the file, none of which is decoded."""
    with open_source(path) as container:
        stream = audio_stream(container)
        ticks = sum(packet.duration or 0 for packet in container.demux(stream) if packet.size)
        return round(ticks * stream.time_base * stream.codec_context.sample_rate) if stream.time_base else 0


def _noted(text: str) -> tuple[int, int, int] | None:
    """Priming, padding and samples of sound, if they can be."""
    found = _SMPB_FIELDS.match(text)
    if found is None:
        return None
    priming, padding, samples = (int(field, 16) for field in found.groups()[:3])
    if not samples or max(priming, padding) > MAX_TRIM_SAMPLES:
        return None
    return priming, padding, samples


def vorbis_length(path: Path) -> Gapless | None:
    """By the granule of the last page (Vorbis I A.2), if that is of the stream the file begins with."""
    with path.open("rb") as file:
        first = file.read(27)
        file.seek(max(0, path.stat().st_size - OGG_MAX_PAGE_BYTES))
        tail = file.read(OGG_MAX_PAGE_BYTES)
    at = max(tail.rfind(b"OggS"), 0)
    last, before = tail[at:], tail[max(tail.rfind(b"OggS", 0, at), 0) : at]
    granule = int.from_bytes(last[6:14], "little", signed=True)
    if len(last) < 27 or last[14:18] != first[14:18] or granule <= 0:
        return None
    is_first_of_sound = before[6:14] == bytes(8)  # behind headers: FFmpeg gives them a block too much of time
    return Gapless(samples=granule, padding=VORBIS_MAX_BLOCK_SAMPLES, is_all=is_first_of_sound)
