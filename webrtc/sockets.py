"""Where a session's UDP sockets are, and at which addresses its peer is told to find them.

Owns: the port range, the public address, and that nobody is told of an address further inside than himself.
aioice binds any port of every address; its method that does so is replaced on the one connection.
Source: RFC 8445 5.1.1.1 (host candidates).
"""

from __future__ import annotations

import asyncio
import errno
import random
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from aioice import Candidate, Connection
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import StunProtocol, get_host_addresses

from webrtc.reach import Reach, reach_of

WILDCARDS: Final = {4: "0.0.0.0", 6: "::"}  # noqa: S104  # behind NAT the public address is none of this machine
FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
LOOPBACK: Final = "127.0.0.1"
ANY_PORT: Final = range(1)


class NoSocketError(Exception):
    """No UDP socket could be had that the peer could reach; the text says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """A socket is bound to `bound`, and the peer told `told`."""

    bound: str
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sockets:
    """How sockets are made: from `ports` (ANY_PORT: the system chooses), told as `public_address` if set.

    Raises:
        ValueError: `public_address` is no IP address.
    """

    ports: range = ANY_PORT
    public_address: str | None = None

    def __post_init__(self) -> None:
        if self.public_address is not None:
            ip_address(self.public_address)

    def places(self, peer: Reach) -> tuple[Place, ...]:
        """Where to bind for a peer of this reach."""
        if self.public_address is not None:
            return (Place(self.public_address, self.public_address),)
        own = [*get_host_addresses(use_ipv4=True, use_ipv6=True), LOOPBACK]
        return tuple(Place(address, address) for address in own if peer.meets(reach_of(address)))

    def bind(self, place: Place) -> socket.socket | None:
        """A socket at `place`; None if every port of the range is taken or the address is gone."""
        try:
            return self._bind(place.bound)
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL or place.told != self.public_address:
                return None
        try:
            return self._bind(WILDCARDS[ip_address(place.told).version])
        except OSError:
            return None

    def _bind(self, address: str) -> socket.socket:
        family = FAMILIES[ip_address(address).version]
        taken: OSError | None = None
        for port in _from_anywhere(self.ports):
            bound = socket.socket(family, socket.SOCK_DGRAM)
            try:
                if family == socket.AF_INET6:
                    bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                bound.setblocking(False)
                bound.bind((address, port))
            except OSError as error:
                bound.close()
                taken = error
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return bound
        assert taken is not None  # a range is not empty
        raise taken


def _from_anywhere(ports: range) -> Iterator[int]:
    """Every port once, from a random one on: the first ones of the range are the likeliest to be taken."""
    first = random.randrange(len(ports))  # noqa: S311  # spreads load, keeps no secret
    yield from ports[first:]
    yield from ports[:first]


def gather_here(connection: Connection, sockets: Sockets, peer: Reach) -> None:
    """Let `connection` gather host candidates on `sockets`, and nothing else: no STUN, no TURN.

    Gathering raises NoSocketError where there is none for the peer.
    """

    async def gather(component: int, addresses: list[str], timeout: int = 5) -> list[Candidate]:  # noqa: ARG001, ASYNC109
        loop = asyncio.get_running_loop()
        candidates = []
        for place in sockets.places(peer):
            bound = sockets.bind(place)
            if bound is None:
                continue
            _, protocol = await loop.create_datagram_endpoint(lambda: StunProtocol(connection), sock=bound)
            protocol.local_candidate = Candidate(
                foundation=candidate_foundation("host", "udp", place.bound),
                component=component,
                transport="udp",
                priority=candidate_priority(component, "host"),
                host=place.told,
                port=bound.getsockname()[1],
                type="host",
            )
            # from here on the connection closes it
            connection._protocols.append(protocol)
            candidates.append(protocol.local_candidate)
        if not candidates:
            raise NoSocketError("no free UDP socket on an address that the peer can reach")
        return candidates

    connection.get_component_candidates = gather  # type: ignore[method-assign]
