"""POST /whep/{track_id} of a real server, heard by a client of others (aiortc).

What is stored is read from HLS by FFmpeg, so that nothing of the way to RTP is on both sides.
"""

from __future__ import annotations

import asyncio
import io
import re
import signal
from pathlib import Path

import av
import httpx2
import pytest
import signals
from e2e.conftest import StartServer
from e2e.presentation import read
from e2e.server import Server, eventually
from e2e.whep_client import WhepClient

DURATION_S = 6.5
FRAME = 960
PRIMING = 120
WITHIN_S = 10.0
TRANSPORT = 'veza_stream_listeners{transport="webrtc"}'
TURN = {"STUN_URLS": "stun:stun.example:3478", "TURN_URLS": "turn:turn.example:3478?transport=udp"}
GUARDED = {
    "APP_ENV": "staging",
    "JWT_SECRET": "a-secret-that-signs-tokens-0123456789",
    "INTERNAL_API_KEY": "a-key-between-two-servers-0123456789",
    "CORS_ALLOWED_ORIGINS": "https://app.example",
}


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("song") / "song.wav"
    signals.write(path, signals.music(DURATION_S, 48_000), 48_000, "wav")
    return path


@pytest.fixture(scope="module")
def track_id(server: Server, song: Path) -> str:
    found: str = server.publish(song)["track_id"]
    return found


@pytest.fixture(scope="module")
def stored(server: Server, track_id: str) -> list[bytes]:
    """The Opus packets of the track as FFmpeg finds them in what HLS serves."""
    [rung] = read(server.client, f"{server.url}/hls/{track_id}/master-opus.m3u8").values()
    with av.open(io.BytesIO(rung.init + b"".join(rung.segments)), "r") as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def url_of(server: Server, track_id: str, query: str = "") -> str:
    return f"{server.url}/whep/{track_id}{query}"


def listeners(server: Server) -> float:
    """How many there are, as Prometheus is told."""
    for line in server.get("/metrics").text.splitlines():
        if line.startswith(TRANSPORT):
            return float(line.rpartition(" ")[2])
    return 0.0


async def eventually_listening(server: Server, count: int) -> None:
    def look() -> bool | None:
        return listeners(server) == count or None

    # in a thread: the clients here live on this loop
    await asyncio.to_thread(eventually, look, f"{count} listeners", within_s=WITHIN_S)


async def arrived(client: WhepClient, count: int) -> None:
    """Wait until so many packets have come."""
    async with asyncio.timeout(WITHIN_S):
        while len(client.arrivals) < count:
            client.news.clear()
            await client.news.wait()


async def over(client: WhepClient) -> None:
    """Wait until the client has been told goodbye."""
    async with asyncio.timeout(WITHIN_S):
        await client.ended.wait()


async def test_a_track_is_sent_as_it_is_stored_to_its_end(
    server: Server, track_id: str, stored: list[bytes]
) -> None:
    """Byte for byte and in order; RFC 7587 4.1: a frame of 20 ms is 960 of the clock; then a goodbye."""
    async with WhepClient(url_of(server, track_id)) as client:
        await client.begin()
        await over(client)
        assert client.payloads == stored
        first = client.arrivals[0]
        assert [(one.timestamp - first.timestamp) & 0xFFFFFFFF for one in client.arrivals] == [
            FRAME * number for number in range(len(stored))
        ]
        assert [(one.sequence_number - first.sequence_number) & 0xFFFF for one in client.arrivals] == list(
            range(len(stored))
        )
    server.wait_for_log("listener.ended", within_s=WITHIN_S, track_id=track_id, ending="played")
    await eventually_listening(server, 0)
    assert (await gone(client)).status_code == httpx2.codes.NOT_FOUND


async def gone(client: WhepClient) -> httpx2.Response:
    """The answer to a DELETE of a session that should be over."""
    async with httpx2.AsyncClient(trust_env=False) as http:
        return await http.delete(client.location)


async def test_the_packets_come_in_real_time(server: Server, track_id: str) -> None:
    """No burst: half of what the packets last is far from both it and the machine's own delays."""
    async with WhepClient(url_of(server, track_id)) as client:
        await client.begin()
        await arrived(client, 100)
        first, *_, last = client.arrivals[:100]
        assert last.at_s - first.at_s > 99 * 0.02 / 2


@pytest.mark.parametrize("position_s", [0.0065, 0.02, 3.0, 5.123])
async def test_it_begins_with_the_packet_that_holds_the_position(
    server: Server, track_id: str, stored: list[bytes], position_s: float
) -> None:
    """Sample 0 lies behind the encoder's priming, in the first packet."""
    first = (round(position_s * 48_000) + PRIMING) // FRAME
    async with WhepClient(url_of(server, track_id, f"?position={position_s}")) as client:
        await client.begin()
        await arrived(client, 20)
        assert client.payloads[:20] == stored[first : first + 20]
        assert f"a=range:npt={position_s:.3f}-{DURATION_S:.3f}" in client.answer


async def test_the_answer_is_opus_in_stereo_from_here(server: Server, track_id: str) -> None:
    """RFC 7587 7.1 stereo, RFC 8839 every candidate at once, RFC 9725 4.4.2 one bundled section."""
    async with WhepClient(url_of(server, track_id)) as client:
        response = await client.begin()
        assert response.headers["content-type"] == "application/sdp"
        assert re.fullmatch(rf"/whep/{track_id}/[\w-]{{22}}", response.headers["location"])
        assert response.headers["cache-control"] == "no-store"
        lines = client.answer.splitlines()
        [offered] = re.findall(r"a=rtpmap:(\d+) opus/48000/2", client.connection.localDescription.sdp)
        assert f"a=fmtp:{offered} stereo=1;sprop-stereo=1;maxaveragebitrate=128000" in lines
        assert "a=sendonly" in lines
        assert "a=end-of-candidates" in lines
        assert any(line.startswith("a=candidate:") and " 127.0.0.1 " in line for line in lines)
        assert not any("srflx" in line or "relay" in line for line in lines)


async def test_delete_ends_it_at_once(server: Server, track_id: str) -> None:
    """draft-ietf-wish-whep 4.2: DELETE ends the session; its address is gone then."""
    async with WhepClient(url_of(server, track_id)) as client:
        await client.begin()
        await arrived(client, 5)
        await eventually_listening(server, 1)
        assert (await client.end()).status_code == httpx2.codes.OK
        await over(client)
        assert len(client.arrivals) < DURATION_S * 50, "not to its end"
        await eventually_listening(server, 0)
        assert (await client.end()).status_code == httpx2.codes.NOT_FOUND


async def test_a_session_is_not_ended_through_another_track(server: Server, track_id: str) -> None:
    async with WhepClient(url_of(server, track_id)) as client:
        await client.begin()
        other = client.location.replace(track_id, "00000000-0000-4000-8000-000000000000")
        response = await asyncio.to_thread(server.client.delete, other)
        assert response.status_code == httpx2.codes.NOT_FOUND
        assert response.json()["code"] == "session_not_found"
        await arrived(client, 5)


async def test_a_listener_that_leaves_without_a_word_is_noticed(server: Server, track_id: str) -> None:
    """The goodbye of DTLS is enough, without DELETE."""
    async with WhepClient(url_of(server, track_id)) as client:
        await client.begin()
        await arrived(client, 5)
        await client.connection.close()
        await eventually_listening(server, 0)
    server.wait_for_log("listener.ended", within_s=WITHIN_S, track_id=track_id, ending="left")


async def test_several_hear_each_from_where_he_began(
    server: Server, track_id: str, stored: list[bytes]
) -> None:
    async with (
        WhepClient(url_of(server, track_id)) as one,
        WhepClient(url_of(server, track_id, "?position=2")) as two,
    ):
        await asyncio.gather(one.begin(), two.begin())
        await asyncio.gather(arrived(one, 20), arrived(two, 20))
        await eventually_listening(server, 2)
        at = (2 * 48_000 + PRIMING) // FRAME
        assert (one.payloads[:20], two.payloads[:20]) == (stored[:20], stored[at : at + 20])


async def test_a_server_that_stops_says_goodbye(start_server: StartServer, song: Path) -> None:
    """SIGINT with a listener: the session ends with the server, and does not hold it back."""
    server = start_server(DRAIN_DELAY_S=0)
    async with WhepClient(url_of(server, server.publish(song)["track_id"])) as client:
        await client.begin()
        await arrived(client, 5)
        server.signal(signal.SIGINT)
        await over(client)
        assert await asyncio.to_thread(server.wait_for_exit, within_s=WITHIN_S) == 0
        assert len(client.arrivals) < DURATION_S * 50, "not to its end"


async def test_who_may_not_hear_is_not_answered(start_server: StartServer, song: Path) -> None:
    """And whoever lost the right to is told goodbye within 5 s."""
    server = start_server(**GUARDED)
    private = server.publish(song, visibility="private")["track_id"]
    public = server.publish(song, track_id="6f9619ff-8b86-4d01-b42d-00cf4fc964ff")["track_id"]
    async with WhepClient(url_of(server, private)) as client:
        response = await client.post(await client.offer())
        assert response.status_code in {401, 404}
    async with WhepClient(url_of(server, public)) as client:
        await client.begin()
        await arrived(client, 5)
        path = f"/api/v1/internal/tracks/{public}"
        taken_down = await asyncio.to_thread(lambda: server.client.delete(path, headers=server.internal))
        assert taken_down.is_success
        await over(client)
        assert len(client.arrivals) < 5.0 * 50


async def test_ice_servers_and_location_are_told_to_pages(start_server: StartServer, song: Path) -> None:
    """RFC 9725 4.6: Link; TURN's password ends by itself, and its secret is never told."""
    secret = "a-secret-of-the-relay-0123456789"
    server = start_server(**TURN, **GUARDED, TURN_SECRET=secret)
    track_id = server.publish(song)["track_id"]
    async with WhepClient(url_of(server, track_id), {"Origin": "https://app.example"}) as client:
        response = await client.begin()
        stun, turn = response.headers.get_list("link")
        assert stun == '<stun:stun.example:3478>; rel="ice-server"'
        assert re.fullmatch(
            r'<turn:turn\.example:3478\?transport=udp>; rel="ice-server"; username="\d{10}"; '
            r'credential="[\w+/]{27}="; credential-type="password"',
            turn,
        )
        exposed = response.headers["access-control-expose-headers"].split(", ")
        assert {"Link", "Location"} <= set(exposed)
        assert response.headers["access-control-allow-origin"] == "https://app.example"
    assert secret not in server.output


async def test_sockets_are_where_the_operator_wants_them(start_server: StartServer, song: Path) -> None:
    """Behind NAT: one candidate at the public address, on a port that is let through."""
    server = start_server(WEBRTC_PUBLIC_ADDRESS="127.0.0.1", WEBRTC_UDP_PORTS="41700-41703")
    async with WhepClient(url_of(server, server.publish(song)["track_id"])) as client:
        await client.begin()
        [candidate] = re.findall(r"a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ host", client.answer)
        assert candidate[0] == "127.0.0.1"
        assert 41700 <= int(candidate[1]) <= 41703
        await arrived(client, 5)
