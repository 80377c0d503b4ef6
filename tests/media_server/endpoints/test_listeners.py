"""media_server/endpoints/listeners.py: sessions with real peers, from their answer to their last trace."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from peers import WITHIN_S, Peer
from structlog.testing import capture_logs

from media_server.endpoints.listeners import COME_AGAIN_S, Listeners, Sound, sockets_of
from media_server.errors import NotFound, Unavailable
from media_server.metrics import Metrics
from media_server.settings import Settings
from media_server.storage.packets import StoredPacket
from webrtc.answer import Content
from webrtc.reach import Reach
from webrtc.sdp import Offer, read_offer
from webrtc.sockets import ANY_PORT

TRACK = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
OTHER = "7f9619ff-8b86-4d01-b42d-00cf4fc964ff"
FRAME = 960
FOREVER = 10_000
CONTENT = Content(channels=2, bitrate_bps=128_000, start_s=0.0, end_s=200.0)
START = "veza_stream_playback_start_seconds_count"


@dataclass
class Source:
    """Packets, and whether they were let go."""

    count: int = FOREVER
    failure: Exception | None = None
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def packets(self) -> AsyncGenerator[StoredPacket]:
        try:
            for index in range(self.count):
                yield StoredPacket(index=index, pts=FRAME * index, duration=FRAME, data=b"\xf8\xff\xfe")
            if self.failure is not None:
                raise self.failure
        finally:
            self.closed.set()

    def sound(self) -> Sound:
        return Sound(track_id=TRACK, packets=self.packets(), content=CONTENT)


class House:
    """Listeners, and what they are made of."""

    def __init__(self, limit: int = 3, connect_s: float = WITHIN_S, **settings: Any) -> None:
        self.metrics, self.stopping = Metrics(), asyncio.Event()
        values = {"webrtc_public_address": "127.0.0.1", **settings}
        self.listeners = Listeners(
            Settings(**values), self.metrics, self.stopping, limit=limit, connect_s=connect_s
        )

    @property
    def counted(self) -> float | None:
        """As Prometheus is told."""
        labels = {"transport": "webrtc"}
        return self.metrics.registry.get_sample_value("veza_stream_listeners", labels)

    async def heard(self, peer: Peer, source: Source) -> str:
        """A session that plays; its id."""
        listener = await self.listeners.begin(await offer_of(peer), source.sound(), Reach.MACHINE, 0.0)
        await peer.accept(listener.answer)
        await peer.received(3)
        return listener.session_id

    async def empty(self) -> None:
        """Wait until every task of a session has ended."""
        async with asyncio.timeout(WITHIN_S):
            while self.listeners._tasks:
                await asyncio.wait(self.listeners._tasks)


async def offer_of(peer: Peer) -> Offer:
    return read_offer((await peer.offer()).encode(), Reach.MACHINE)


@pytest.fixture
async def house_of() -> AsyncIterator[Callable[..., House]]:
    made: list[House] = []

    def make(**values: Any) -> House:
        made.append(House(**values))
        return made[-1]

    yield make
    for house in made:
        await house.listeners.close()


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    yield peer
    await peer.connection.close()


async def test_a_listener_is_counted_while_he_hears_and_logged_once(
    house_of: Callable[..., House], peer: Peer
) -> None:
    house, source = house_of(), Source()
    with capture_logs() as logs:
        session_id = await house.heard(peer, source)
        assert (len(house.listeners), house.counted) == (1, 1.0)
        await house.listeners.end(TRACK, session_id)
        await house.empty()
    assert (len(house.listeners), house.counted) == (0, 0.0)
    assert source.closed.is_set()
    assert house.metrics.registry.get_sample_value(START, {"transport": "webrtc"}) == 1.0
    assert [(one["event"], one["track_id"], one["transport"]) for one in logs] == [
        ("listener.started", TRACK, "webrtc"),
        ("listener.ended", TRACK, "webrtc"),
    ]
    assert (logs[1]["ending"], logs[1]["code"]) == ("left", None)
    assert session_id not in str(logs), "who knows it may end the session"


async def test_a_session_is_ended_once_and_only_as_its_own_tracks(
    house_of: Callable[..., House], peer: Peer
) -> None:
    house = house_of()
    session_id = await house.heard(peer, Source())
    for track_id, name in ((OTHER, session_id), (TRACK, session_id[:-1]), (TRACK, "")):
        with pytest.raises(NotFound) as refused:
            await house.listeners.end(track_id, name)
        assert refused.value.code == "session_not_found"
    assert len(house.listeners) == 1
    await house.listeners.end(TRACK, session_id)
    with pytest.raises(NotFound):
        await house.listeners.end(TRACK, session_id)


async def test_one_too_many_is_told_to_come_again_and_a_free_place_is_taken(
    house_of: Callable[..., House], peer: Peer
) -> None:
    """Those that are not connected yet count too: an offer costs sockets."""
    house, source = house_of(limit=1), Source()
    first = await house.listeners.begin(await offer_of(peer), source.sound(), Reach.MACHINE, 0.0)
    with pytest.raises(Unavailable) as refused:
        await house.listeners.begin(await offer_of(peer), Source().sound(), Reach.MACHINE, 0.0)
    error = refused.value
    assert (error.code, error.limits, error.retry_after_s) == (
        "too_many_listeners",
        {"listeners": 1},
        COME_AGAIN_S,
    )
    await house.listeners.end(TRACK, first.session_id)
    second = await house.listeners.begin(await offer_of(peer), Source().sound(), Reach.MACHINE, 0.0)
    assert second.session_id != first.session_id


async def test_one_that_never_connects_is_gone_after_the_deadline(
    house_of: Callable[..., House], peer: Peer
) -> None:
    house = house_of(connect_s=0.05)
    with capture_logs() as logs:
        await house.listeners.begin(await offer_of(peer), Source().sound(), Reach.MACHINE, 0.0)
        await house.empty()
    assert [one["event"] for one in logs] == ["listener.not_connected"]
    assert len(house.listeners) == 0
    assert house.counted is None, "nobody heard anything"


async def test_the_end_of_the_track_ends_the_session(house_of: Callable[..., House], peer: Peer) -> None:
    house = house_of()
    with capture_logs() as logs:
        await house.heard(peer, Source(count=5))
        await peer.ended()
        await house.empty()
    assert (logs[-1]["event"], logs[-1]["ending"]) == ("listener.ended", "played")


async def test_a_track_that_is_gone_ends_the_session_with_its_code(
    house_of: Callable[..., House], peer: Peer
) -> None:
    house = house_of()
    failure = NotFound("track_not_found", "there is no such track")
    with capture_logs() as logs:
        await house.heard(peer, Source(count=5, failure=failure))
        await peer.ended()
        await house.empty()
    assert (logs[-1]["ending"], logs[-1]["code"]) == ("failed", "track_not_found")


async def test_a_stopping_server_says_goodbye_and_lets_nobody_in(
    house_of: Callable[..., House], peer: Peer
) -> None:
    house, source = house_of(), Source()
    offer = await offer_of(peer)
    await house.heard(peer, source)
    house.stopping.set()
    await peer.ended()
    await house.empty()
    assert source.closed.is_set()
    with pytest.raises(Unavailable) as refused:
        await house.listeners.begin(offer, Source().sound(), Reach.MACHINE, 0.0)
    assert refused.value.code == "server_stopping"


async def test_without_a_port_the_operator_is_told_what_to_set(
    house_of: Callable[..., House], peer: Peer
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        house = house_of(webrtc_udp_ports=f"{port}-{port}")
        with pytest.raises(Unavailable, match="WEBRTC_UDP_PORTS") as refused:
            await house.listeners.begin(await offer_of(peer), Source().sound(), Reach.MACHINE, 0.0)
    assert refused.value.code == "webrtc_unreachable"
    assert len(house.listeners) == 0


def test_the_settings_say_where_the_sockets_are() -> None:
    found = sockets_of(Settings(webrtc_udp_ports="50000-50100", webrtc_public_address="1.1.1.1"))
    assert (found.ports, found.public_address) == (range(50_000, 50_101), "1.1.1.1")
    assert sockets_of(Settings()).ports == ANY_PORT


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"webrtc_udp_ports": "1000-2000"}, "1000-2000"),
        ({"webrtc_udp_ports": "2000-1999"}, "2000-1999"),
        ({"webrtc_udp_ports": "60000-70000"}, "1024-65535"),
        ({"webrtc_public_address": "media.example"}, "media.example"),
    ],
)
async def test_settings_that_cannot_be_are_refused_at_the_start(values: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Listeners(Settings(**values), Metrics(), asyncio.Event())
