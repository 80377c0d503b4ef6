"""Where a listener is in a track, between two words from it.

Owns: one clock that runs while the track plays. Pure: time is an argument, in seconds of any steady clock.
"""

from __future__ import annotations

from pipeline.grid import RATE_HZ


class Position:
    """A presented sample at 48 kHz, and whether time moves it."""

    def __init__(self, sample: int, now_s: float) -> None:
        self._sample = sample
        self._since_s = now_s
        self._runs = False

    def at(self, now_s: float, end: int) -> int:
        """The sample that is heard now if nothing holds the listener up; at most `end`."""
        gone_s = max(0.0, now_s - self._since_s) if self._runs else 0.0
        return max(0, min(round(self._sample + gone_s * RATE_HZ), end))

    def set(self, sample: int, now_s: float) -> None:
        """It is there now: it was moved, or the listener says so."""
        self._sample, self._since_s = sample, now_s

    def run(self, runs: bool, now_s: float, end: int) -> None:
        """Let time move it, or not any more."""
        self.set(self.at(now_s, end), now_s)
        self._runs = runs
