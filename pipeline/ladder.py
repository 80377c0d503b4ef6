"""Renditions and the ladder they form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from pipeline.errors import Unsupported
from pipeline.grid import AAC_FRAME_SAMPLES, OPUS_FRAME_SAMPLES, RATE_HZ


class Codec(StrEnum):
    """A coder; the value is FFmpeg's name of it."""

    AAC = "aac"
    OPUS = "libopus"

    @classmethod
    def of_rfc6381(cls, name: str) -> Codec:
        """The coder that players know by `name`.

        Raises:
            ValueError: none of ours.
        """
        for codec in cls:
            if codec.rfc6381 == name:
                return codec
        raise ValueError(f"codec is {name!r}, known are {', '.join(codec.rfc6381 for codec in cls)}")

    @property
    def frame_samples(self) -> int:
        """Samples of one coded frame."""
        return {Codec.AAC: AAC_FRAME_SAMPLES, Codec.OPUS: OPUS_FRAME_SAMPLES}[self]

    @property
    def rfc6381(self) -> str:
        """The string playlists know the codec by (RFC 6381); of Opus it is the sample entry's code."""
        return {Codec.AAC: "mp4a.40.2", Codec.OPUS: "Opus"}[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """One rung: `bitrate_bps` is what its encoder is asked for, all channels together."""

    name: str
    codec: Codec
    bitrate_bps: int
    channels: int = 2
    rate_hz: int = RATE_HZ


Ladder = tuple[Rendition, ...]

RUNGS: Mapping[str, Rendition] = {
    rung.name: rung
    for rung in (
        Rendition(name="128k", codec=Codec.AAC, bitrate_bps=128_000),
        Rendition(name="192k", codec=Codec.AAC, bitrate_bps=192_000),
        Rendition(name="320k", codec=Codec.AAC, bitrate_bps=320_000),
        Rendition(name="opus-128", codec=Codec.OPUS, bitrate_bps=128_000),
    )
}
"""Every rung there is, as stereo gets it: a codec after the other, the lowest of each first."""

DEFAULT_LADDER = tuple(RUNGS)


def ladder_for(channels: int, names: tuple[str, ...] = DEFAULT_LADDER) -> Ladder:
    """The renditions of a track in the order of `RUNGS`.

    Mono stays mono: one channel at half the bit rate, under the same name.

    Args:
        channels: of what is encoded, 1 or 2.
    Raises:
        Unsupported: `unknown_rendition`, a name outside the product's list.
    """
    unknown = [name for name in names if name not in RUNGS]
    if unknown or not names:
        allowed = ", ".join(RUNGS)
        raise Unsupported("unknown_rendition", f"ladder names {unknown or 'nothing'}, known are {allowed}")
    return tuple(
        replace(rung, bitrate_bps=rung.bitrate_bps * channels // 2, channels=channels)
        for rung in RUNGS.values()
        if rung.name in names
    )
