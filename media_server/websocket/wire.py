"""uvicorn's WebSocket protocol, held to bounds that it does not have itself.

Owns: what a client can make the server do and keep before any message of it is complete (floods of tiny
frames, pings that nobody reads the answers to, fragments without end), how long a connection may take to
close, and the close code of a stopping server. Source: RFC 6455 5.4, 5.5 and 7.4.1.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request

from media_server.websocket.messages import Close
from media_server.websocket.pace import Pace

PING_EVERY_S: Final = 30.0
PONG_WITHIN_S: Final = 20.0
CLOSED_WITHIN_S: Final = 3.0
"""From the application's end until the connection is cut, whether or not the client has read what is left."""

STOPPED_WITHIN_S: Final = 0.5
"""The same when the server stops, which waits a second for its connections and then cancels what is left."""

WRITABLE: Final = "veza.writable"
"""The extension of the scope that holds an event: set while the client reads. Who makes big messages waits
for it first, so that a client that does not read costs one of them and not two."""

MAX_UNREAD_PONGS: Final = 16
"""Answers to pings that wait behind a client's unread media. More are left out; RFC 6455 5.5.3 allows it."""

MAX_FRAGMENTS: Final = 64
FRAMES_AT_ONCE: Final = 256
FRAMES_PER_S: Final = 64.0
"""Of all kinds, fragments and pongs too: whatever is in a frame, it costs the same."""

PARSED_AT_ONCE_BYTES: Final = 4096
"""A read brings 256 KB, some 40,000 empty frames: a sixth of a second in which nobody else is served."""

STOPPING: Final = "server_stopping"

# its lines repeat our access log, and carry the client's address and its query
_quiet = logging.getLogger("uvicorn.websockets")
_quiet.setLevel(logging.WARNING)


class WebSocketWire(WebSocketsSansIOProtocol):
    """For `uvicorn.Config(ws=...)`."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.logger = _quiet
        self._cut: asyncio.TimerHandle | None = None
        self._unread_pongs = 0
        self._pace = Pace(per_s=FRAMES_PER_S, at_once=FRAMES_AT_ONCE, now_s=self.loop.time())

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if not self.close_sent:
            self.scope["extensions"][WRITABLE] = self.writable  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Parse piece by piece, so that a flood is seen before all of it is taken apart."""
        for start in range(0, len(data), PARSED_AT_ONCE_BYTES):
            if self.transport.is_closing():
                return
            super().data_received(data[start : start + PARSED_AT_ONCE_BYTES])

    def handle_events(self) -> None:
        """Take the frames that were parsed, or none of them from a client that sends too many."""
        now_s = self.loop.time()
        if self.handshake_initiated and not all(self._pace.allows(now_s) for _ in self.conn.events):
            self.conn.fail(Close.POLICY_VIOLATION, "too_many_messages")
            self.handle_parser_exception()
            return
        super().handle_events()

    def handle_parser_exception(self) -> None:
        """End the connection of a client that broke the form, also one that was not let in yet."""
        if self.conn.close_sent is None:
            self.transport.abort()  # there is no WebSocket to close; uvicorn would take it for our mistake
            return
        super().handle_parser_exception()

    def handle_ping(self) -> None:
        """Answer, but not a client that reads no answer."""
        self._unread_pongs = 0 if self.writable.is_set() else self._unread_pongs + 1
        if self._unread_pongs > MAX_UNREAD_PONGS:
            # the answer is made already; left where it is, it would pile up there
            self.conn.data_to_send()
            return
        super().handle_ping()

    def handle_cont(self, event: Frame) -> None:
        """Take a fragment; a message of 4 KiB needs few."""
        if len(self.frames) >= MAX_FRAGMENTS and not event.fin:
            self.conn.fail(Close.POLICY_VIOLATION, "too_many_fragments")
            self.handle_parser_exception()
            return
        super().handle_cont(event)

    async def send(self, message: ASGISendEvent) -> None:
        if self.close_sent and self.initial_response is None:
            raise ClientDisconnected  # uvicorn would call it our mistake, and it may be the client's
        await super().send(message)
        if self.close_sent:
            # a refusal ends the handshake too; uvicorn would take it for one that was forgotten
            self.handshake_complete = True

    async def run_asgi(self) -> None:
        """Serve, then see to it that the connection ends."""
        try:
            await super().run_asgi()
        finally:
            self._cut_within(CLOSED_WITHIN_S)

    def _cut_within(self, seconds: float) -> None:
        if not self.disconnected and self._cut is None:
            self._cut = self.loop.call_later(seconds, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._cut is not None:
            self._cut.cancel()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """End a connection that the application has not ended by now, with 1001 instead of uvicorn's 1012."""
        self._cut_within(STOPPED_WITHIN_S)
        if self.handshake_complete and not self.close_sent and not self.disconnected:
            self.stop_keepalive()
            self.queue.put_nowait(
                {"type": "websocket.disconnect", "code": Close.GOING_AWAY, "reason": STOPPING}
            )
            self.conn.send_close(Close.GOING_AWAY, STOPPING)
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
            self.transport.close()
            return
        super().shutdown()
