"""media_server/websocket/session.py: real protocol and storage, and messages as a server would bring them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import presentations
import pytest
from starlette.websockets import WebSocket

from hls.asset import Asset
from media_server.errors import NotFound, Unavailable
from media_server.metrics import Metrics
from media_server.storage.assets import Assets, version_prefix
from media_server.storage.cache import ByteCache
from media_server.storage.memory import MemoryStorage
from media_server.websocket import session as module
from media_server.websocket.messages import HEADER, Close, FrameHeader, Kind
from media_server.websocket.protocol import Ending, Playback
from media_server.websocket.session import Session

SONG = presentations.song(20.0)
WITHIN_S = 10.0


class SlowStorage(MemoryStorage):
    """Reads that wait until they may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_read = asyncio.Event()
        self.may_read.set()

    async def get(self, key: str) -> bytes:
        await self.may_read.wait()
        return await super().get(key)


@dataclass
class Connection:
    """A session that runs, and its client's side."""

    storage: SlowStorage
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    metrics: Metrics = field(default_factory=Metrics)
    asset: Asset | Exception = SONG
    reads: bool = True
    ended: asyncio.Task[Ending | None] | None = None

    def __post_init__(self) -> None:
        self._to_server: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._to_client: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._reading = asyncio.Event()
        if self.reads:
            self._reading.set()

    def start(self) -> None:
        socket = WebSocket({"type": "websocket", "headers": []}, self._to_server.get, self._send)
        self._to_server.put_nowait({"type": "websocket.connect"})

        async def admitted() -> Asset:
            if isinstance(self.asset, Exception):
                raise self.asset
            return self.asset

        async def run() -> Ending | None:
            await socket.accept()
            playback = Playback(SONG, position=0, now_s=asyncio.get_running_loop().time(), unix_ms=0)
            session = Session(
                socket,
                playback,
                assets=Assets(self.storage, ByteCache(self.storage, 10**9)),
                metrics=self.metrics,
                admitted=admitted,
                stopping=self.stopping,
                writable=self._reading,
                asked_s=asyncio.get_running_loop().time(),
                now=asyncio.get_running_loop().time,
            )
            return await session.run(SONG.track_id)

        self.ended = asyncio.create_task(run())

    async def _send(self, message: Any) -> None:
        if message["type"] != "websocket.accept":
            await self._reading.wait()
        self._to_client.put_nowait(message)

    def ask(self, action: str, **data: Any) -> None:
        text = json.dumps({"type": "control", "action": action, "data": data, "request_id": action})
        self._to_server.put_nowait({"type": "websocket.receive", "text": text})

    def say(self, **message: Any) -> None:
        self._to_server.put_nowait({"type": "websocket.receive", **message})

    def hold(self) -> None:
        """Read nothing more for now."""
        self._reading.clear()

    def release(self) -> None:
        self._reading.set()

    def leave(self) -> None:
        self._to_server.put_nowait({"type": "websocket.disconnect", "code": 1001})

    async def message(self) -> dict[str, Any]:
        async with asyncio.timeout(WITHIN_S):
            return await self._to_client.get()

    async def said(self, action: str) -> dict[str, Any]:
        """The next control message of this name; what comes before is passed over."""
        while True:
            message = await self.message()
            if message.get("text") and (found := json.loads(message["text"]))["action"] == action:
                return dict(found)

    async def frame(self) -> tuple[FrameHeader, bytes]:
        while (frame := (await self.message()).get("bytes")) is None:
            pass
        return FrameHeader.unpack(frame), frame[HEADER.size :]

    async def ending(self) -> Ending | None:
        assert self.ended is not None
        async with asyncio.timeout(WITHIN_S):
            return await self.ended

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
async def storage() -> SlowStorage:
    storage = SlowStorage()
    for rendition in SONG.renditions:
        prefix = version_prefix(SONG.track_id, SONG.version) + rendition.name + "/"
        for file in (rendition.init, *rendition.segments):
            data = presentations.content(prefix + file.name, file.bytes)
            await storage.put(prefix + file.name, data, media_type="audio/mp4")
    return storage


@asynccontextmanager
async def connected(storage: SlowStorage, **values: Any) -> AsyncIterator[Connection]:
    connection = Connection(storage=storage, **values)
    connection.start()
    try:
        yield connection
    finally:
        connection.leave()
        await connection.ending()


async def test_the_stored_files_come_in_order_and_then_the_end(storage: SlowStorage) -> None:
    async with connected(storage) as connection:
        connection.ask("hello", credit=4_000_000)
        connection.ask("play")
        rendition = SONG.rendition("128k")
        for number, file in enumerate((rendition.init, *rendition.segments)):
            header, payload = await connection.frame()
            key = f"{version_prefix(SONG.track_id, SONG.version)}128k/{file.name}"
            assert payload == await storage.get(key)
            assert (header.kind, header.number) == (
                (Kind.INIT, 0) if number == 0 else (Kind.SEGMENT, number - 1)
            )
        await connection.said("end")
        connection.ask("stop")
        await connection.said("stop")
        assert await connection.message() == {"type": "websocket.close", "code": 1000, "reason": "stopped"}


async def test_a_slow_storage_holds_up_no_answer(storage: SlowStorage) -> None:
    """Control round trips: what a seek has made stale is not waited for either."""
    async with connected(storage) as connection:
        storage.may_read.clear()
        connection.ask("hello", credit=4_000_000)
        connection.ask("play")
        await connection.said("play")
        connection.ask("ping")
        assert (await connection.said("ping"))["data"]["state"] == "playing"
        connection.ask("seek", position=15.0)
        await connection.said("seek")
        storage.may_read.set()
        headers = [(await connection.frame())[0] for _ in range(2)]
        assert headers[-1].number == 3


async def test_listeners_and_their_wait_are_counted(storage: SlowStorage) -> None:
    """Contract, metrics."""
    async with connected(storage) as connection:
        connection.ask("hello", credit=100_000)
        await connection.said("ready")
        assert connection.metric("veza_websocket_connections_active") == 1
        assert connection.metric("veza_stream_listeners", transport="websocket") == 1
        connection.ask("play")
        await connection.frame()
        await connection.frame()
        connection.ask("ping")
        await connection.said("ping")
        assert connection.metric("veza_stream_playback_start_seconds_count", transport="websocket") == 1
        sent = connection.metric("veza_stream_media_sent_bytes_total")
        assert sent is not None
        assert sent > 60_000
    assert connection.metric("veza_websocket_connections_active") == 0
    assert connection.metric("veza_stream_listeners", transport="websocket") == 0


async def test_a_stop_of_the_server_ends_it_at_once(storage: SlowStorage) -> None:
    """Reliability F18."""
    async with connected(storage) as connection:
        connection.ask("hello")
        await connection.said("ready")
        connection.stopping.set()
        assert (await connection.said("close"))["data"] == {
            "code": "server_stopping",
            "message": "the server stops, come again",
            "retry_after": 1.0,
        }
        assert (await connection.message())["code"] == Close.GOING_AWAY


async def test_a_track_that_is_gone_ends_it(storage: SlowStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contract: a deletion takes effect within 5 s. A storage that is away for a while does not matter."""
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.01)
    async with connected(storage) as connection:
        connection.ask("hello", credit=1)
        await connection.said("ready")
        connection.asset = replace(SONG, state="growing")
        assert (await connection.said("updated"))["data"]["complete"] is False
        connection.asset = Unavailable("storage_down", "later")
        connection.ask("ping")
        await connection.said("ping")
        connection.asset = NotFound("track_not_found", "there is no such track")
        assert (await connection.said("close"))["data"]["code"] == "track_not_found"
        assert (await connection.message())["code"] == Close.NOT_FOUND


async def test_a_file_that_cannot_be_had_ends_it_and_says_so(storage: SlowStorage) -> None:
    prefix = version_prefix(SONG.track_id, SONG.version)
    await storage.delete(f"{prefix}128k/{SONG.rendition('128k').segments[0].name}")
    async with connected(storage) as connection:
        connection.ask("hello", credit=100_000)
        connection.ask("play")
        assert (await connection.said("close"))["data"]["code"] == "object_not_found"


async def test_who_does_not_read_is_left_to_itself(
    storage: SlowStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reliability F21: nobody waits for ever for one client, and no goodbye is tried."""
    monkeypatch.setattr(module, "SEND_WITHIN_S", 0.05)
    connection = Connection(storage=storage, reads=False)
    connection.start()
    connection.ask("hello", credit=1)
    assert await connection.ending() is None


async def test_a_client_that_leaves_ends_it_also_while_a_file_is_read(storage: SlowStorage) -> None:
    async with connected(storage) as connection:
        storage.may_read.clear()
        connection.ask("hello", credit=100_000)
        connection.ask("play")
        await connection.said("play")
        connection.leave()
        assert await connection.ending() is None


async def test_binary_and_broken_messages_end_it(storage: SlowStorage) -> None:
    for message, code in (({"bytes": b"\x00"}, 1003), ({"text": "{"}, 1008)):
        async with connected(storage) as connection:
            connection.say(**message)
            await connection.said("close")
            assert (await connection.message())["code"] == code


async def test_a_file_that_is_read_holds_up_no_end(
    storage: SlowStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reliability F21: who does not read is gone at once, though its next file is still on its way."""
    monkeypatch.setattr(module, "SEND_WITHIN_S", 0.05)
    connection = Connection(storage=storage)
    connection.start()
    storage.may_read.clear()
    connection.ask("hello", credit=100_000)
    connection.ask("play")
    await connection.said("play")
    connection.hold()
    connection.ask("ping")
    assert await connection.ending() is None
    assert connection.metric("veza_websocket_connections_active") == 0


async def test_any_number_of_commands_leave_one_file_to_read(storage: SlowStorage) -> None:
    """A flood of seeks: what is not wanted any more is not waited for, and what is sent is where it went."""
    async with connected(storage) as connection:
        storage.may_read.clear()
        connection.ask("hello", credit=4_000_000)
        connection.ask("play")
        for position in range(18):
            connection.ask("seek", position=position)
            connection.ask("rendition", name=("320k", "opus-128")[position % 2])
        connection.ask("stop")
        await connection.said("stop")
        assert await connection.ending() == Ending(close=Close.NORMAL, reason="stopped")


async def test_no_frame_is_made_for_who_has_one_unread(storage: SlowStorage) -> None:
    """Reliability F21; and what a seek has made stale meanwhile is not sent when there is room again."""
    async with connected(storage) as connection:
        storage.may_read.clear()
        connection.ask("hello", credit=4_000_000)
        connection.ask("play")
        await connection.said("play")
        connection.hold()
        storage.may_read.set()
        connection.ask("seek", position=15.0)
        connection.release()
        await connection.said("seek")
        headers = [(await connection.frame())[0] for _ in range(2)]
        assert [(one.kind, one.number) for one in headers] == [(Kind.INIT, 0), (Kind.SEGMENT, 3)]
