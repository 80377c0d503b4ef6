"""webrtc/sockets.py: real UDP sockets, and what a peer is told of them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from aioice import Candidate, Connection
from aioice.ice import get_host_addresses

from webrtc.reach import Reach, reach_of
from webrtc.sockets import LOOPBACK, NoSocketError, Place, Sockets, gather_here

ABSENT = "192.0.2.250"
"""RFC 5737: for documentation, so no address of this machine."""


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def free_ports(count: int) -> range:
    """So many ports in a row that are free now."""
    for first in range(42_000, 60_000, count):
        with ExitStack() as taken:
            try:
                for port in range(first, first + count):
                    one = taken.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                    one.bind((LOOPBACK, port))
            except OSError:
                continue
            return range(first, first + count)
    raise AssertionError(f"no {count} free ports")


async def gathered(sockets: Sockets, peer: Reach = Reach.MACHINE) -> list[Candidate]:
    """What a peer of this reach is told."""
    connection = Connection(ice_controlling=False)
    gather_here(connection, sockets, peer)
    try:
        await connection.gather_candidates()
        return list(connection.local_candidates)
    finally:
        await connection.close()


def test_a_peer_on_this_machine_finds_the_server_on_the_loopback_too() -> None:
    bound = [place.bound for place in Sockets().places(Reach.MACHINE)]
    assert LOOPBACK in bound
    assert set(get_host_addresses(use_ipv4=True, use_ipv6=False)) <= set(bound)


@pytest.mark.parametrize("peer", Reach)
def test_nobody_is_told_an_address_further_inside_than_his_own(peer: Reach) -> None:
    """RFC 8828 3: addresses of the inside are nobody's business outside."""
    for place in Sockets().places(peer):
        assert peer.meets(reach_of(place.told)), place


@pytest.mark.parametrize("peer", Reach)
def test_behind_nat_everyone_is_told_the_public_address_alone(peer: Reach) -> None:
    assert Sockets(public_address="1.1.1.1").places(peer) == (Place("1.1.1.1", "1.1.1.1"),)


def test_a_public_address_that_is_none_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match=r"media\.example"):
        Sockets(public_address="media.example")


def test_a_socket_is_bound_where_it_is_told(opened: ExitStack) -> None:
    bound = Sockets().bind(Place(LOOPBACK, LOOPBACK))
    assert bound is not None
    opened.enter_context(bound)
    assert bound.getsockname()[0] == LOOPBACK
    assert bound.type == socket.SOCK_DGRAM
    assert not bound.getblocking()


def test_ports_come_from_the_range_until_all_are_taken(opened: ExitStack) -> None:
    ports = free_ports(3)
    sockets, place = Sockets(ports=ports), Place(LOOPBACK, LOOPBACK)
    found = [sockets.bind(place) for _ in ports]
    for one in found:
        assert one is not None
        opened.enter_context(one)
    assert {one.getsockname()[1] for one in found if one is not None} == set(ports)
    assert sockets.bind(place) is None


def test_an_address_of_the_nat_is_bound_on_all_of_this_machine(opened: ExitStack) -> None:
    """What the router sends on comes to an address that is not known here."""
    bound = Sockets(public_address=ABSENT).bind(Place(ABSENT, ABSENT))
    assert bound is not None
    opened.enter_context(bound)
    assert bound.getsockname()[0] == "0.0.0.0"  # noqa: S104  # the wildcard is what is meant


def test_an_own_address_that_is_gone_gives_no_socket() -> None:
    """An interface went down between asking for its address and binding to it."""
    assert Sockets().bind(Place(ABSENT, ABSENT)) is None


async def test_host_candidates_are_gathered_with_the_ports_that_are_bound() -> None:
    """RFC 8445 5.1.1.1; no STUN server is asked, whose owner would learn of each listener."""
    ports = free_ports(2)
    [candidate] = await gathered(Sockets(ports=ports, public_address=LOOPBACK))
    assert (candidate.host, candidate.type, candidate.transport) == (LOOPBACK, "host", "udp")
    assert candidate.port in ports


async def test_gathering_fails_in_words_where_there_is_no_socket() -> None:
    [port] = ports = free_ports(1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((LOOPBACK, port))
        with pytest.raises(NoSocketError, match="no free UDP socket"):
            await gathered(Sockets(ports=ports, public_address=LOOPBACK))


async def test_the_sockets_are_closed_with_their_connection() -> None:
    ports = free_ports(1)
    for _ in range(3):
        assert len(await gathered(Sockets(ports=ports, public_address=LOOPBACK))) == 1
