"""media_server/endpoints/whep.py: who is answered, with what, and what a wrong request is told."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import presentations
import pytest
from httpx2 import Response
from peers import WITHIN_S, Peer
from starlette.requests import HTTPConnection

from hls.asset import Asset
from media_server.auth.tokens import LEEWAY_S, TokenVerifier
from media_server.endpoints.listeners import Listeners
from media_server.endpoints.openapi import document
from media_server.endpoints.readmission import Readmission
from media_server.endpoints.routes import operations
from media_server.endpoints.whep import ASK_AGAIN_S, _still_admitted, heard_of
from media_server.errors import Unavailable
from media_server.settings import Settings
from media_server.storage.packets import StoredPackets
from webrtc.sdp import MAX_OFFER_BYTES

SECRET = "a-secret-of-the-tests-0123456789-abcdef"
KEY = "an-internal-key-of-the-tests-0123456789"
SDP = {"Content-Type": "application/sdp"}
OPUS = ("opus-128",)
ABSENT = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    yield peer
    await peer.connection.close()


@pytest.fixture
async def serve(start: Callable[..., Any]) -> AsyncIterator[Callable[..., Any]]:
    """Starts a server whose listeners end with the test."""
    servers: list[Any] = []

    def begin(**values: Any) -> Any:
        servers.append(start(webrtc_public_address="127.0.0.1", **values))
        return servers[-1]

    yield begin
    for server in servers:
        await server.services.listeners.close()


async def test_a_storage_that_is_away_ends_no_session(server: Any) -> None:
    """What is in memory plays on; a change cannot have been stored meanwhile either."""
    asset = await server.publish(ladder=OPUS)

    async def gone(_: str) -> Asset:
        raise Unavailable("storage", "gone")

    server.services.assets.asset = gone
    scope = {"type": "http", "app": server.app, "path": f"/whep/{asset.track_id}", "headers": []}
    await _still_admitted(Readmission(HTTPConnection(scope), asset))


async def ask(server: Any, track_id: str, offer: str | bytes, query: str = "", **more: Any) -> Response:
    more.setdefault("headers", SDP)
    response: Response = await server.ask(f"/whep/{track_id}{query}", "POST", content=offer, **more)
    return response


async def stored(server: Any, asset: Asset, sample: int = 0) -> list[bytes]:
    packets = StoredPackets(server.services.assets, asset, "opus-128")
    return [packet.data async for packet in packets.from_sample(sample)]


async def test_the_answer_names_a_session_that_sends_what_is_stored(
    serve: Callable[..., Any], peer: Peer
) -> None:
    """draft-ietf-wish-whep 4: 201, SDP, Location; from the packet that holds the position."""
    server = serve()
    asset = await server.publish(ladder=OPUS)
    response = await ask(server, asset.track_id, await peer.offer(), "?position=8.5")
    assert (response.status_code, response.headers["content-type"]) == (201, "application/sdp")
    assert re.fullmatch(rf"/whep/{asset.track_id}/[\w-]{{22}}", response.headers["location"])
    assert response.headers["cache-control"] == "no-store"
    assert "stereo=1;sprop-stereo=1" in response.text
    assert "a=range:npt=8.500-9.000" in response.text
    await peer.accept(response.text)
    heard = await stored(server, asset, round(8.5 * 48_000))
    assert await peer.received(len(heard)) == heard
    assert server.services.metrics.registry.get_sample_value(
        "veza_stream_media_sent_bytes_total"
    ) == pytest.approx(sum(map(len, heard)))


async def test_delete_ends_the_session_and_its_address(serve: Callable[..., Any], peer: Peer) -> None:
    server = serve()
    asset = await server.publish(ladder=OPUS)
    response = await ask(server, asset.track_id, await peer.offer())
    await peer.accept(response.text)
    await peer.received(3)
    location = response.headers["location"]
    assert (await server.ask(location, "DELETE")).status_code == 200
    await peer.ended()
    again = await server.ask(location, "DELETE")
    assert (again.status_code, again.json()["code"]) == (404, "session_not_found")
    assert (await server.ask(f"/whep/{asset.track_id}/no-session", "DELETE")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        *((method, "", "POST") for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE")),
        *((method, "/some-session", "DELETE") for method in ("GET", "HEAD", "PUT", "PATCH", "POST")),
    ],
)
async def test_other_methods_are_not_allowed(
    serve: Callable[..., Any], method: str, path: str, allowed: str
) -> None:
    """RFC 9725 4.3.1: without trickle ICE and restarts PATCH is answered 405; so are GET, HEAD and PUT."""
    server = serve()
    asset = await server.publish(ladder=OPUS)
    answer = await server.ask(f"/whep/{asset.track_id}{path}", method, headers=SDP)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize(
    "headers", [{}, {"Content-Type": "application/json"}, {"Content-Type": "text/plain"}]
)
async def test_another_type_of_body_is_not_supported(
    serve: Callable[..., Any], peer: Peer, headers: dict[str, str]
) -> None:
    server = serve()
    asset = await server.publish(ladder=OPUS)
    answer = await ask(server, asset.track_id, await peer.offer(), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    assert "application/sdp" in answer.json()["detail"]


async def test_the_type_may_be_written_otherwise(serve: Callable[..., Any], peer: Peer) -> None:
    server = serve()
    asset = await server.publish(ladder=OPUS)
    headers = {"Content-Type": "Application/SDP; charset=utf-8"}
    assert (await ask(server, asset.track_id, await peer.offer(), headers=headers)).status_code == 201


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        (lambda offer: "", 400, "offer_malformed"),
        (lambda offer: "{}", 400, "offer_malformed"),
        (lambda offer: offer.replace("a=ice-ufrag", "a=x-ufrag"), 400, "offer_malformed"),
        (lambda offer: offer.replace("a=rtcp-mux", "a=x"), 400, "offer_malformed"),
        (lambda offer: b"\xff" + offer.encode(), 400, "offer_malformed"),
        (lambda offer: offer.replace("m=audio", "m=video"), 415, "offer_not_supported"),
        (lambda offer: offer.replace("opus", "vorbis"), 415, "offer_not_supported"),
        (lambda offer: offer.replace("recvonly", "sendonly"), 415, "offer_not_supported"),
        (lambda offer: offer + " " * MAX_OFFER_BYTES, 413, "too_large"),
    ],
)
async def test_an_offer_that_cannot_be_answered_is_told_why(
    serve: Callable[..., Any], peer: Peer, change: Callable[[str], str | bytes], status: int, code: str
) -> None:
    server = serve()
    asset = await server.publish(ladder=OPUS)
    answer = await ask(server, asset.track_id, change(await peer.offer()))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert len(server.services.listeners) == 0


@pytest.mark.parametrize("position", ["-1", "9.1", "nan", "inf", "one", "1e400"])
async def test_a_position_outside_of_the_track_is_refused(
    serve: Callable[..., Any], peer: Peer, position: str
) -> None:
    server = serve()
    asset = await server.publish(ladder=OPUS)
    answer = await ask(server, asset.track_id, await peer.offer(), f"?position={position}")
    assert (answer.status_code, answer.json()["code"]) == (400, "position_invalid")


@pytest.mark.parametrize(
    ("changes", "ladder", "status", "code"),
    [
        ({}, ("128k",), 404, "no_opus_rendition"),
        ({"state": "growing"}, OPUS, 503, "track_not_ready"),
    ],
)
async def test_a_track_without_its_packets_is_not_there_yet(
    serve: Callable[..., Any],
    peer: Peer,
    changes: dict[str, Any],
    ladder: tuple[str, ...],
    status: int,
    code: str,
) -> None:
    server = serve()
    asset = await server.publish(ladder=ladder, **changes)
    answer = await ask(server, asset.track_id, await peer.offer())
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    ("ladder", "heard"),
    [((64, 96, 128, 192), 128), ((64,), 64), ((192,), 192)],
)
def test_the_best_rendition_that_most_networks_carry_is_heard(ladder: tuple[int, ...], heard: int) -> None:
    """Nothing here measures the listener's network, and there is no other rendition to change to."""
    rungs = [
        presentations.rendition(
            f"opus-{kbps}", codec="opus", bitrate_bps=kbps * 1000, duration_samples=48_000
        )
        for kbps in ladder
    ]
    asset = presentations.asset(*rungs, duration_samples=48_000)
    assert heard_of(asset).name == f"opus-{heard}"


async def test_an_unknown_track_is_not_found(serve: Callable[..., Any], peer: Peer) -> None:
    server = serve()
    for track_id in (ABSENT, "no-id"):
        answer = await ask(server, track_id, await peer.offer())
        assert (answer.status_code, answer.json()["code"]) == (404, "track_not_found")


async def test_one_listener_too_many_is_told_to_come_again(serve: Callable[..., Any], peer: Peer) -> None:
    server = serve()
    asset = await server.publish(ladder=OPUS)
    services = server.services
    services.listeners = Listeners(services.settings, services.metrics, services.stopping, limit=1)
    offer = await peer.offer()
    assert (await ask(server, asset.track_id, offer)).status_code == 201
    answer = await ask(server, asset.track_id, offer)
    assert (answer.status_code, answer.json()["code"]) == (503, "too_many_listeners")
    assert int(answer.headers["retry-after"]) > 0


async def test_a_private_track_is_for_those_who_may_hear_it(serve: Callable[..., Any], peer: Peer) -> None:
    server = serve(app_env="staging", jwt_secret=SECRET, internal_api_key=KEY)
    asset = await server.publish(ladder=OPUS, visibility="private")
    offer = await peer.offer()
    assert (await ask(server, asset.track_id, offer)).status_code == 401
    stranger = await ask(server, asset.track_id, offer, headers=SDP | server.bearer("somebody"))
    assert stranger.status_code in {403, 404}
    owner = await ask(server, asset.track_id, offer, headers=SDP | server.bearer("owner-1"))
    assert owner.status_code == 201


@pytest.mark.parametrize(
    "changed", [None, {"visibility": "private"}], ids=["taken down", "not public any more"]
)
async def test_who_may_not_hear_any_more_stops_hearing(
    serve: Callable[..., Any], peer: Peer, changed: dict[str, Any] | None
) -> None:
    """Contract: in force within 5 s. It is asked again every ASK_AGAIN_S of sound."""
    server = serve(app_env="staging", jwt_secret=SECRET, internal_api_key=KEY)
    asset = await server.publish(ladder=OPUS)
    response = await ask(server, asset.track_id, await peer.offer())
    await peer.accept(response.text)
    await peer.received(1)
    if changed is None:
        await server.services.storage.delete(f"tracks/{asset.track_id}/asset.json")
        server.services.assets.forget(asset.track_id)
    else:
        await server.publish(ladder=OPUS, **changed)
    await peer.ended()
    assert peer.payloads.qsize() <= ASK_AGAIN_S * 50 + 1


async def test_a_token_that_runs_out_ends_who_needed_it(
    serve: Callable[..., Any], peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reliability: a token is looked at again while it plays."""
    monkeypatch.setattr("media_server.endpoints.readmission.TOKEN_EVERY_S", 0.0)
    server = serve(app_env="staging", jwt_secret=SECRET, internal_api_key=KEY)
    asset = await server.publish(ladder=OPUS, visibility="private")
    bearer = server.bearer("owner-1")
    response = await ask(server, asset.track_id, await peer.offer(), headers=SDP | bearer)
    await peer.accept(response.text)
    await peer.received(1)
    tomorrow = time.time() + server.services.settings.jwt_max_lifetime_s + LEEWAY_S + 1
    server.services.verifier = TokenVerifier(server.services.settings, lambda: tomorrow)
    await peer.ended()
    assert peer.payloads.qsize() <= ASK_AGAIN_S * 50 + 1


async def test_ice_servers_are_links_and_pages_may_read_them(serve: Callable[..., Any], peer: Peer) -> None:
    """RFC 9725 4.6. The password outlives the track."""
    server = serve(
        stun_urls="stun:a.example", turn_urls="turn:b.example", turn_secret="a-secret-of-the-relay"
    )
    asset = await server.publish(ladder=OPUS)
    answer = await ask(
        server, asset.track_id, await peer.offer(), headers=SDP | {"Origin": "https://app.example"}
    )
    stun, turn = answer.headers.get_list("link")
    assert stun == '<stun:a.example>; rel="ice-server"'
    [expires] = re.findall(r'username="(\d+)"', turn)
    assert int(expires) > server.services.now() + asset.duration_s
    assert {"Link", "Location"} <= set(answer.headers["access-control-expose-headers"].split(", "))


async def test_a_page_may_ask_first(serve: Callable[..., Any]) -> None:
    """Fetch: application/sdp and DELETE both need a preflight."""
    server = serve()
    for path, method in ((f"/whep/{ABSENT}", "POST"), (f"/whep/{ABSENT}/session", "DELETE")):
        answer = await server.ask(
            path,
            "OPTIONS",
            headers={
                "Origin": "https://app.example",
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": "content-type",
            },
        )
        assert answer.status_code == 204
        assert method in answer.headers["access-control-allow-methods"]
        assert "Content-Type" in answer.headers["access-control-allow-headers"]


@pytest.mark.parametrize(
    ("client", "told"), [("127.0.0.1", True), ("192.168.1.7", False), ("1.1.1.1", False)]
)
async def test_the_loopback_is_told_to_this_machine_alone(
    start: Callable[..., Any], peer: Peer, client: str, told: bool
) -> None:
    server = start(app_env="staging", jwt_secret=SECRET, internal_api_key=KEY)
    asset = await server.publish(ladder=OPUS)
    try:
        answer = await ask(server, asset.track_id, await peer.offer(), peer=client)
        assert (" 127.0.0.1 " in answer.text) is told
    finally:
        await server.services.listeners.close()


async def test_stopping_ends_what_is_heard(serve: Callable[..., Any], peer: Peer) -> None:
    server = serve()
    asset = await server.publish(ladder=OPUS)
    response = await ask(server, asset.track_id, await peer.offer())
    await peer.accept(response.text)
    await peer.received(3)
    server.services.stopping.set()
    await peer.ended()
    async with asyncio.timeout(WITHIN_S):
        await server.services.listeners.close()
    assert len(server.services.listeners) == 0


def test_the_routes_are_described() -> None:
    """SDP in and out, and the session's own address."""
    settings = Settings()
    paths = document(operations(settings), settings, "0")["paths"]
    begin = paths["/whep/{track_id}"]["post"]
    assert list(begin["requestBody"]["content"]) == ["application/sdp"]
    assert list(begin["responses"]["201"]["content"]) == ["application/sdp"]
    assert {"400", "404", "413", "415", "503"} <= begin["responses"].keys()
    assert {one["name"] for one in begin["parameters"]} >= {"track_id", "position"}
    assert {"200", "404"} <= paths["/whep/{track_id}/{session_id}"]["delete"]["responses"].keys()
