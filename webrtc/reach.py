"""How far an address reaches, and so who may be told of it or sent to it.

Owns: that a stranger can neither learn addresses of the inside nor make the server send to them. Pure.
Source: RFC 8445 19.5 (attacks with candidates), RFC 8828 3 (addresses that a peer learns), RFC 6890.
"""

from __future__ import annotations

from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

NAT64: Final = IPv6Network("64:ff9b::/96")
"""RFC 6052 2.1: the last 32 bits are an IPv4 address, and it is there that packets arrive."""


class Reach(IntEnum):
    """From where an address can be reached: this machine, its own networks, or the whole Internet."""

    MACHINE = 0
    SITE = 1
    WORLD = 2

    def meets(self, other: Reach | None) -> bool:
        """Whether a peer of this reach may deal with an address of the `other`: only outwards."""
        return other is not None and other >= self


def reach_of(address: str) -> Reach | None:
    """The reach of an address; None for what is no address of one host, or has a meaning only on one link.

    Link-local addresses are nobody's: cloud machines answer secrets there (169.254.169.254).
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped or parsed.scope_id:
            return None
        if parsed in NAT64:
            return reach_of(str(IPv4Address(int(parsed) & 0xFFFFFFFF)))
    if parsed.is_loopback:
        return Reach.MACHINE
    if parsed.is_unspecified or parsed.is_multicast or parsed.is_link_local or parsed.is_reserved:
        return None
    return Reach.WORLD if parsed.is_global else Reach.SITE
