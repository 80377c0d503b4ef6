"""media_server/websocket/wire.py, in a real uvicorn, against clients that play by no rules."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn

from media_server.websocket import wire
from media_server.websocket.messages import MAX_MESSAGE_BYTES
from media_server.websocket.wire import FRAMES_AT_ONCE, MAX_FRAGMENTS, WRITABLE, WebSocketWire

TEXT, CLOSE, PING, PONG, CONTINUATION = 0x1, 0x8, 0x9, 0xA, 0x0
WITHIN_S = 10.0
BIG = 8 * 1024 * 1024
"""More than the socket buffers of both sides hold."""


class Uvicorn(uvicorn.Server):
    """Without signal handlers: the test's own process must keep its."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass
class App:
    """Accepts, sends what the test wants, and keeps what it hears."""

    sends: list[bytes] = field(default_factory=list)
    refuses: bool = False
    returns: bool = False
    admits: asyncio.Event | None = None
    heard: list[dict[str, Any]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    sent: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    writable: asyncio.Event = field(default_factory=asyncio.Event)
    lost: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await receive()
            self.writable = scope["extensions"][WRITABLE]
            self.asked.set()
            if self.refuses:
                await send({"type": "websocket.http.response.start", "status": 404, "headers": []})
                await send({"type": "websocket.http.response.body", "body": b"no"})
                return
            if self.admits is not None:
                await self.admits.wait()
            await send({"type": "websocket.accept"})
            for data in self.sends:
                await send({"type": "websocket.send", "bytes": data})
                self.sent.set()
            if self.returns:
                return
            while (message := await receive())["type"] != "websocket.disconnect":
                self.heard.append(message)
                await send({"type": "websocket.send", "text": "heard"})
            self.heard.append(message)
        except OSError:
            self.heard.append({"type": "left"})
        finally:
            self.ended.set()


class Client:
    """Raw frames over a socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, opcode: int, payload: bytes = b"", *, final: bool = True) -> None:
        """One frame, masked with zeros (RFC 6455 5.3)."""
        length = (
            struct.pack(">B", 0x80 | len(payload))
            if len(payload) < 126
            else struct.pack(">BH", 0x80 | 126, len(payload))
        )
        self.writer.write(bytes([0x80 * final | opcode]) + length + bytes(4) + payload)

    async def frame(self) -> tuple[int, bytes]:
        async with asyncio.timeout(WITHIN_S):
            first, second = await self.reader.readexactly(2)
            length = second & 0x7F
            if length == 126:
                length = int.from_bytes(await self.reader.readexactly(2), "big")
            elif length == 127:
                length = int.from_bytes(await self.reader.readexactly(8), "big")
            return first & 0x0F, await self.reader.readexactly(length)

    async def close_code(self) -> int:
        while (frame := await self.frame())[0] != CLOSE:
            pass
        return int.from_bytes(frame[1][:2], "big")


class Running:
    """A server on a free port."""

    def __init__(self, app: App) -> None:
        class Observed(WebSocketWire):
            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                app.lost.set()

        self.app = app
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.server = Uvicorn(
            uvicorn.Config(
                app,
                lifespan="off",
                log_config=None,
                access_log=False,
                ws=Observed,
                ws_max_size=MAX_MESSAGE_BYTES,
                ws_per_message_deflate=False,
                timeout_graceful_shutdown=1,
            )
        )
        self.task = asyncio.create_task(self.server.serve(sockets=[self.listening]))

    async def ask(self) -> Client:
        """A client that has asked to be let in."""
        reader, writer = await asyncio.open_connection(*self.listening.getsockname(), limit=2**20)
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n".encode()
        )
        return Client(reader, writer)

    async def connect(self) -> tuple[Client, bytes]:
        """A client, and the head of the answer to its handshake."""
        client = await self.ask()
        async with asyncio.timeout(WITHIN_S):
            head = await client.reader.readuntil(b"\r\n\r\n")
        return client, head

    async def stop(self) -> None:
        self.server.should_exit = True
        async with asyncio.timeout(WITHIN_S):
            await self.task


@contextlib.asynccontextmanager
async def running(**app: Any) -> AsyncIterator[tuple[Running, Client]]:
    server = Running(App(**app))
    client, head = await server.connect()
    assert head.startswith(b"HTTP/1.1 101 " if not server.app.refuses else b"HTTP/1.1 404 ")
    assert b"permessage-deflate" not in head, "media do not get smaller"
    try:
        yield server, client
    finally:
        client.writer.close()
        await server.stop()


async def test_messages_and_pings_are_answered() -> None:
    async with running() as (_, client):
        client.send(PING, b"1")
        assert await client.frame() == (PONG, b"1")
        client.send(TEXT, b"a", final=False)
        client.send(CONTINUATION, b"b")
        assert await client.frame() == (TEXT, b"heard")


async def test_fragments_without_end_end_the_connection() -> None:
    """RFC 6455 5.4 sets no bound, and empty ones never reach the size limit."""
    async with running() as (_, client):
        client.send(TEXT, b"a", final=False)
        for _ in range(MAX_FRAGMENTS + 1):
            client.send(CONTINUATION, b"", final=False)
        assert await client.close_code() == 1008


async def test_a_message_over_the_limit_ends_the_connection_by_its_header_alone() -> None:
    async with running() as (_, client):
        client.writer.write(bytes([0x80 | TEXT, 0x80 | 127]) + struct.pack(">Q", 2**30) + bytes(4))
        assert await client.close_code() == 1009


async def test_pings_of_a_client_that_does_not_read_pile_up_nothing() -> None:
    """Behind unread media a few pongs wait; many pings make no as many answers."""
    async with running(sends=[bytes(BIG)]) as (_, client):
        for _ in range(FRAMES_AT_ONCE - 1):
            client.send(PING, bytes(100))
        await client.writer.drain()
        kinds = []
        client.send(TEXT, b"the last word")
        while (kind := (await client.frame())[0]) != TEXT:
            kinds.append(kind)
        assert kinds.count(PONG) < FRAMES_AT_ONCE // 2


@pytest.mark.parametrize("opcode", [TEXT, PING, PONG])
async def test_a_flood_of_empty_frames_ends_the_connection_and_is_not_taken_apart(opcode: int) -> None:
    """Reliability, WebSocket flood: tens of thousands fit in one read, and each costs the loop its time."""
    async with running() as (server, client):
        client.writer.write((bytes([0x80 | opcode, 0x80]) + bytes(4)) * 40_000)
        assert await client.close_code() == 1008
        await server.app.ended.wait()
        heard = [message for message in server.app.heard if message["type"] == "websocket.receive"]
        assert len(heard) <= FRAMES_AT_ONCE


async def test_who_breaks_the_form_before_it_is_let_in_is_cut_off_and_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """There is no WebSocket yet that a close frame could end."""
    async with contextlib.AsyncExitStack() as stack:
        server = Running(App(admits=asyncio.Event()))
        stack.push_async_callback(server.stop)
        client = await server.ask()
        async with asyncio.timeout(WITHIN_S):
            await server.app.asked.wait()
            client.send(0x3, b"reserved")
            await server.app.lost.wait()
            assert server.app.admits is not None
            server.app.admits.set()
            await server.app.ended.wait()
        client.writer.close()
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_connection_that_the_application_left_is_cut_though_nobody_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Reliability F21: what waits for a stopped reader is given up."""
    monkeypatch.setattr(wire, "CLOSED_WITHIN_S", 0.1)
    async with running(sends=[bytes(BIG)], returns=True) as (server, _):
        async with asyncio.timeout(WITHIN_S):
            await server.app.lost.wait()


async def test_a_stop_that_the_application_has_not_seen_closes_with_1001() -> None:
    """uvicorn itself says 1012, which tells a browser nothing."""
    async with running() as (server, client):
        server.server.should_exit = True
        assert await client.close_code() == 1001
        await server.app.ended.wait()
        assert server.app.heard[-1]["code"] == 1001


async def test_a_stop_waits_for_no_client_that_does_not_read(caplog: pytest.LogCaptureFixture) -> None:
    """Reliability F18, F21: it is cut before the application is cancelled, which would look like a bug."""
    async with running(sends=[bytes(BIG), b"more"]) as (server, _):
        async with asyncio.timeout(WITHIN_S):
            await server.app.sent.wait()
        assert not server.app.writable.is_set()
        await server.stop()
        assert server.app.heard[-1]["type"] in {"left", "websocket.disconnect"}
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_refusal_is_an_answer_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async with running(refuses=True) as (_, client):
        async with asyncio.timeout(WITHIN_S):
            assert await client.reader.read() == b"no"
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_what_is_sent_after_the_end_is_the_clients_leaving_and_no_mistake() -> None:
    """The application may be sending when the parser meets garbage."""
    async with running() as (server, client):
        client.send(TEXT, b"a")
        client.send(0x3, b"reserved")
        await server.app.ended.wait()
        assert server.app.heard[-1]["type"] in {"left", "websocket.disconnect"}
