"""webrtc/session.py: a session with a peer that is aiortc too, over real sockets."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from peers import Peer

from webrtc.answer import Content
from webrtc.reach import Reach
from webrtc.sdp import read_offer
from webrtc.session import AnswerError, Ending, Session
from webrtc.sockets import NoSocketError, Sockets
from webrtc.track import StoredAudioTrack

WITHIN_S = 10.0
OPEN_FILES = Path("/proc/self/fd")
FRAME = 960
SILENCE = b"\xf8\xff\xfe"
"""RFC 6716 3.1: a frame of 20 ms that any decoder takes."""
CONTENT = Content(channels=2, bitrate_bps=128_000, start_s=0.0, end_s=1.0)


@dataclass(frozen=True, slots=True)
class Coded:
    pts: int
    duration: int
    data: bytes


def payload(number: int) -> bytes:
    return SILENCE + b"%d" % number


async def packets(count: int, failure: Exception | None = None) -> AsyncIterator[Coded]:
    for number in range(count):
        yield Coded(FRAME * number, FRAME, payload(number))
    if failure is not None:
        raise failure


def as_is(offer: str) -> str:
    return offer


def hidden(offer: str) -> str:
    """As browsers offer to pages that may not use the microphone: every address behind a name."""
    return re.sub(r"(a=candidate:\S+ 1 udp \d+) \S+", r"\1 9b36eaac-bb2e-49bb-bb78-21c41c499900.local", offer)


def forged(offer: str) -> str:
    """With the certificate of somebody else."""
    return re.sub(r"(a=fingerprint:\S+) ..", r"\1 00", re.sub(r"(a=fingerprint:\S+) 00", r"\1 11", offer))


@asynccontextmanager
async def session_of(
    source: AsyncIterator[Coded], sockets: Sockets | None = None
) -> AsyncIterator[tuple[Session, Peer]]:
    peer = Peer()
    session = Session(StoredAudioTrack(source), sockets or Sockets(public_address="127.0.0.1"), Reach.MACHINE)
    try:
        yield session, peer
    finally:
        await session.close()
        await peer.connection.close()


async def agree(session: Session, peer: Peer, change: Callable[[str], str] = as_is) -> None:
    offer = read_offer(change(await peer.offer()).encode(), Reach.MACHINE)
    await peer.accept(await session.answer(offer, CONTENT))


async def within(waiting: Awaitable[Ending]) -> Ending:
    async with asyncio.timeout(WITHIN_S):
        return await waiting


async def test_the_packets_arrive_and_their_end_is_the_sessions() -> None:
    """Nothing is encoded or packed anew; the peer is told goodbye by `close`."""
    async with session_of(packets(12)) as (session, peer):
        await agree(session, peer)
        assert await session.connect()
        assert await within(session.play()) is Ending.PLAYED
        assert await peer.received(12) == [payload(number) for number in range(12)]
        await session.close()
        await peer.ended()


async def test_a_peer_that_hides_its_addresses_is_found_by_its_checks() -> None:
    """RFC 8445 7.3.1.3: what a check comes from is a candidate, the name in the offer is never resolved."""
    async with session_of(packets(500)) as (session, peer):
        await agree(session, peer, hidden)
        assert await session.connect()
        assert await peer.received(3) == [payload(number) for number in range(3)]


async def test_a_peer_with_another_certificate_than_it_offered_gets_nothing() -> None:
    """RFC 8122 5: else whoever reads the answer on its way could listen."""
    async with session_of(packets(500)) as (session, peer):
        await agree(session, peer, forged)
        assert not await session.connect()
        assert peer.payloads.empty()


async def test_a_peer_that_never_comes_is_waited_for_no_longer_than_said() -> None:
    async with session_of(packets(500)) as (session, peer):
        await session.answer(read_offer((await peer.offer()).encode(), Reach.MACHINE), CONTENT)
        assert not await session.connect(within_s=0.05)


async def test_a_peer_that_says_goodbye_has_left() -> None:
    async with session_of(packets(500)) as (session, peer):
        await agree(session, peer)
        assert await session.connect()
        await peer.received(3)
        await peer.connection.close()
        assert await within(session.play()) is Ending.LEFT


async def test_a_peer_that_falls_silent_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 7675 5.1: who does not answer for so long has not consented to be sent anything more."""
    monkeypatch.setattr("aioice.ice.CONSENT_INTERVAL", 0.05)
    monkeypatch.setattr("aioice.ice.CONSENT_FAILURES", 2)
    async with session_of(packets(10_000)) as (session, peer):
        await agree(session, peer)
        assert await session.connect()
        await peer.received(3)
        for protocol in peer.receiver.transport.transport._connection._protocols:
            # as if its cable were cut: what is sent to it goes nowhere, and nothing comes
            monkeypatch.setattr(protocol, "datagram_received", lambda data, address: None)
            monkeypatch.setattr(protocol.transport, "sendto", lambda data, address: None)
        assert await within(session.play()) is Ending.LOST


async def test_close_ends_what_plays_and_says_why() -> None:
    async with session_of(packets(500)) as (session, peer):
        await agree(session, peer)
        assert await session.connect()
        playing = asyncio.create_task(session.play())
        await peer.received(3)
        await asyncio.gather(session.close(Ending.LEFT), session.close(), session.close())
        assert await within(playing) is Ending.LEFT
        await peer.ended()
        assert session.error is None


async def test_a_source_that_fails_is_told() -> None:
    failure = OSError("out of reach")
    async with session_of(packets(3, failure)) as (session, peer):
        await agree(session, peer)
        assert await session.connect()
        assert await within(session.play()) is Ending.FAILED
        assert session.error is failure


async def test_without_a_socket_there_is_no_answer() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        sockets = Sockets(public_address="127.0.0.1", ports=range(port, port + 1))
        async with session_of(packets(3), sockets) as (session, peer):
            offer = read_offer((await peer.offer()).encode(), Reach.MACHINE)
            with pytest.raises(NoSocketError):
                await session.answer(offer, CONTENT)


async def test_an_answer_that_takes_too_long_is_none() -> None:
    async with session_of(packets(3)) as (session, peer):
        offer = read_offer((await peer.offer()).encode(), Reach.MACHINE)
        with pytest.raises(AnswerError, match="no answer within 0 s"):
            await session.answer(offer, CONTENT, within_s=0)


async def test_nothing_is_left_of_those_that_never_came() -> None:
    """Abandoned offers cost nothing once they are over: no socket, no task."""

    async def abandon() -> None:
        async with session_of(packets(500)) as (session, peer):
            await session.answer(read_offer((await peer.offer()).encode(), Reach.MACHINE), CONTENT)
            assert not await session.connect(within_s=0)

    await abandon()  # what is made once for all
    files = len(list(OPEN_FILES.iterdir()))
    for _ in range(10):
        await abandon()
    assert len(list(OPEN_FILES.iterdir())) <= files
    others = asyncio.all_tasks() - {asyncio.current_task()}
    # the library's own ends in a moment
    _, pending = await asyncio.wait([asyncio.create_task(abandon()), *others], timeout=WITHIN_S)
    assert not pending
