"""How a playback over a WebSocket ends when its client did not ask for it, in a real server."""

from __future__ import annotations

import asyncio
import signal
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import signals
from e2e.conftest import StartServer
from e2e.listening import Listener, listening
from e2e.presentation import read
from e2e.server import Server, eventually
from websockets.asyncio.client import connect

pytestmark = pytest.mark.slow

DURATION_S = 20.0
MAX_CREDIT = 4 * 1024 * 1024
STALLED = 8
GUARDED = {
    "APP_ENV": "staging",
    "JWT_SECRET": "a-secret-that-signs-tokens-0123456789",
    "INTERNAL_API_KEY": "a-key-between-two-servers-0123456789",
}


def song(folder: Path, duration_s: float = DURATION_S) -> Path:
    path = folder / "song.wav"
    signals.write(path, signals.music(duration_s, 48_000), 48_000, "wav")
    return path


@pytest.fixture(scope="module")
def track_id(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    found: str = server.publish(song(tmp_path_factory.mktemp("song")))["track_id"]
    return found


def connections(server: Server) -> float:
    """What the server says of itself."""
    for line in server.get("/metrics").text.splitlines():
        if line.startswith("veza_websocket_connections_active "):
            return float(line.split()[1])
    raise AssertionError("the metric is not there")


async def wait_for_connections(server: Server, count: int, *, within_s: float = 10.0) -> None:
    await asyncio.to_thread(
        eventually,
        lambda: connections(server) == count or None,
        f"{count} connections",
        within_s=within_s,
    )


def errors(server: Server) -> list[object]:
    return [line for line in server.log() if line.get("level") == "ERROR"]


async def test_connections_are_counted_up_and_down(start_server: StartServer, tmp_path: Path) -> None:
    """Contract, metrics: also one that is lost without a word."""
    server = start_server()
    query = f"track_id={server.publish(song(tmp_path))['track_id']}"
    assert connections(server) == 0
    async with listening(server, query) as polite, listening(server, query) as rude:
        for listener in (polite, rude):
            await listener.answer("hello")
        assert connections(server) == 2
        rude.socket.transport.abort()
        await wait_for_connections(server, 1)
    await wait_for_connections(server, 0)
    assert errors(server) == []


@pytest.mark.parametrize(
    ("garbage", "code"),
    [("{", 1008), ('{"type":"control"}', 1008), (b"\x00\x01", 1003), ("x" * 5000, 1009), ("{" * 4000, 1008)],
)
async def test_garbage_ends_the_connection_and_nothing_else(
    server: Server, track_id: str, garbage: str | bytes, code: int
) -> None:
    async with (
        listening(server, f"track_id={track_id}") as other,
        listening(server, f"track_id={track_id}") as bad,
    ):
        await other.ask("hello", credit=4_000_000)
        await bad.socket.send(garbage)
        assert (await bad.closed())[0] == code
        await other.ask("play")
        assert len(await other.to_the_end()) == 7
    assert not [line for line in server.log() if line.get("level") == "ERROR"]


async def test_a_stop_closes_with_1001_and_a_hint(start_server: StartServer, tmp_path: Path) -> None:
    """Reliability F18; the server ends as soon as without listeners."""
    server = start_server(DRAIN_DELAY_S=0)
    track_id = server.publish(song(tmp_path))["track_id"]
    async with listening(server, f"track_id={track_id}") as listener:
        await listener.ask("hello", credit=100_000)
        await listener.ask("play")
        await listener.frame()
        server.signal(signal.SIGTERM)
        assert (await listener.said("close"))["data"]["retry_after"] == 1.0
        assert await listener.closed() == (1001, "server_stopping")
    assert await asyncio.to_thread(server.wait_for_exit, within_s=10) == 0
    [line] = server.log("websocket.closed")
    assert (line["status"], line["close_code"]) == (101, 1001)
    assert errors(server) == []


async def stall(stack: AsyncExitStack, server: Server, track_id: str) -> Listener:
    """A listener with small buffers that asks for everything and reads nothing from then on."""
    host, port = server.url.removeprefix("http://").split(":")
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect((host, int(port)))
    url = f"ws://{host}:{port}/stream?track_id={track_id}"
    connecting = connect(url, sock=raw, max_size=None, max_queue=1, proxy=None, close_timeout=0.1)
    listener = Listener(await stack.enter_async_context(connecting))
    await listener.ask("hello", credit=MAX_CREDIT, rendition="320k")
    await listener.ask("play")
    return listener


async def test_an_interrupt_waits_for_nobody(start_server: StartServer, tmp_path: Path) -> None:
    """SIGINT ends at once, also where a listener reads nothing; who does read is told."""
    server = start_server(DRAIN_DELAY_S=25)
    track_id = server.publish(song(tmp_path, 120.0))["track_id"]
    async with AsyncExitStack() as stack:
        await stall(stack, server, track_id)
        listener = await stack.enter_async_context(listening(server, f"track_id={track_id}"))
        await listener.ask("hello", credit=100_000)
        await listener.ask("play")
        await listener.frame()
        server.signal(signal.SIGINT)
        assert await listener.closed() == (1001, "server_stopping")
        assert await asyncio.to_thread(server.wait_for_exit, within_s=10) == 0


async def test_who_does_not_read_is_cut_off_and_disturbs_nobody(
    start_server: StartServer, tmp_path: Path
) -> None:
    """Reliability F21: a message that stands for 10 s ends it, and what waited for it is given up."""
    server = start_server()
    track_id = server.publish(song(tmp_path, 120.0))["track_id"]
    async with AsyncExitStack() as stack:
        for _ in range(STALLED):
            await stall(stack, server, track_id)
        async with listening(server, f"track_id={track_id}") as listener:
            await listener.ask("hello", credit=MAX_CREDIT)
            await listener.ask("play")
            assert len(await listener.to_the_end()) == 1 + 32
            await wait_for_connections(server, 1, within_s=30.0)
            assert (await listener.answer("ping"))["data"]["state"] == "playing"
        await wait_for_connections(server, 0)
    assert errors(server) == []


async def test_a_track_that_is_taken_down_ends_for_its_listeners(
    start_server: StartServer, tmp_path: Path
) -> None:
    """Contract: a deletion takes effect within 5 s; nothing more is asked of the listener."""
    server = start_server()
    track_id = server.publish(song(tmp_path))["track_id"]
    async with listening(server, f"track_id={track_id}") as listener:
        await listener.ask("hello", credit=1)
        await listener.ask("play")
        await listener.frame()
        answer = server.client.delete(f"/api/v1/internal/tracks/{track_id}", headers=server.internal)
        assert answer.is_success, answer.text
        async with asyncio.timeout(5.0):
            assert (await listener.said("close"))["data"]["code"] == "track_not_found"
            assert (await listener.closed())[0] == 4404


async def test_a_track_that_becomes_private_ends_for_guests(
    start_server: StartServer, tmp_path: Path
) -> None:
    """Contract: a change of visibility takes effect within 5 s."""
    server = start_server(PUBLIC_PLAYBACK=True, **GUARDED)
    path = song(tmp_path)
    track_id = server.publish(path, visibility="public")["track_id"]
    async with listening(server, f"track_id={track_id}") as listener:
        await listener.ask("hello", credit=1)
        await listener.ask("play")
        await listener.frame()
        signals.write(path, signals.sine(440.0, 8.0), 48_000, "wav")  # the same file would be the same job
        await asyncio.to_thread(server.publish, path, track_id=track_id, visibility="private")
        assert (await listener.said("close"))["data"]["code"] == "token_needed"
        assert (await listener.closed())[0] == 4401


async def test_a_replaced_version_is_heard_to_its_end(start_server: StartServer, tmp_path: Path) -> None:
    """Contract, storage: it stays fetchable; who connects from then on hears the new one."""
    server = start_server()
    path = song(tmp_path)
    track_id = server.publish(path)["track_id"]
    before = read(server.client, server.master_url(track_id))["128k"]
    async with listening(server, f"track_id={track_id}") as listener:
        await listener.ask("hello", credit=1)
        await listener.ask("play")
        await listener.frame()
        first, payload = await listener.let_one_come()
        assert payload == before.segments[first.number]
        signals.write(path, signals.sine(440.0, 8.0), 48_000, "wav")
        await asyncio.to_thread(server.publish, path, track_id=track_id)
        after = read(server.client, server.master_url(track_id))["128k"]
        assert after.segments[0] != before.segments[0]
        await listener.ask("credit", bytes=MAX_CREDIT)
        rest = await listener.to_the_end()
        assert tuple(payload for _, payload in rest) == before.segments[1:]
        async with listening(server, f"track_id={track_id}") as newcomer:
            await newcomer.ask("hello", credit=MAX_CREDIT)
            await newcomer.ask("play")
            _, *segments = await newcomer.to_the_end()
            assert tuple(payload for _, payload in segments) == after.segments
