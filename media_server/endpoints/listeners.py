"""The WebRTC listeners of one server.

Owns: how many there may be, their ids, the task that carries each, what is logged and counted of them, and
that none is left when the server stops.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import structlog

from media_server.errors import NotFound, Unavailable
from media_server.metrics import Metrics
from media_server.settings import Settings
from media_server.storage.packets import StoredPacket
from webrtc.answer import Content
from webrtc.reach import Reach
from webrtc.sdp import Offer
from webrtc.session import CONNECT_S, AnswerError, Ending, Session
from webrtc.sockets import ANY_PORT, NoSocketError, Sockets
from webrtc.track import StoredAudioTrack

TRANSPORT: Final = "webrtc"
MAX_LISTENERS: Final = 200
"""Each costs fifty encrypted packets a second, a third of a percent of a core: HLS is to have the rest."""
ID_BYTES: Final = 16
"""RFC 9725 4.2 wants the session's URL to be unguessable: who knows it may end the session."""
COME_AGAIN_S: Final = 5.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A session that was answered: its id in URLs, and the SDP answer."""

    session_id: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """What a listener hears: the packets, and what the answer says of them."""

    track_id: str
    packets: AsyncGenerator[StoredPacket]
    content: Content


@dataclass(frozen=True, slots=True, kw_only=True)
class _Carried:
    track_id: str
    session: Session


class Listeners:
    """Begins and ends sessions, `limit` at a time. `close` it before the loop ends.

    One that is not connected `connect_s` after its answer is over, and its place free.

    Raises:
        ValueError: WEBRTC_PUBLIC_ADDRESS is no address, or WEBRTC_UDP_PORTS no range of ports.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        stopping: asyncio.Event,
        clock: Callable[[], float] = time.monotonic,
        *,
        limit: int = MAX_LISTENERS,
        connect_s: float = CONNECT_S,
    ) -> None:
        self._sockets = sockets_of(settings)
        self._metrics = metrics
        self._stopping = stopping
        self._clock = clock
        self._limit = limit
        self._connect_s = connect_s
        self._carried: dict[str, _Carried] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._watch: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._carried)

    async def begin(self, offer: Offer, sound: Sound, peer: Reach, asked_s: float) -> Listener:
        """Answer `offer`; from here on the session carries itself, and closes `sound.packets` at its end.

        Args:
            asked_s: when the listener asked, by this object's clock.

        Raises:
            Unavailable: `too_many_listeners`, `server_stopping`, `webrtc_unreachable` or `webrtc_failed`.
        """
        if self._stopping.is_set():
            raise Unavailable("server_stopping", "the server stops, come again", retry_after_s=1.0)
        if len(self._carried) >= self._limit:
            raise Unavailable(
                "too_many_listeners",
                f"this server has {self._limit} WebRTC listeners, which is its limit",
                limits={"listeners": self._limit},
                retry_after_s=COME_AGAIN_S,
            )
        session = Session(StoredAudioTrack(sound.packets), self._sockets, peer)
        session_id = secrets.token_urlsafe(ID_BYTES)
        self._carried[session_id] = _Carried(track_id=sound.track_id, session=session)
        try:
            answer = await session.answer(offer, sound.content)
        except BaseException as error:
            del self._carried[session_id]
            await session.close()
            await sound.packets.aclose()
            if isinstance(error, NoSocketError):
                reason = f"{error}; WEBRTC_PUBLIC_ADDRESS names one, WEBRTC_UDP_PORTS how many there are"
                raise Unavailable("webrtc_unreachable", reason, retry_after_s=COME_AGAIN_S) from error
            if isinstance(error, AnswerError):
                raise Unavailable("webrtc_failed", str(error), retry_after_s=COME_AGAIN_S) from error
            raise
        self._carry(session_id, session, sound, asked_s)
        return Listener(session_id=session_id, answer=answer)

    async def end(self, track_id: str, session_id: str) -> None:
        """End a session because its listener asks.

        Raises:
            NotFound: `session_not_found`, there is none (any more) of this track.
        """
        found = self._carried.get(session_id)
        if found is None or found.track_id != track_id:
            raise NotFound("session_not_found", "there is no such session, or it has ended")
        await found.session.close(Ending.LEFT)
        self._carried.pop(session_id, None)

    async def close(self) -> None:
        """End every session and wait until all are gone."""
        if self._watch is not None:
            self._watch.cancel()
        await self._end_all()

    async def _end_all(self) -> None:
        await asyncio.gather(*(one.session.close() for one in self._carried.values()))
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _carry(self, session_id: str, session: Session, sound: Sound, asked_s: float) -> None:
        if self._watch is None:
            self._watch = asyncio.create_task(self._end_when_stopping())
        task = asyncio.create_task(self._carrying(session_id, session, sound, asked_s))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end_when_stopping(self) -> None:
        await self._stopping.wait()
        await self._end_all()

    async def _carrying(self, session_id: str, session: Session, sound: Sound, asked_s: float) -> None:
        try:
            async with aclosing(sound.packets):
                try:
                    await self._life(session, sound.track_id, asked_s)
                finally:
                    await session.close()
        except Exception as error:  # the task's own edge: nobody awaits its result
            log.error("listener.bug", track_id=sound.track_id, transport=TRANSPORT, exc_info=error)
        finally:
            self._carried.pop(session_id, None)

    async def _life(self, session: Session, track_id: str, asked_s: float) -> None:
        if not await session.connect(self._connect_s):
            log.info("listener.not_connected", track_id=track_id, transport=TRANSPORT)
            return
        started_s = self._clock()
        self._metrics.playback_started(TRANSPORT, started_s - asked_s)
        log.info("listener.started", track_id=track_id, transport=TRANSPORT)
        with self._metrics.listening(TRANSPORT):
            ending = await session.play()
        log.info(
            "listener.ended",
            track_id=track_id,
            transport=TRANSPORT,
            ending=str(ending),
            code=getattr(session.error, "code", None),
            duration_ms=round((self._clock() - started_s) * 1000),
        )


def sockets_of(settings: Settings) -> Sockets:
    """Where the settings want the sockets to be.

    Raises:
        ValueError: WEBRTC_PUBLIC_ADDRESS is no address, or WEBRTC_UDP_PORTS no range of ports.
    """
    ports = ANY_PORT
    if settings.webrtc_udp_ports:
        first, last = (int(port) for port in settings.webrtc_udp_ports.split("-"))
        if not 1024 <= first <= last <= 65_535:
            raise ValueError(f"WEBRTC_UDP_PORTS is {first}-{last}, must be a range within 1024-65535")
        ports = range(first, last + 1)
    return Sockets(ports=ports, public_address=settings.webrtc_public_address)
