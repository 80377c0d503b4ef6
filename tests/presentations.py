"""Published tracks as values, for tests that need no sound: the right names, lengths and primings."""

from __future__ import annotations

import hashlib
from typing import Literal

from hls.asset import Asset, AssetLoudness, AssetRendition, StoredFile, StoredSegment
from pipeline.grid import RATE_HZ, SEGMENT_SAMPLES

TRACK_ID = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
CODECS = {"aac": ("mp4a.40.2", 1024), "opus": ("Opus", 120)}
"""RFC 6381's name, and the priming in samples."""


def content(name: str, size_bytes: int) -> bytes:
    """The bytes that stand for the file of this name."""
    return (hashlib.sha256(name.encode()).digest() * (size_bytes // 32 + 1))[:size_bytes]


def rendition(
    name: str, *, bitrate_bps: int, duration_samples: int, codec: str = "aac", segments: int | None = None
) -> AssetRendition:
    """One rung; `segments` leaves out what is not stored yet."""
    codec_name, priming = CODECS[codec]
    left, durations = duration_samples + priming, []
    while left:
        # a last piece under half a second joins the one before
        durations.append(left if left < SEGMENT_SAMPLES + RATE_HZ // 2 else SEGMENT_SAMPLES)
        left -= durations[-1]
    return AssetRendition(
        name=name,
        codec=codec_name,
        bitrate_bps=bitrate_bps,
        rate_hz=RATE_HZ,
        channels=2,
        priming_samples=priming,
        init=StoredFile(name="init-00000000.mp4", bytes=600, sha256="00" * 32, media_type="audio/mp4"),
        segments=tuple(
            StoredSegment(
                name=f"{number}-00000000.m4s",
                duration=duration,
                bytes=duration * bitrate_bps // RATE_HZ // 8,
                sha256="00" * 32,
            )
            for number, duration in enumerate(durations)
        )[:segments],
    )


def asset(
    *renditions: AssetRendition,
    duration_samples: int,
    state: Literal["growing", "complete"] = "complete",
    visibility: Literal["public", "unlisted", "private"] = "public",
) -> Asset:
    return Asset(
        track_id=TRACK_ID,
        version="0123456789abcdef",
        state=state,
        job_id="0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11",
        created_at="2026-01-01T00:00:00.000Z",
        order="2026-01-01T00:00:00.000Z",
        source_version=None,
        pipeline_version="1",
        source_sha256="00" * 32,
        source_bytes=1,
        duration_samples=duration_samples,
        visibility=visibility,
        user_id=None,
        title=None,
        artist=None,
        tags={},
        loudness=AssetLoudness(
            integrated_lufs=-14.0, true_peak_dbtp=-1.0, range_lu=6.0, gain_db=0.0, target_lufs=-14.0
        ),
        renditions=renditions,
        waveform=None,
        cover=None,
        warnings=(),
    )


def song(
    duration_s: float = 20.0,
    *,
    state: Literal["growing", "complete"] = "complete",
    segments: int | None = None,
) -> Asset:
    """A song of two rungs of AAC and one of Opus, in the order of a ladder."""
    samples = round(duration_s * RATE_HZ)
    return asset(
        rendition("320k", bitrate_bps=320_000, duration_samples=samples, segments=segments),
        rendition("128k", bitrate_bps=128_000, duration_samples=samples, segments=segments),
        rendition("opus-128", bitrate_bps=128_000, duration_samples=samples, codec="opus", segments=segments),
        duration_samples=samples,
        state=state,
    )
