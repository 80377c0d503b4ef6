"""Whole files of a track, for players and people that know no streaming: which there are, and of what.

A lossy file is made of what the ladder is made of, the track at 48 kHz with its gain; FLAC is the source as
it came: its samples, rate, channels and level.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from pipeline.errors import Unsupported
from pipeline.grid import RATE_HZ
from pipeline.media import MediaInfo

CD_RATE_HZ = 44_100
HIGH_RATES_HZ = (88_200, 96_000)
"""Of M4A alone, for players that are set to such a rate, and of sources that have it.

By way of 48 kHz, as every lossy file: FFmpeg's AAC has nothing above 22 kHz at any rate (measured: a sine of
22 kHz comes back at 0 dB at 320 kbit/s, one of 26 kHz at -47 dB), so no sound is lost.
"""

FLAC_MAX_RATE_HZ = 192_000
FLAC_MAX_CHANNELS = 2
"""More are mixed down when they are decoded: that would not be the source."""

FLAC_DEPTHS = (16, 24)
"""Bits of a sample; a float source keeps what 24 bits can hold."""


class Format(StrEnum):
    """A kind of file; the value is its extension."""

    MP3 = "mp3"
    M4A = "m4a"
    OGG = "ogg"
    OPUS = "opus"
    FLAC = "flac"

    @property
    def media_type(self) -> str:
        """RFC 3003, RFC 4337, RFC 5334 9 (with RFC 7845 9), RFC 9639 11.1."""
        return {
            Format.MP3: "audio/mpeg",
            Format.M4A: "audio/mp4",
            Format.OGG: "audio/ogg",
            Format.OPUS: "audio/ogg",
            Format.FLAC: "audio/flac",
        }[self]

    @property
    def is_lossless(self) -> bool:
        return self is Format.FLAC


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One file: `bitrate_bps` is what its encoder is asked for, all channels together, None for FLAC.

    `bit_depth` is FLAC's alone.
    """

    name: str
    format: Format
    bitrate_bps: int | None
    rate_hz: int = RATE_HZ
    channels: int = 2
    bit_depth: int | None = None


_RATES_HZ = {
    Format.MP3: (RATE_HZ, CD_RATE_HZ),
    Format.M4A: (RATE_HZ, CD_RATE_HZ, *HIGH_RATES_HZ),
    Format.OGG: (RATE_HZ, CD_RATE_HZ),
    Format.OPUS: (RATE_HZ,),
}
_KBIT = {
    Format.MP3: (128, 192, 256, 320),
    Format.M4A: (128, 192, 256, 320),
    Format.OGG: (128, 192, 256, 320),
    Format.OPUS: (64, 96, 128, 192),
}


def _name(fmt: Format, kbit: int, rate_hz: int) -> str:
    return f"{fmt}-{kbit}" if rate_hz == RATE_HZ else f"{fmt}-{kbit}-{rate_hz}"


OUTPUTS: Mapping[str, Output] = {
    output.name: output
    for output in (
        *(
            Output(name=_name(fmt, kbit, rate_hz), format=fmt, bitrate_bps=kbit * 1000, rate_hz=rate_hz)
            for fmt, rates in _KBIT.items()
            for rate_hz in _RATES_HZ[fmt]
            for kbit in rates
        ),
        Output(name="flac", format=Format.FLAC, bitrate_bps=None),
    )
}
"""Every file there is, as a stereo source at 48 kHz gets it; of each format and rate the lowest first."""

DEFAULT_OUTPUTS = ("mp3-320",)


def outputs_for(names: tuple[str, ...], source: MediaInfo, channels: int) -> tuple[Output, ...]:
    """The files to make of a source, each once, in the order of `names`.

    No bit rate is above that of a lossy source: the next lower one takes its place, the lowest stays. A
    lossless file of a lossy source is left out, and one beyond 192 kHz or two channels; so is a rate over
    48 kHz that the source has not. Mono stays mono at half the bit rate.

    Args:
        channels: of the ladder, 1 or 2.
    Raises:
        Unsupported: `unknown_output`.
    """
    unknown = [name for name in names if name not in OUTPUTS]
    if unknown:
        raise Unsupported("unknown_output", f"outputs name {unknown}, known are {', '.join(OUTPUTS)}")
    found: dict[str, Output] = {}
    for name in names:
        output = _of_source(OUTPUTS[name], source, channels)
        if output is not None:
            found.setdefault(output.name, output)
    return tuple(found.values())


def _of_source(asked: Output, source: MediaInfo, channels: int) -> Output | None:
    if asked.format.is_lossless:
        if (
            source.bit_depth is None
            or source.rate_hz > FLAC_MAX_RATE_HZ
            or source.channels > FLAC_MAX_CHANNELS
        ):
            return None
        depth = next((bits for bits in FLAC_DEPTHS if source.bit_depth <= bits), FLAC_DEPTHS[-1])
        return replace(asked, rate_hz=source.rate_hz, channels=source.channels, bit_depth=depth)
    if asked.rate_hz > max(source.rate_hz, RATE_HZ):
        return None
    same = [o for o in OUTPUTS.values() if (o.format, o.rate_hz) == (asked.format, asked.rate_hz)]
    halved = [replace(o, bitrate_bps=(o.bitrate_bps or 0) * channels // 2, channels=channels) for o in same]
    wanted = next(o for o in halved if o.name == asked.name)
    carried = None if source.bit_depth is not None else source.bit_rate_bps
    if carried is None:
        return wanted
    allowed = [o for o in halved if (o.bitrate_bps or 0) <= min(carried, wanted.bitrate_bps or 0)]
    return allowed[-1] if allowed else halved[0]


def has_left_out(asked: tuple[str, ...], made: tuple[Output, ...]) -> bool:
    """Whether a format or a rate was asked for that the source cannot give."""
    rates = {(output.format, None if output.format.is_lossless else output.rate_hz) for output in made}
    wanted = [OUTPUTS[name] for name in asked]
    return bool({(o.format, None if o.format.is_lossless else o.rate_hz) for o in wanted} - rates)
