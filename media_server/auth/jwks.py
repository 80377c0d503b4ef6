"""The keys that the issuer publishes: JWT_JWKS_URL.

Owns: what of such a document is believed (`read_jwks`), and when it is fetched (`KeyRefresh`): every ten
minutes, and sooner when a token names a key that nobody knows, but never more often than every 30 s, however
many tokens come. While the issuer cannot be reached the keys that are known stay.
Source: RFC 7517 4 and 5, RFC 7518 6.3, RFC 8725 3.10 (where keys come from is never a token's choice).
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx2
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from media_server.auth.jws import is_plain_name
from media_server.auth.keys import MAX_RSA_BITS, RS256, KeySet, VerificationKey, rsa_problem
from media_server.settings import AppEnv, Settings

log = structlog.get_logger()

MAX_DOCUMENT_BYTES: Final = 65_536
MAX_KEYS: Final = 64
FETCH_WITHIN_S: Final = 10.0
CONNECT_WITHIN_S: Final = 3.0
HIGHEST_PORT: Final = 65_535

PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
"""RFC 7518 6.3.2 and 6.4: whoever publishes one of these has lost the key."""

MAX_NUMBER_CHARACTERS: Final = -(-MAX_RSA_BITS // 6) + 2
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")


class NoKeySetError(Exception):
    """What was fetched is no key set; the text says why and repeats nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The keys of a document that can be used, and how many of it cannot."""

    keys: tuple[VerificationKey, ...]
    refused: int


def read_jwks(document: bytes) -> Published:
    """The RS256 keys of a JWK set. Keys of other kinds are passed over, as RFC 7517 5 asks.

    Raises:
        NoKeySetError: it is not a set of at most 64 keys.
    """
    try:
        found = json.loads(document)
    except (ValueError, RecursionError):
        raise NoKeySetError("it is not JSON") from None
    entries = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(entries, list):
        raise NoKeySetError("it has no list named keys")
    if len(entries) > MAX_KEYS:
        raise NoKeySetError(f"it has {len(entries)} keys, at most {MAX_KEYS} are allowed")
    keys = tuple(key for entry in entries if (key := _key(entry)) is not None)
    return Published(keys=keys, refused=len(entries) - len(keys))


def _key(entry: object) -> VerificationKey | None:
    if not isinstance(entry, dict) or PRIVATE_MEMBERS & entry.keys() or not _is_for_verifying(entry):
        return None
    kid = entry.get("kid")
    if kid is not None and not is_plain_name(kid):
        return None
    key = _rsa(entry.get("n"), entry.get("e"))
    return None if key is None else VerificationKey(algorithm=RS256, key=key, kid=kid)


def _is_for_verifying(entry: Mapping[str, Any]) -> bool:
    operations = entry.get("key_ops", ["verify"])
    return (
        entry.get("kty") == "RSA"
        and entry.get("use", "sig") == "sig"
        and entry.get("alg", RS256) == RS256
        and isinstance(operations, list)
        and "verify" in operations
    )


def _rsa(modulus: object, exponent: object) -> RSAPublicKey | None:
    n, e = _number(modulus), _number(exponent)
    if n is None or e is None:
        return None
    try:
        key = RSAPublicNumbers(e, n).public_key()
    except ValueError:
        return None
    return key if rsa_problem(key) is None else None


def _number(text: object) -> int | None:
    """Base64urlUInt (RFC 7518 2)."""
    if not isinstance(text, str) or len(text) > MAX_NUMBER_CHARACTERS or not _BASE64URL.fullmatch(text):
        return None
    try:
        return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        return None


def checked_url(settings: Settings) -> httpx2.URL | None:
    """JWT_JWKS_URL, or None where it is not set.

    Raises:
        ValueError: it is no address that keys may be fetched from; the sentence names the setting.
    """
    if settings.jwt_jwks_url is None:
        return None
    try:
        url = httpx2.URL(settings.jwt_jwks_url)
    except httpx2.InvalidURL:
        raise ValueError("JWT_JWKS_URL is not an address") from None
    if url.port is not None and not 0 < url.port <= HIGHEST_PORT:
        raise ValueError(f"JWT_JWKS_URL names the port {url.port}, 1 to {HIGHEST_PORT} are allowed")
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError("JWT_JWKS_URL must begin with https:// and name a host")
    if url.userinfo:
        raise ValueError("JWT_JWKS_URL must not hold a password")
    # who can change what comes over the network could sign every token
    if settings.app_env is AppEnv.PRODUCTION and url.scheme == "http" and not _is_this_machine(url.host):
        raise ValueError("JWT_JWKS_URL must begin with https:// in production, or name this machine")
    return url


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often to fetch, in seconds; the rest after a failure doubles from `retry_s` up to `soonest_s`."""

    every_s: float = 600.0
    soonest_s: float = 30.0
    retry_s: float = 1.0

    def rest_s(self, failures: int) -> float:
        """How long to rest, unless a key is missed, after so many failures in a row."""
        if failures == 0:
            return self.every_s
        return min(self.soonest_s, self.retry_s * 2.0 ** min(failures - 1, 20))


class KeyRefresh:
    """Keeps the published keys of a set what the issuer says they are."""

    def __init__(self, url: httpx2.URL, keys: KeySet, pace: Pace | None = None) -> None:
        self._url = url
        self._keys = keys
        self._pace = pace or Pace()
        self._missed = asyncio.Event()
        self._known: tuple[str | None, ...] | None = None
        keys.on_missing(self._missed.set)

    async def run(self, stopping: asyncio.Event) -> None:
        """Fetch again and again until `stopping`."""
        timeout = httpx2.Timeout(FETCH_WITHIN_S, connect=CONNECT_WITHIN_S)
        failures = 0
        async with httpx2.AsyncClient(timeout=timeout, follow_redirects=False, trust_env=False) as client:
            while not stopping.is_set():
                self._missed.clear()
                failures = 0 if await self._refresh(client, failures) else failures + 1
                await self._rest(stopping, self._pace.rest_s(failures))

    async def _rest(self, stopping: asyncio.Event, rest_s: float) -> None:
        soonest_s = min(rest_s, self._pace.soonest_s)
        await _first((stopping,), soonest_s)
        await _first((stopping, self._missed), rest_s - soonest_s)

    async def _refresh(self, client: httpx2.AsyncClient, failures: int) -> bool:
        """Fetch once; whether that gave a key set. A failure is told once, until it ends."""
        try:
            async with asyncio.timeout(FETCH_WITHIN_S):
                published = read_jwks(await self._fetch(client))
        except (httpx2.HTTPError, TimeoutError, NoKeySetError) as error:
            say = log.debug if failures else log.warning
            reason = str(error) if isinstance(error, NoKeySetError) else type(error).__name__
            say("jwks.failed", reason=reason, keys_kept=len(self._known or ()))
            return False
        self._keys.publish(published.keys)
        known = tuple(key.kid for key in published.keys)
        if known != self._known or failures:
            log.info("jwks.fetched", keys=len(known), refused=published.refused)
        self._known = known
        return True

    async def _fetch(self, client: httpx2.AsyncClient) -> bytes:
        # not compressed: what a small answer becomes would have no bound
        headers = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}
        document = bytearray()
        async with client.stream("GET", self._url, headers=headers) as response:
            if response.status_code != 200:
                raise NoKeySetError(f"the status is {response.status_code}")
            async for chunk in response.aiter_raw():
                document += chunk
                if len(document) > MAX_DOCUMENT_BYTES:
                    raise NoKeySetError(f"it has more than {MAX_DOCUMENT_BYTES} bytes")
        return bytes(document)


async def _first(events: Sequence[asyncio.Event], seconds: float) -> None:
    """Wait for any of the events, at most so long."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
