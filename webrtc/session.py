"""One listener's session: an offer, an answer, packets until the end, and nothing left behind.

Owns: the deadlines and how it ended. A peer that says goodbye ends it at once, one that falls silent when its
consent runs out after half a minute (RFC 7675 5.1).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from enum import StrEnum
from typing import Final

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from webrtc.answer import Content, finish_answer
from webrtc.reach import Reach
from webrtc.sdp import Offer
from webrtc.sockets import Sockets, gather_here
from webrtc.track import StoredAudioTrack

ANSWER_S: Final = 5.0
CONNECT_S: Final = 10.0
"""From the answer until the first packet may go; a peer that is there needs a few round trips."""
LINGER_S: Final = 1.0
"""After the last packet: what a receiver may still hold back against jitter."""
CLOSE_S: Final = 5.0


class AnswerError(Exception):
    """The offer was read and yet could not be answered."""


class Ending(StrEnum):
    """How a session ended."""

    PLAYED = "played"
    LEFT = "left"
    LOST = "lost"
    CLOSED = "closed"
    FAILED = "failed"
    NOT_CONNECTED = "not_connected"


class Session:
    """Carries `track` to one peer: `answer`, then `connect`, then `play`, and `close` in any case."""

    def __init__(self, track: StoredAudioTrack, sockets: Sockets, peer: Reach) -> None:
        self._track = track
        # no servers of the library's own choice: it would ask one of another company
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        sender = self._connection.addTrack(track)
        self._ice = sender.transport.transport.iceGatherer._connection
        gather_here(self._ice, sockets, peer)
        self._over = asyncio.Event()
        self._ending: Ending | None = None
        self._closing: asyncio.Task[None] | None = None
        self._connection.on("connectionstatechange", self._on_state)

    @property
    def error(self) -> Exception | None:
        """What the packets' source failed with, if it did."""
        return self._track.error

    async def answer(self, offer: Offer, content: Content, within_s: float = ANSWER_S) -> str:
        """The SDP answer, with all candidates there are.

        Raises:
            NoSocketError: there is no UDP socket for this peer.
            AnswerError: the library takes longer.
        """
        try:
            async with asyncio.timeout(within_s):
                await self._connection.setRemoteDescription(
                    RTCSessionDescription(sdp=offer.render(), type="offer")
                )
                await self._connection.setLocalDescription()
        except TimeoutError:
            raise AnswerError(f"no answer within {within_s:g} s") from None
        return finish_answer(self._connection.localDescription.sdp, offer, content)

    async def connect(self, within_s: float = CONNECT_S) -> bool:
        """Whether the first packet has been sent in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await _first(self._track.started, self._track.ended, self._over)
        return self._track.started.is_set()

    async def play(self) -> Ending:
        """How it ended: the track is over, or the peer is gone, or `close` was called."""
        await _first(self._track.ended, self._over)
        # the library stops the track of a peer that is gone, and may say only later that it is
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                await self._over.wait()
        if self._track.error is not None:
            return Ending.FAILED
        return Ending.PLAYED if self._track.finished else self._ending or Ending.LEFT

    async def close(self, ending: Ending = Ending.CLOSED) -> None:
        """Say goodbye and free everything; can be called again, and while it is being answered."""
        self._end(ending)
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self._track.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._connection.close()

    def _on_state(self) -> None:
        state = self._connection.connectionState
        if state == "failed":
            self._end(Ending.LOST)
        elif state == "closed":
            # without consent ICE closes its sockets, and DTLS with them; after a goodbye they are still there
            self._end(Ending.LEFT if self._ice._protocols else Ending.LOST)

    def _end(self, ending: Ending) -> None:
        self._ending = self._ending or ending
        self._over.set()


async def _first(*events: asyncio.Event) -> None:
    """Wait until one of the events is set."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiting:
            waiter.cancel()
