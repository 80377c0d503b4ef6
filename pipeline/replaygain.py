"""How loud a file is, as players read it from its tags.

The values are of the file's own bytes: its gain has been applied already. There is an album's value where the
album has one gain, as it was when the file was made.
Sources: ReplayGain 2.0 (-18 LUFS), RFC 7845 5.2.1 (R128_TRACK_GAIN, -23 LUFS, Q7.8).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.normalize import GainPlan

REFERENCE_LUFS = -18.0
R128_REFERENCE_LUFS = -23.0
Q7_8 = 256
R128_RANGE = (-32768, 32767)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLoudness:
    """How loud a whole file is, and its true peak; None for silence."""

    integrated_lufs: float | None
    true_peak_dbtp: float | None

    def planned(self, plan: GainPlan) -> FileLoudness:
        """That of the same sound once it is as loud as planned: a limiter takes loudness with the peaks."""
        peak_dbtp = None if self.true_peak_dbtp is None else self.true_peak_dbtp + plan.gain_db
        if peak_dbtp is not None and plan.limit_dbtp is not None:
            peak_dbtp = min(peak_dbtp, plan.limit_dbtp)
        return FileLoudness(integrated_lufs=plan.planned_lufs, true_peak_dbtp=peak_dbtp)

    def amplified(self, gain_db: float) -> FileLoudness:
        """That of the same sound with this gain, of an album too: each of its tracks has it."""
        return FileLoudness(
            integrated_lufs=None if self.integrated_lufs is None else self.integrated_lufs + gain_db,
            true_peak_dbtp=None if self.true_peak_dbtp is None else self.true_peak_dbtp + gain_db,
        )


def replaygain_tags(track: FileLoudness, album: FileLoudness | None = None) -> Mapping[str, str]:
    """ReplayGain 2.0's, lower case; none for what has no loudness. The peak is linear, full scale is 1."""
    return {**_replaygain("track", track), **_replaygain("album", album)}


def r128_tags(track: FileLoudness, album: FileLoudness | None = None) -> Mapping[str, str]:
    """Opus's own, on top of the header's output gain, which is 0 here; ReplayGain's are not for Opus."""
    return {**_r128("TRACK", track), **_r128("ALBUM", album)}


def _replaygain(of: str, loudness: FileLoudness | None) -> dict[str, str]:
    if loudness is None or loudness.integrated_lufs is None or loudness.true_peak_dbtp is None:
        return {}
    return {
        f"replaygain_{of}_gain": f"{REFERENCE_LUFS - loudness.integrated_lufs:.2f} dB",
        f"replaygain_{of}_peak": f"{10 ** (loudness.true_peak_dbtp / 20):.6f}",
    }


def _r128(of: str, loudness: FileLoudness | None) -> dict[str, str]:
    if loudness is None or loudness.integrated_lufs is None:
        return {}
    steps = round((R128_REFERENCE_LUFS - loudness.integrated_lufs) * Q7_8)
    return {f"R128_{of}_GAIN": str(min(max(steps, R128_RANGE[0]), R128_RANGE[1]))}
