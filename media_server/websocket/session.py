"""The shell around the protocol: waits for messages, files and time, and moves the bytes.

Owns: the tasks of one connection and their end. What is said and sent is decided by `protocol`. One task
writes, so that messages and media keep the order in which they were decided; a file is read meanwhile, so
that a slow storage never holds up an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from hls.asset import Asset
from media_server.errors import ServiceError, Unavailable
from media_server.metrics import Metrics
from media_server.storage.assets import Assets
from media_server.websocket.feed import Wanted
from media_server.websocket.messages import Kind
from media_server.websocket.protocol import Ending, Playback, State

TRANSPORT: Final = "websocket"
LOOK_EVERY_S: Final = 2.5
"""How often the track is looked at. An asset may be 2 s old: a deletion ends playback within 5 s, and half a
second of them is left for the storage and the goodbye."""

SEND_WITHIN_S: Final = 10.0
"""How long one message may wait for a client that does not read."""

READ_WITHIN_S: Final = 15.0
CLOSE_WITHIN_S: Final = 1.0

log = structlog.get_logger()


class Session:
    """One listener: an accepted socket, and the playback that decides for it."""

    def __init__(
        self,
        socket: WebSocket,
        playback: Playback,
        *,
        assets: Assets,
        metrics: Metrics,
        admitted: Callable[[], Awaitable[Asset]],
        stopping: asyncio.Event,
        writable: asyncio.Event,
        asked_s: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`admitted` gives the asset as it is now, or raises why the listener may not hear it any more.

        Args:
            writable: set while the client reads what it is sent.
            asked_s: when the listener asked to connect, by `now`.
        """
        self._socket = socket
        self._playback = playback
        self._assets = assets
        self._metrics = metrics
        self._admitted = admitted
        self._stopping = stopping
        self._writable = writable
        self._asked_s = asked_s
        self._now = now
        self._track_id = ""
        self._changed = asyncio.Event()
        self._has_begun = False
        self._is_gone = False

    async def run(self, track_id: str) -> Ending | None:
        """Serve until one side ends it; None: the client just left."""
        self._track_id = track_id
        with self._metrics.websocket_open(), self._metrics.listening(TRANSPORT):
            async with asyncio.TaskGroup() as tasks:
                others = [tasks.create_task(self._listen()), tasks.create_task(self._look())]
                try:
                    await self._write(tasks)
                except (TimeoutError, WebSocketDisconnect):
                    # it left, or it does not read: no goodbye would reach it
                    self._is_gone = True
                finally:
                    for other in others:
                        other.cancel()
        ending = None if self._is_gone else self._playback.ending
        if ending is not None:
            with contextlib.suppress(TimeoutError, WebSocketDisconnect):
                async with asyncio.timeout(CLOSE_WITHIN_S):
                    await self._socket.close(ending.close, ending.reason)
        return ending

    async def _write(self, tasks: asyncio.TaskGroup) -> None:
        """Send what was decided, messages before media, until the end."""
        reading: asyncio.Task[bytes | None] | None = None
        wanted: Wanted | None = None
        try:
            while not self._is_gone:
                self._changed.clear()
                self._playback.tick(self._now())
                # until there are none: what is said while one is sent stands before the media too
                while texts := self._playback.texts():
                    for text in texts:
                        await self._within(self._socket.send_text(text))
                if self._playback.state is State.CLOSED:
                    break
                if reading is not None and wanted is not None and reading.done():
                    if not self._writable.is_set():
                        # a frame is not made for who has one unread, and may not be wanted by then
                        await self._within(self._writable.wait())
                        continue
                    payload, reading = reading.result(), None
                    await self._hand_over(wanted, payload)
                    continue
                if reading is not None and wanted != self._playback.wanted():
                    reading.cancel()
                    reading = None
                if reading is None and (wanted := self._playback.wanted()) is not None:
                    reading = tasks.create_task(self._read(wanted))
                    reading.add_done_callback(lambda _: self._changed.set())
                await self._wait()
        finally:
            if reading is not None:
                reading.cancel()

    async def _hand_over(self, wanted: Wanted, payload: bytes | None) -> None:
        frame = None if payload is None else self._playback.frame(wanted, payload, self._now())
        if frame is None:
            return
        await self._within(self._socket.send_bytes(frame))
        self._metrics.media_sent(len(frame))
        if wanted.header.kind is Kind.SEGMENT and not self._has_begun:
            self._has_begun = True
            self._metrics.playback_started(TRANSPORT, self._now() - self._asked_s)

    async def _read(self, wanted: Wanted) -> bytes | None:
        """The file; None, and the playback fails, where it cannot be had."""
        try:
            async with asyncio.timeout(READ_WITHIN_S):
                return await self._assets.file(self._track_id, wanted.version, wanted.rendition, wanted.name)
        except ServiceError as error:
            self._playback.fail(error, self._now())
        except TimeoutError:
            slow = Unavailable("storage_slow", f"the storage did not answer within {READ_WITHIN_S:g} s")
            self._playback.fail(slow, self._now())
        return None

    async def _within(self, sending: Awaitable[object]) -> None:
        async with asyncio.timeout(SEND_WITHIN_S):
            await sending

    async def _wait(self) -> None:
        """Until something changes or time has something to do."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, self._playback.deadline_s - self._now())):
                await self._changed.wait()

    async def _listen(self) -> None:
        """Hand every message to the playback."""
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                self._is_gone = True
                self._changed.set()
                return
            text = message.get("text")
            if text is None:
                self._playback.receive_binary(self._now())
            else:
                self._playback.receive(text, self._now())
            self._changed.set()

    async def _look(self) -> None:
        """Look at the track now and then, and end when the server stops."""
        while not await self._stops():
            try:
                async with asyncio.timeout(READ_WITHIN_S):
                    asset = await self._admitted()
                self._playback.update(asset, self._now())
            except (TimeoutError, Unavailable) as error:
                # what is in memory plays on; what is not will say so itself
                log.info("websocket.track_not_seen", reason=str(error) or type(error).__name__)
            except ServiceError as error:
                self._playback.fail(error, self._now())
            self._changed.set()
        self._playback.go_away(self._now())
        self._changed.set()

    async def _stops(self) -> bool:
        """Whether the server stops before the next look."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S):
                return await self._stopping.wait()
        return False
