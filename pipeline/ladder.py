"""Renditions and the ladder they form.

Owns: every rung that can be asked for by name, and what each codec is called. What of a ladder a source can
fill is `pipeline.carried`'s to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from pipeline.errors import Unsupported
from pipeline.grid import AAC_FRAME_SAMPLES, FLAC_FRAME_SAMPLES, OPUS_FRAME_SAMPLES, RATE_HZ


class Codec(StrEnum):
    """A coder; the value is FFmpeg's name of it."""

    AAC = "aac"
    OPUS = "libopus"
    FLAC = "flac"

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
        """Samples of one coded frame at 48 kHz."""
        frames = {
            Codec.AAC: AAC_FRAME_SAMPLES,
            Codec.OPUS: OPUS_FRAME_SAMPLES,
            Codec.FLAC: FLAC_FRAME_SAMPLES,
        }
        return frames[self]

    def frame_samples_at(self, rate_hz: int) -> int:
        """Samples of one coded frame at `rate_hz`: as many at every rate, but for FLAC 80 ms of it.

        Raises:
            ValueError: 80 ms are no whole number of samples at this rate.
        """
        if not self.is_lossless:
            return self.frame_samples
        if not fits_grid(rate_hz):
            raise ValueError(f"rate is {rate_hz} Hz, 80 ms of it are no whole number of samples")
        return self.frame_samples * rate_hz // RATE_HZ

    @property
    def is_lossless(self) -> bool:
        """What comes out of a decoder is what went in, bit by bit."""
        return self is Codec.FLAC

    @property
    def rfc6381(self) -> str:
        """The string playlists know the codec by (RFC 6381); of Opus and FLAC the sample entry's code."""
        return {Codec.AAC: "mp4a.40.2", Codec.OPUS: "Opus", Codec.FLAC: "fLaC"}[self]


def fits_grid(rate_hz: int) -> bool:
    """Whether a FLAC frame of the grid is a whole number of samples at this rate."""
    return FLAC_FRAME_SAMPLES * rate_hz % RATE_HZ == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """One rung: `bitrate_bps` is what its encoder is asked for, all channels together.

    A lossless one is asked for no bit rate (0): it takes what it needs. `bit_depth` is what its samples have,
    16 or 24; None of a lossy one, whose coder takes float. `is_thorough` asks AAC's coder to search, for two
    to six times the time.
    """

    name: str
    codec: Codec
    bitrate_bps: int
    channels: int = 2
    rate_hz: int = RATE_HZ
    bit_depth: int | None = None
    is_thorough: bool = False

    @property
    def frame_samples(self) -> int:
        """Samples of one coded frame; of FLAC the last may be shorter."""
        return self.codec.frame_samples_at(self.rate_hz)


Ladder = tuple[Rendition, ...]

LOSSLESS = "lossless"

_AAC_KBPS = (64, 96, 128, 160, 192, 256, 320)
_OPUS_KBPS = (64, 96, 128, 192)

RUNGS: Mapping[str, Rendition] = {
    rung.name: rung
    for rung in (
        *(Rendition(name=f"{kbps}k", codec=Codec.AAC, bitrate_bps=kbps * 1000) for kbps in _AAC_KBPS),
        *(Rendition(name=f"opus-{kbps}", codec=Codec.OPUS, bitrate_bps=kbps * 1000) for kbps in _OPUS_KBPS),
        # a template: rate, channels and depth are the source's (`pipeline.carried`)
        Rendition(name=LOSSLESS, codec=Codec.FLAC, bitrate_bps=0, bit_depth=16),
    )
}
"""Every rung there is, as stereo gets it: a codec after the other, the lowest of each first.

Of AAC, the rates that listeners know from elsewhere, each a quarter to a half above the one before: closer
ones no player can tell apart on a network, and under 64 kbit/s AAC-LC leaves too little of music. Of Opus,
the rates of the product's list; what is above 192 kbit/s it does not need.
"""

DEFAULT_LADDER = ("128k", "192k", "320k", "opus-128")


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
