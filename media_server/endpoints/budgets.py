"""Which requests count against which budgets.

Owns: the kinds of requests, by their path, and what each kind costs whom. Pure; `rate_limits` counts.
Media is counted apart and by address alone: a player may fetch a whole track as fast as the line allows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from ipaddress import IPv6Address
from typing import Final

from media_server.endpoints.proxies import parse_address
from media_server.settings import Settings
from media_server.state.buckets import Budget

MINUTE_S: Final = 60.0
READING: Final = frozenset({"GET", "HEAD"})

UNLIMITED_PATHS: Final = frozenset({"/health", "/healthz", "/readyz", "/metrics"})
"""What watches the server must see it most of all when it is overrun."""

_MEDIA = re.compile(r"/hls/.*|/tracks/[^/]+/.+")
_PAGE = re.compile(r"/|/favicon\.ico|/web/.*")
_INTERNAL = re.compile(r"/api/v1/internal/.*|/transcode|/dev/.*")

MEDIA_BURST_S: Final = 10
"""A player that fetches ahead does not pace itself: by default 1000 segments, an hour of music, at once."""


class Kind(StrEnum):
    """What is asked for."""

    UNLIMITED = "unlimited"
    MEDIA = "media"
    PAGE = "page"
    INTERNAL = "internal"
    WEBSOCKET = "websocket"
    OTHER = "other"


PERSONAL: Final = frozenset({Kind.INTERNAL, Kind.WEBSOCKET, Kind.OTHER})
"""What counts for a person, and not for an address alone."""


class Limit(StrEnum):
    """A budget, by who or what has it; the label of the metric."""

    TOKEN = "token"  # noqa: S105  # the name of a limit, not a secret
    GUEST = "guest"
    WEBSOCKET = "websocket"
    ADDRESS = "address"
    MEDIA = "media"
    SERVER = "server"


SETTINGS: Final[Mapping[Limit, str]] = {
    Limit.TOKEN: "RATE_LIMIT_TOKEN_PER_MINUTE",
    Limit.GUEST: "RATE_LIMIT_GUEST_PER_MINUTE",
    Limit.WEBSOCKET: "RATE_LIMIT_WEBSOCKETS_PER_MINUTE",
    Limit.ADDRESS: "RATE_LIMIT_ADDRESS_PER_SECOND",
    Limit.MEDIA: "RATE_LIMIT_MEDIA_PER_SECOND",
    Limit.SERVER: "RATE_LIMIT_SERVER_PER_SECOND",
}


SHARED: Final = frozenset({Limit.TOKEN, Limit.GUEST, Limit.WEBSOCKET})
"""What a person may do, at however many servers. The others protect one server, which counts them itself."""

Cost = tuple[Limit, str]
"""One request of a budget, and whose budget it is."""


def budgets_of(settings: Settings) -> dict[Limit, Budget]:
    """The budgets that the settings give; one of 0 is left out."""
    counts = {limit: int(getattr(settings, name.lower())) for limit, name in SETTINGS.items()}
    shapes = {
        Limit.TOKEN: (MINUTE_S, 1 / 10),
        Limit.GUEST: (MINUTE_S, 1 / 5),
        Limit.WEBSOCKET: (MINUTE_S, 1 / 5),
        Limit.ADDRESS: (1.0, 1.0),
        Limit.MEDIA: (1.0, MEDIA_BURST_S),
        Limit.SERVER: (1.0, 1.0),
    }
    return {
        limit: Budget.of(counts[limit], per_s, burst=max(1, round(counts[limit] * share)))
        for limit, (per_s, share) in shapes.items()
        if counts[limit]
    }


def kind_of(scope_type: str, method: str, path: str) -> Kind:
    """What a request asks for; whatever is not known counts in full."""
    if scope_type == "websocket":
        return Kind.WEBSOCKET
    if path in UNLIMITED_PATHS:
        return Kind.UNLIMITED
    if _INTERNAL.fullmatch(path):
        return Kind.INTERNAL
    if method in READING and _MEDIA.fullmatch(path):
        return Kind.MEDIA
    if method in READING and _PAGE.fullmatch(path):
        return Kind.PAGE
    return Kind.OTHER


def costs_of_address(kind: Kind, address: str, *, trusted: bool) -> tuple[Cost, ...]:
    """What is counted before anybody looks at a token, which takes more time than counting.

    Args:
        trusted: a server with the key asks, for an internal route.
    """
    if kind is Kind.MEDIA:
        return ((Limit.MEDIA, address),)
    if kind is Kind.UNLIMITED or trusted:
        return ()
    return ((Limit.ADDRESS, address),)


def costs_of_caller(kind: Kind, address: str, subject: str | None, *, trusted: bool) -> tuple[Cost, ...]:
    """What is counted after that, in this order.

    The server's own comes last: who is refused anyway takes nothing from everybody else.

    Args:
        subject: of a token that holds; None for anybody else.
    """
    everybody = (Limit.SERVER, "")
    if kind in {Kind.UNLIMITED, Kind.MEDIA}:
        return ()
    if trusted or kind not in PERSONAL:
        return (everybody,)
    who = f"address {address}" if subject is None else f"subject {subject}"
    person = Limit.GUEST if subject is None else Limit.TOKEN
    return ((Limit.WEBSOCKET if kind is Kind.WEBSOCKET else person, who), everybody)


def network_of(host: str | None) -> str:
    """What stands for an address: itself, or of IPv6 the first 64 bits, which one subscriber has alone."""
    address = parse_address(host) if host else None
    if isinstance(address, IPv6Address):
        return str(IPv6Address(int(address) >> 64 << 64)) + "/64"
    return str(address) if address else "unknown"
