"""What a source carries, and what of a ladder it can fill.

Owns: the rule that no rendition has more in it than its source. A lossless source fills every rung. A lossy
one fills those of about its own bit rate and below: what lies above would be the same sound in more bytes.
It gets no lossless rendition, and neither does what FLAC cannot carry to players bit by bit. The lowest rung
of each codec that was asked for is made whatever the source is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipeline.errors import Unsupported
from pipeline.ladder import RUNGS, Codec, Ladder, Rendition, fits_grid

NOT_LOSSY = frozenset({"flac", "alac"})
COMPANDED = frozenset({"pcm_alaw", "pcm_mulaw", "pcm_vidc"})
"""8 bits with 13 or 14 bits' range: PCM by name, and lossy."""

FRUGAL = frozenset({"opus", "libopus"})
"""Coders that need fewer bits than AAC for the same sound: of these, the next rung of AAC above their own bit
rate still holds something that the one below has lost."""

SAVING = {"HE-AAC": 2.0, "HE-AACv2": 3.0, "xHE-AAC": 2.0}
"""How many bits of AAC-LC one bit of a profile stands for, by FFmpeg's names.

Spectral band replication (ISO/IEC 14496-3 4.6.18) leaves a core at half the rate: that has as many bits for
each of its samples as AAC-LC at twice the bit rate. Parametric stereo (8.6.4) leaves it one channel of two,
of which about half is a gain: a side signal is cheap in AAC-LC too. USAC (ISO/IEC 23003-3) is taken for no
less than the first.
"""

NOMINAL = 0.9
"""A rung within a tenth of the source's rate is the same rate: encoders miss what they are asked for."""

MAX_LOSSLESS_RATE_HZ = 192_000
"""The product's list ends here; FLAC's streamable subset with blocks of 80 ms does too (RFC 9639 7)."""

MAX_LOSSLESS_CHANNELS = 2
"""FLAC knows eight, but who plays it in a browser expects two, and a mixture is not the source any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What one decode pass saw of the source itself.

    `codec` and `profile` are FFmpeg's names; `sample_bits` the widest sample its decoder gave; `bit_rate_bps`
    as of `pipeline.bitrate`. `is_uniform`: rate and layout stayed what they were at the beginning.
    `passes_full_scale`: a sample is beyond +-1.0, which float holds and FLAC does not.
    """

    codec: str
    rate_hz: int
    channels: int
    sample_bits: int
    bit_rate_bps: int
    is_uniform: bool = True
    profile: str | None = None
    passes_full_scale: bool = False

    @property
    def is_lossless(self) -> bool:
        """PCM, or coded so that PCM comes out as it went in."""
        return self.codec in NOT_LOSSY or (self.codec.startswith("pcm_") and self.codec not in COMPANDED)

    @property
    def bit_depth(self) -> int:
        """Of its lossless rendition, 16 or 24: the least that holds a sample, or all that a Block does."""
        return 16 if self.sample_bits <= 16 else 24


def fill(ladder: Ladder, carried: Carried) -> tuple[Ladder, tuple[str, ...]]:
    """The renditions of `ladder` that the source can fill, and a warning where it cannot be lossless.

    A lossless rendition gets the source's rate, channels and depth. To leave out others is no loss, and told
    by no warning.

    Raises:
        Unsupported: `no_rendition`, nothing is left.
    """
    lossy = [rung for rung in ladder if not rung.codec.is_lossless]
    lossless = [rung for rung in ladder if rung.codec.is_lossless]
    lowest = {rung.codec: rung for rung in reversed(lossy)}
    kept = [rung for rung in lossy if rung is lowest[rung.codec] or _is_filled(rung, carried)]
    why_not = _why_not_lossless(carried) if lossless else None
    if why_not is None:
        return (*kept, *(_like_the_source(rung, carried) for rung in lossless)), ()
    if not kept:
        raise Unsupported("no_rendition", f"lossless is all that is asked for, and {LEFT_OUT[why_not]}")
    return tuple(kept), (why_not,)


LEFT_OUT = {
    "lossless_of_lossy": "the source is coded with loss",
    "lossless_channels": f"the source has more than {MAX_LOSSLESS_CHANNELS} channels",
    "lossless_rate": f"the source's rate is over {MAX_LOSSLESS_RATE_HZ} Hz or no multiple of 25",
    "lossless_mixed": "the source changes its format on the way",
}
"""The warnings for a source that has no lossless rendition."""


def _like_the_source(rung: Rendition, carried: Carried) -> Rendition:
    return replace(rung, rate_hz=carried.rate_hz, channels=carried.channels, bit_depth=carried.bit_depth)


def _why_not_lossless(carried: Carried) -> str | None:
    """Its key in LEFT_OUT; None where the source can have a lossless rendition."""
    if not carried.is_lossless:
        return "lossless_of_lossy"
    if carried.channels > MAX_LOSSLESS_CHANNELS:
        return "lossless_channels"
    if carried.rate_hz > MAX_LOSSLESS_RATE_HZ or not fits_grid(carried.rate_hz):
        return "lossless_rate"
    return None if carried.is_uniform else "lossless_mixed"


def _is_filled(rung: Rendition, carried: Carried) -> bool:
    """Whether the source has so much in it: the rung is at most the first one that holds all of it."""
    if carried.is_lossless:
        return True
    # rungs are compared as stereo gets them; mono has half of each
    share = (2 if carried.channels == 1 else 1) * SAVING.get(carried.profile or "", 1.0)
    rates = [other.bitrate_bps for other in RUNGS.values() if other.codec is rung.codec]
    held = [rate for rate in rates if rate >= NOMINAL * share * carried.bit_rate_bps] or rates[-1:]
    is_frugal = carried.codec in FRUGAL and rung.codec is Codec.AAC
    ceiling = held[1] if is_frugal and len(held) > 1 else held[0]
    return RUNGS[rung.name].bitrate_bps <= ceiling
