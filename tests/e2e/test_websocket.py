"""WS /stream of a real server, spoken to by a client of others (websockets)."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2
import pytest
import signals
from e2e.conftest import StartServer
from e2e.listening import listening
from e2e.presentation import Rung, decode_time, read
from e2e.server import Server
from websockets.exceptions import InvalidStatus

from media_server.websocket.messages import Flag, Kind

DURATION_S = 20.0
GUARDED = {
    "APP_ENV": "staging",
    "JWT_SECRET": "a-secret-that-signs-tokens-0123456789",
    "INTERNAL_API_KEY": "a-key-between-two-servers-0123456789",
}


@pytest.fixture(scope="module")
def track_id(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("song") / "song.wav"
    signals.write(path, signals.music(DURATION_S, 48_000), 48_000, "wav")
    found: str = server.publish(path)["track_id"]
    return found


@pytest.fixture(scope="module")
def rungs(server: Server, track_id: str) -> dict[str, Rung]:
    """What HLS serves of the track, of both families."""
    master_url = server.master_url(track_id)
    opus_url = master_url.replace("master.m3u8", "master-opus.m3u8")
    return read(server.client, master_url) | read(server.client, opus_url)


@pytest.mark.parametrize("name", ["128k", "192k", "320k", "opus-128"])
async def test_the_bytes_are_those_of_hls(
    server: Server, track_id: str, rungs: dict[str, Rung], name: str
) -> None:
    """Every transport carries the same packets."""
    async with listening(server, f"track_id={track_id}") as listener:
        await listener.ask("hello", rendition=name, credit=4_000_000)
        await listener.ask("play")
        (init_header, init), *segments = await listener.to_the_end()
        assert (init_header.kind, init) == (Kind.INIT, rungs[name].init)
        assert tuple(payload for _, payload in segments) == rungs[name].segments
        for header, payload in segments:
            assert header.first_sample == decode_time(payload) - rungs[name].media_time
        assert (await listener.said("end"))["data"] == {"position": DURATION_S}


async def test_no_more_than_the_credit_and_one_frame_comes(server: Server, track_id: str) -> None:
    """A frame goes out while a byte of credit is left; each answer counts what came before it, no more."""
    async with listening(server, f"track_id={track_id}") as listener:
        await listener.ask("hello", credit=1)
        await listener.ask("play")
        init, _ = await listener.frame()
        assert init.kind is Kind.INIT
        for size in (700, 100_000, 10, 70_000):
            await listener.ask("credit", bytes=size)
            assert (await listener.answer("ping"))["data"]["credit"] == listener.credit_bytes
            await listener.used_up()
            assert (await listener.answer("ping"))["data"]["credit"] == listener.credit_bytes
            assert -80_000 < listener.credit_bytes <= 0, "one frame at most beyond it"


async def test_a_seek_goes_there_and_nothing_older_follows(
    server: Server, track_id: str, rungs: dict[str, Rung]
) -> None:
    async with listening(server, f"track_id={track_id}&position=15") as listener:
        await listener.ask("hello", credit=4_000_000)
        await listener.ask("play")
        _, (first, _), *_ = await listener.to_the_end()
        assert (first.number, first.flags) == (3, Flag.FIRST)
        await listener.ask("seek", position=4.0)
        assert (await listener.said("seek"))["data"]["position"] == 4.0
        frames = await listener.to_the_end()
        assert [header.number for header, _ in frames] == [1, 2, 3, 4, 5]
        assert tuple(payload for _, payload in frames) == rungs["128k"].segments[1:]


async def test_a_pause_stops_the_media_until_it_is_taken_back(server: Server, track_id: str) -> None:
    async with listening(server, f"track_id={track_id}") as listener:
        await listener.ask("hello")
        await listener.ask("play")
        await listener.ask("pause")
        await listener.ask("credit", bytes=4_000_000)
        await listener.ask("ping")
        assert (await listener.said("ping"))["data"]["state"] == "paused"
        assert listener.credit_bytes == 4_000_000
        await listener.ask("resume")
        assert len(await listener.to_the_end()) == 7


async def test_a_rendition_changes_at_the_boundary_of_a_segment(
    server: Server, track_id: str, rungs: dict[str, Rung]
) -> None:
    """Up, to another codec and back: each segment of the grid is there, each behind its own init segment."""
    async with listening(server, f"track_id={track_id}") as listener:
        await listener.ask("hello", credit=1)
        renditions = (await listener.said("ready"))["data"]["renditions"]
        names = [one["name"] for one in renditions]
        assert {one["codec"] for one in renditions} == {"mp4a.40.2", "Opus"}
        await listener.ask("play")
        await listener.frame()
        for wanted in ("320k", "opus-128", "128k"):
            header, _ = await listener.let_one_come()
            assert header.kind is Kind.SEGMENT
            end = header.first_sample + 184_320
            await listener.ask("rendition", name=wanted)
            event = await listener.said("rendition_changed")
            assert event["data"]["name"] == wanted
            assert event["data"]["from"] * 48_000 <= end
            init, payload = await listener.let_one_come()
            assert (init.kind, names[init.rendition]) == (Kind.INIT, wanted)
            assert payload == rungs[wanted].init
            header, payload = await listener.let_one_come()
            assert (names[header.rendition], header.flags) == (wanted, Flag.FIRST)
            assert payload == rungs[wanted].segments[header.number]
            assert header.first_sample <= end


async def test_a_control_message_is_answered_at_once(server: Server, track_id: str) -> None:
    """Round trips are measured by the benchmark; here only that the clocks can be compared."""
    async with listening(server, f"track_id={track_id}") as listener:
        sent = {
            "type": "control",
            "action": "ping",
            "data": {},
            "request_id": "1",
            "timestamp": 1_767_225_600_123,
        }
        await listener.socket.send(json.dumps(sent))
        reply = await listener.said("ping")
        assert (reply["request_id"], reply["data"]["client_timestamp"]) == ("1", 1_767_225_600_123)
        assert reply["timestamp"] > 1_767_225_600_000


async def test_a_refused_handshake_is_a_problem(start_server: StartServer, tmp_path: Path) -> None:
    """401, 403 and 404 before there is a WebSocket; and no token in the log."""
    server = start_server(**GUARDED)
    path = tmp_path / "song.wav"
    signals.write(path, signals.music(2.0, 48_000), 48_000, "wav")
    track_id = server.publish(path, visibility="private")["track_id"]
    for query, headers, status in (
        (f"track_id={track_id}", {}, httpx2.codes.UNAUTHORIZED),
        (f"track_id={track_id}&token=eyJhbGciOiJIUzI1NiJ9.e30.bm8", {}, httpx2.codes.UNAUTHORIZED),
        (f"track_id={track_id}", {"Authorization": "Bearer nonsense"}, httpx2.codes.UNAUTHORIZED),
    ):
        with pytest.raises(InvalidStatus) as refused:
            async with listening(server, query, **headers):
                pass
        response = refused.value.response
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"
        assert response.body is not None
        assert json.loads(response.body)["status"] == status
    assert "eyJhbGciOiJIUzI1NiJ9" not in server.output
    assert not [line for line in server.log() if line.get("level") == "ERROR"]
