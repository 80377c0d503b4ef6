"""Who really sent the request, when proxies stand between.

Owns: the peer's address and scheme. What a proxy says is believed only if the proxy itself is in
TRUSTED_PROXIES, and only from the right: each hop appends the address it saw, so what stands left of the
first stranger are the stranger's own words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

Address = IPv4Address | IPv6Address
SCHEMES = {"http": {"http": "http", "https": "https"}, "websocket": {"http": "ws", "https": "wss"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """The first address from the right that is no proxy of ours; `from_right` counts from 0."""

    address: Address
    from_right: int


class TrustedProxies:
    """Middleware: puts the client's own address and scheme into the scope."""

    def __init__(self, app: ASGIApp, networks: Sequence[str]) -> None:
        self._app = app
        self._networks = tuple(ip_network(network, strict=False) for network in networks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in SCHEMES and scope.get("client"):
            peer = parse_address(scope["client"][0])
            if peer is not None and is_in(peer, self._networks):
                _believe(scope, self._networks)
        await self._app(scope, receive, send)


def _believe(scope: Scope, networks: Sequence[IPv4Network | IPv6Network]) -> None:
    headers = Headers(scope=scope)
    hop = client_hop(_entries(headers, "x-forwarded-for"), networks)
    if hop is not None:
        scope["client"] = (str(hop.address), 0)
    protocols = _entries(headers, "x-forwarded-proto")
    if protocols:
        # the entry that the same proxy wrote; one that only passes the header on leaves fewer entries
        written = protocols[-1 - min(hop.from_right if hop else 0, len(protocols) - 1)].lower()
        scope["scheme"] = SCHEMES[scope["type"]].get(written, scope["scheme"])


def _entries(headers: Headers, name: str) -> list[str]:
    """The values of a list header, in order, over all its lines."""
    return [entry.strip() for entry in ",".join(headers.getlist(name)).split(",") if entry.strip()]


def client_hop(forwarded: Sequence[str], networks: Sequence[IPv4Network | IPv6Network]) -> Hop | None:
    """The client among the addresses of X-Forwarded-For, or None if it holds no usable one.

    An entry that is no address ends the search: what stands left of it cannot be believed.
    """
    found: Hop | None = None
    for index, text in enumerate(reversed(forwarded)):
        address = parse_address(text)
        if address is None:
            break
        found = Hop(address=address, from_right=index)
        if not is_in(address, networks):
            break
    return found


def parse_address(text: str) -> Address | None:
    """An IP address, also in brackets or with a port; IPv4 inside IPv6 as IPv4. None: it is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def is_in(address: Address, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    """Whether one of the networks holds the address."""
    return any(address in network for network in networks)
