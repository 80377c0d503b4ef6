"""When what there is of a version is shown, while the rest of it is being made.

Only where listeners have nothing else: a complete version is replaced by a complete one. What is shown never
gets shorter: an attempt that comes after a crash makes the same segments again, and goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from hls.asset import Asset

SHOW_EVERY_S: Final = 2.0
"""Half a segment: players ask for a growing playlist each target duration (RFC 8216 6.3.4)."""

SHARE: Final = 0.1
"""Of the time at most that showing may take: the pointer of a long track is large."""


class Growth:
    """Decides for one attempt.

    Args:
        live: what is live of the track when the attempt begins.
        clock: monotonic seconds.
    """

    def __init__(self, live: Asset | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._is_wanted = live is None or live.state == "growing"
        self._shown = live
        self._clock = clock
        self._next_s = clock()

    @property
    def is_timely(self) -> bool:
        """Whether it is time to look at what there is."""
        return self._is_wanted and self._clock() >= self._next_s

    def shows(self, growing: Asset) -> bool:
        """Whether this says more than what is shown, and takes nothing back.

        An attempt with another plan makes another version; its segments begin and end at the same samples.
        """
        if self._shown is None:
            return True
        before = {one.name: len(one.segments) for one in self._shown.renditions}
        now = {one.name: len(one.segments) for one in growing.renditions}
        is_new = now != before or self._shown.version != growing.version
        return is_new and all(now.get(name, 0) >= count for name, count in before.items())

    def has_shown(self, growing: Asset, since_s: float) -> None:
        """It is live; `since_s` is when that was begun, by the clock."""
        now_s = self._clock()
        self._shown = growing
        self._next_s = now_s + max(SHOW_EVERY_S, (now_s - since_s) / SHARE)

    @property
    def has_begun(self) -> bool:
        """Whether listeners have something of it."""
        return self._is_wanted and self._shown is not None

    def end(self) -> None:
        """A whole version is live: nothing grows any more."""
        self._is_wanted = False
