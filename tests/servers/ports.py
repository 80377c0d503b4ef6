"""Ports that nobody listens on."""

from __future__ import annotations

import contextlib
import random
import socket

OURS = range(20_000, 32_000)
"""Below those that Linux gives to connections that go out, which may take a port that was just free."""

_random = random.SystemRandom()


def free_ports(count: int) -> list[int]:
    """`count` different ports of the loopback address, free a moment ago."""
    found: list[int] = []
    with contextlib.ExitStack() as held:
        while len(found) < count:
            port = _random.choice(OURS)
            one = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                one.bind(("127.0.0.1", port))
                found.append(port)
    return found
