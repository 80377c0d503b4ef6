"""How many messages a client may send.

Owns: one token bucket. Pure: time is an argument, in seconds of any steady clock.
"""

from __future__ import annotations


class Pace:
    """`at_once` messages, and `per_s` more each second."""

    def __init__(self, *, per_s: float, at_once: int, now_s: float) -> None:
        self._per_s = per_s
        self._at_once = float(at_once)
        self._left = self._at_once
        self._counted_s = now_s

    def allows(self, now_s: float) -> bool:
        """Whether one more may come now; it is counted if so."""
        gone_s = max(0.0, now_s - self._counted_s)
        self._left = min(self._at_once, self._left + gone_s * self._per_s)
        self._counted_s = max(self._counted_s, now_s)
        if self._left < 1:
            return False
        self._left -= 1
        return True
