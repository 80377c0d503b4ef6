"""How loud a file is, as players read it from its tags.

The values are of the file's own bytes: its gain has been applied already. There is no album's value: a job
knows one track. Sources: ReplayGain 2.0 (-18 LUFS), RFC 7845 5.2.1 (R128_TRACK_GAIN, -23 LUFS, Q7.8).
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


def replaygain_tags(loudness: FileLoudness) -> Mapping[str, str]:
    """ReplayGain 2.0's, lower case; none for what has no loudness. The peak is linear, full scale is 1."""
    if loudness.integrated_lufs is None or loudness.true_peak_dbtp is None:
        return {}
    return {
        "replaygain_track_gain": f"{REFERENCE_LUFS - loudness.integrated_lufs:.2f} dB",
        "replaygain_track_peak": f"{10 ** (loudness.true_peak_dbtp / 20):.6f}",
    }


def r128_tags(loudness: FileLoudness) -> Mapping[str, str]:
    """Opus's own, on top of the header's output gain, which is 0 here; ReplayGain's are not for Opus."""
    if loudness.integrated_lufs is None:
        return {}
    steps = round((R128_REFERENCE_LUFS - loudness.integrated_lufs) * Q7_8)
    return {"R128_TRACK_GAIN": str(min(max(steps, R128_RANGE[0]), R128_RANGE[1]))}
