"""The grid: one segment length for every codec.

3.84 s is a whole number of frames of each codec, so segments of all renditions are equal to the sample.
Segment k holds packets [kN, (k+1)N), counted from the first packet, priming included.
"""

from __future__ import annotations

RATE_HZ = 48_000
AAC_FRAME_SAMPLES = 1024
OPUS_FRAME_SAMPLES = 960
"""20 ms: what WebRTC expects of a packet, and as good as any longer frame."""

FLAC_FRAME_SAMPLES = 3840
"""80 ms at 48 kHz, and 80 ms at every other rate that has a whole number of samples in them."""

SEGMENT_SAMPLES = 184_320
"""3.84 s at 48 kHz: 180 AAC frames, 192 Opus frames of 20 ms, 48 FLAC blocks of 80 ms."""

SHORTEST_TAIL_SAMPLES = RATE_HZ // 2
"""A last piece under 0.5 s joins the segment before: players stumble over runts (hls.js, GStreamer)."""


def at_rate(samples: int, rate_hz: int, to_hz: int) -> int:
    """The exact length at `to_hz` of `samples` at `rate_hz`: round-half-up of samples * to / rate.

    >>> at_rate(48_000, 48_000, 44_100)
    44100
    """
    return (2 * samples * to_hz + rate_hz) // (2 * rate_hz)


def at_grid_rate(samples: int, rate_hz: int) -> int:
    """The exact length at 48 kHz of `samples` at `rate_hz`.

    >>> at_grid_rate(44_100, 44_100)
    48000
    """
    return at_rate(samples, rate_hz, RATE_HZ)
