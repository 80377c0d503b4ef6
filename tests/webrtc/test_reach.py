"""webrtc/reach.py: who may be told of an address, or be sent something there."""

from __future__ import annotations

import pytest

from webrtc.reach import Reach, reach_of

EVERY_REACH = tuple(Reach)


@pytest.mark.parametrize(
    ("address", "reach"),
    [
        ("127.0.0.1", Reach.MACHINE),
        ("127.255.255.254", Reach.MACHINE),
        ("::1", Reach.MACHINE),
        ("10.0.0.7", Reach.SITE),
        ("172.16.0.1", Reach.SITE),
        ("192.168.1.1", Reach.SITE),
        ("100.64.0.1", Reach.SITE),
        ("fd00::2", Reach.SITE),
        ("192.0.2.1", Reach.SITE),
        ("1.1.1.1", Reach.WORLD),
        ("2606:4700::1111", Reach.WORLD),
    ],
)
def test_an_address_reaches_as_far_as_its_block_is_routed(address: str, reach: Reach) -> None:
    """RFC 6890: what is not globally reachable stays inside, down to the machine itself."""
    assert reach_of(address) is reach


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "::", "255.255.255.255", "240.0.0.1"),  # noqa: S104  # text to be refused
        *("224.0.0.251", "ff02::fb"),
        *("169.254.169.254", "fe80::1", "fe80::1%eth0", "2606:4700::1111%eth0"),
        *("::ffff:127.0.0.1", "::ffff:1.1.1.1"),
        *("", "a-name.local", "example.com", "127.1", "0x7f000001", "2130706433", "127.0.0.01"),
    ],
)
def test_what_is_no_address_of_one_host_has_no_reach(address: str) -> None:
    """RFC 8445 19.5: a link-local answer may be a secret, and a name would make the server ask for it."""
    assert reach_of(address) is None


@pytest.mark.parametrize(
    ("address", "reach"),
    [
        ("64:ff9b::7f00:1", Reach.MACHINE),
        ("64:ff9b::a00:7", Reach.SITE),
        ("64:ff9b::101:101", Reach.WORLD),
        ("64:ff9b::a9fe:a9fe", None),
    ],
)
def test_a_translated_address_reaches_where_it_is_translated_to(address: str, reach: Reach | None) -> None:
    """RFC 6052 2.1: the network would carry 64:ff9b::7f00:1 to 127.0.0.1."""
    assert reach_of(address) is reach


@pytest.mark.parametrize("peer", EVERY_REACH)
def test_a_peer_deals_with_what_is_as_far_outside_or_further(peer: Reach) -> None:
    assert [other for other in EVERY_REACH if peer.meets(other)] == list(EVERY_REACH[peer:])
    assert not peer.meets(None)
