"""Whether a listener who was let in may still hear the track, while it plays over WebSocket or WebRTC.

Owns: what is looked at how often. The track is looked at each time; whoever needed a token is asked for it
again once a minute, and at once where the track changed hands or visibility.
Source: RFC 8725 3.8 (a token counts no longer than it says); RFC 7519 4.1.4.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from starlette.requests import HTTPConnection

from hls.asset import Asset
from media_server.endpoints.admission import admit
from media_server.endpoints.services import services_of

TOKEN_EVERY_S: Final = 60.0
"""A token that has run out ends playback within this, its leeway and one look at the track."""


class Readmission:
    """One listener, let in to `asset` a moment ago.

    Args:
        clock: monotonic seconds.
    """

    def __init__(
        self, request: HTTPConnection, asset: Asset, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._request = request
        self._asset = asset
        self._clock = clock
        self._asked_s = clock()

    async def asset(self) -> Asset:
        """The track as it is now.

        Raises:
            Unauthenticated, Denied, NotFound: the listener may not hear it any more.
            Unavailable: that cannot be known now; the next call asks again.
        """
        first, services = self._asset, services_of(self._request)
        seen = await services.assets.asset(first.track_id)
        is_same = (seen.visibility, seen.user_id) == (first.visibility, first.user_id)
        if is_same and self._clock() - self._asked_s < TOKEN_EVERY_S:
            return seen
        seen = (await admit(self._request, first.track_id)).asset
        self._asked_s = self._clock()
        return seen
