"""A listener over a WebSocket: the protocol's other side, on a library of others (websockets).

Owns: what a client asks, counts and takes apart. Source: config/contract/websocket.md.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from e2e.server import Server
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from media_server.websocket.messages import HEADER, Flag, FrameHeader

WITHIN_S = 20.0


class Listener:
    """The client's side: what it asked for and what came.

    `credit_bytes` is what it granted less what it received; what it grants is at most the server's bound.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.credit_bytes = 0
        self._ids = itertools.count(1)

    async def ask(self, action: str, **data: Any) -> str:
        request_id = str(next(self._ids))
        self.credit_bytes += data.get("credit", 0) + data.get("bytes", 0)
        message = {"type": "control", "action": action, "data": data, "request_id": request_id}
        await self.socket.send(json.dumps(message))
        return request_id

    async def next(self) -> dict[str, Any] | tuple[FrameHeader, bytes]:
        async with asyncio.timeout(WITHIN_S):
            message = await self.socket.recv()
        if isinstance(message, str):
            found: dict[str, Any] = json.loads(message)
            return found
        self.credit_bytes -= len(message)
        return FrameHeader.unpack(message), message[HEADER.size :]

    async def said(self, action: str) -> dict[str, Any]:
        """The next control message of this name; frames before it are counted and passed over."""
        while True:
            message = await self.next()
            if isinstance(message, dict) and message["action"] == action:
                return message

    async def frame(self) -> tuple[FrameHeader, bytes]:
        while isinstance(message := await self.next(), dict):
            pass
        return message

    async def answer(self, action: str, **data: Any) -> dict[str, Any]:
        """What is said to this very command."""
        request_id = await self.ask(action, **data)
        while (reply := await self.said(action))["request_id"] != request_id:
            pass
        return reply

    async def let_one_come(self) -> tuple[FrameHeader, bytes]:
        """The next frame, and no other: the credit is one byte then, and the frame uses it up."""
        assert self.credit_bytes <= 0
        await self.ask("credit", bytes=1 - self.credit_bytes)
        return await self.frame()

    async def used_up(self) -> int:
        """Take what the credit brings; how many frames that were."""
        count = 0
        while self.credit_bytes > 0:
            await self.frame()
            count += 1
        return count

    async def to_the_end(self) -> list[tuple[FrameHeader, bytes]]:
        frames = [await self.frame()]
        while Flag.LAST not in frames[-1][0].flags:
            frames.append(await self.frame())
        return frames

    async def closed(self) -> tuple[int, str]:
        """How the server ended it."""
        try:
            while True:
                await self.next()
        except ConnectionClosed:
            assert self.socket.close_code is not None
            return self.socket.close_code, self.socket.close_reason or ""


@asynccontextmanager
async def listening(server: Server, query: str, **headers: str) -> AsyncIterator[Listener]:
    """A listener that is let in."""
    url = f"{server.url.replace('http', 'ws', 1)}/stream?{query}"
    async with connect(url, max_size=None, additional_headers=headers, proxy=None) as socket:
        yield Listener(socket)
