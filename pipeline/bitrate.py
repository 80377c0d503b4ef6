"""How many bits a source spends on a second of sound, where it spends the most.

Owns: the reading of a variable bit rate. A header's rate is a guess and the mean counts pauses too, while a
rung must serve the densest passage; so what counts is the mean of the densest ten seconds. For a constant bit
rate that is the same number.
"""

from __future__ import annotations

WINDOW_S = 10.0


class BitRateMeter:
    """Feed it the coded packets of one stream in order."""

    def __init__(self) -> None:
        self._window_bits = self._window_s = 0.0
        self._densest_bps = 0.0

    def push(self, size_bytes: int, samples: int, rate_hz: int) -> None:
        """Take a packet and how many samples at `rate_hz` came out of it."""
        self._window_bits += 8 * size_bytes
        self._window_s += samples / rate_hz
        if self._window_s >= WINDOW_S:
            self._densest_bps = max(self._densest_bps, self._window_bits / self._window_s)
            self._close_window()

    def result(self) -> int:
        """Bits a second of the densest window; of all there is if that is shorter; 0 for nothing.

        What is left after the last whole window is too short to be told from a single large packet.
        """
        if self._densest_bps:
            return round(self._densest_bps)
        return round(self._window_bits / self._window_s) if self._window_s else 0

    def _close_window(self) -> None:
        self._window_bits = self._window_s = 0.0
