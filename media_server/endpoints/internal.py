"""Who may use the internal routes: servers with the key, or in development whoever sits at this machine.

Owns: the key's check, and what counts as a request from here. A web page of another origin that a developer
happens to have open is not from here, although its requests come from this machine.
"""

from __future__ import annotations

import hmac
import re
from ipaddress import ip_address, ip_network
from typing import Final

from starlette.requests import Request

from media_server.endpoints.proxies import parse_address
from media_server.endpoints.services import services_of
from media_server.errors import Denied, Unauthenticated
from media_server.settings import Settings

SAME_ORIGIN_SITES: Final = frozenset({"same-origin", "none"})
"""Fetch Metadata: our own page, or an address that a person typed."""

_HOST = re.compile(r"(?i)(localhost|127(?:\.[0-9]{1,3}){3}|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


def require_internal(request: Request) -> None:
    """Return if the request may use internal routes.

    Raises:
        Unauthenticated: `internal_key_needed`, the key is missing or wrong.
        Denied: `internal_only`, the address is not in INTERNAL_ALLOWED_IPS, or there is no key and the
            request does not come from here.
    """
    settings = services_of(request).settings
    if settings.internal_allowed_ips and not _is_listed(request, settings.internal_allowed_ips):
        raise Denied("internal_only", "this address is not in INTERNAL_ALLOWED_IPS")
    keys = _keys(settings)
    if not keys:
        if not settings.development:
            raise Denied("internal_only", "internal routes are closed until INTERNAL_API_KEY is set")
        require_local(request)
        return
    given = request.headers.getlist(settings.internal_api_key_header)
    shown = given[0].encode("latin-1") if len(given) == 1 else b""
    # summed, so that every key is compared and the time does not tell which one it was
    if not sum(hmac.compare_digest(shown, key) for key in keys):
        name = settings.internal_api_key_header
        raise Unauthenticated("internal_key_needed", f"the header {name} is missing or wrong")


def _is_listed(request: Request, networks: tuple[str, ...]) -> bool:
    peer = parse_address(request.client.host) if request.client else None
    return peer is not None and any(peer in ip_network(network, strict=False) for network in networks)


def _keys(settings: Settings) -> list[bytes]:
    secrets = (settings.internal_api_key, settings.internal_api_key_previous)
    return [secret.get_secret_value().encode() for secret in secrets if secret is not None]


def require_local(request: Request) -> None:
    """Return if the request was made at this machine, for this machine, and by no page of another origin.

    Raises:
        Denied: `internal_only`.
    """
    if not is_local(request):
        raise Denied("internal_only", "only requests from this machine and its own page are taken")


def is_local(request: Request) -> bool:
    """Loopback peer, loopback Host, same origin."""
    peer = parse_address(request.client.host) if request.client else None
    hosts = request.headers.getlist("host")
    if peer is None or not peer.is_loopback or len(hosts) != 1 or not _is_loopback(hosts[0]):
        return False
    origins, sites = request.headers.getlist("origin"), request.headers.getlist("sec-fetch-site")
    # the scheme is not compared: a proxy on this machine may speak TLS for us
    from_our_page = all(re.sub("^https?://", "", origin.lower()) == hosts[0].lower() for origin in origins)
    return from_our_page and all(site in SAME_ORIGIN_SITES for site in sites)


def _is_loopback(host: str) -> bool:
    """A Host of this machine: a name rebound to 127.0.0.1 by somebody's DNS is none."""
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = found[1].lower().strip("[]")
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False
