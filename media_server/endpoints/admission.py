"""Whether a request may hear a track, and what its answer may then carry.

Owns: who a request comes from, by its token or its signature, and putting `auth.access`'s decision to work.
A signature reads a file (GET, HEAD) and begins no session: WebSocket and WHEP do not look at one. Where a
credential was needed, the URIs in playlists are signed, so that what follows needs none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

import structlog
from starlette.requests import HTTPConnection

from hls.asset import Asset
from media_server.auth.access import Decision, enforce, may_hear
from media_server.auth.principal import ANONYMOUS, Principal, Role, signature_holder
from media_server.auth.signing import HOUR_S, SIGNED_METHODS, UrlSigner, is_signed
from media_server.endpoints.credentials import method_of, token_of
from media_server.endpoints.services import Services, services_of
from media_server.errors import Denied, NotFound, Unauthenticated
from media_server.ids import canonical_uuid

SIGNED_FOR_S: Final = 6 * HOUR_S
"""How long the URIs last that a token opened; a player that outlives them reloads the master."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """A request that may hear `asset`.

    `shared` says that everyone may, so that any cache may keep the answer. `signer` is None where URIs need
    no signature; else those it makes last `lifetime_s` from `now`.
    """

    asset: Asset
    shared: bool
    signer: UrlSigner | None
    now: float
    lifetime_s: float

    def query_for(self, scope: str) -> str:
        """The query that opens `scope` for whoever reads the answer; empty where none is needed."""
        return self.signer.query(scope, now=self.now, lifetime_s=self.lifetime_s) if self.signer else ""

    def cache_control(self, directives: str) -> str:
        """`directives` for every cache, or only for the listener's own."""
        return f"{'public' if self.shared else 'private'}, {directives}"


async def admit(request: HTTPConnection, track_id: str) -> Admission:
    """Let the request, which may be a WebSocket's, in to the track that it names.

    Raises:
        Unauthenticated, Denied, NotFound: as `auth.access.enforce`; an id that is none answers like a track
            that does not exist.
    """
    services = services_of(request)
    settings, asset = services.settings, await _asset(services, track_id)

    def decide(principal: Principal, open_playback: bool) -> Decision:
        return may_hear(
            principal,
            visibility=asset.visibility if asset else None,
            owner_id=asset.user_id if asset else None,
            track_id=track_id,
            public_playback=settings.public_playback,
            open_playback=open_playback,
        )

    now = services.now()
    shared = decide(ANONYMOUS, open_playback=False) is Decision.ALLOWED
    decision = decide(ANONYMOUS, settings.playback_is_open)
    # a stale token must not keep anyone from what everyone may hear: it is looked at only where one is needed
    needed = decision is Decision.NEEDS_TOKEN
    lifetime_s = float(SIGNED_FOR_S)
    if needed:
        principal = identify(request, track_id)
        decision = decide(principal, open_playback=False)
        if principal.signed:
            # a signature must not be worth more than it says
            lifetime_s = _expires(request) - now
    enforce(decision, track_id)
    assert asset is not None  # what does not exist is never allowed
    structlog.contextvars.bind_contextvars(track_id=track_id)
    signer = services.signer if needed else None
    return Admission(asset=asset, shared=shared, signer=signer, now=now, lifetime_s=lifetime_s)


async def _asset(services: Services, track_id: str) -> Asset | None:
    try:
        return await services.assets.asset(canonical_uuid(track_id))
    except (ValueError, NotFound):
        return None


def identify(request: HTTPConnection, track_id: str | None = None) -> Principal:
    """Who sent the request: by its signature for `track_id`, else by its token, else nobody.

    Raises:
        Unauthenticated: the token is refused, or there are two.
        Denied: the signature is, and there is no token.
    """
    refusal = None
    if track_id is not None and is_signed(request.url.query):
        try:
            if _is_opened_by_signature(request):
                return signature_holder(track_id)
        except Denied as error:
            refusal = error
    principal = _bearer_of(request)
    if principal.anonymous and refusal is not None:
        raise refusal
    return principal


def _is_opened_by_signature(request: HTTPConnection) -> bool:
    """Whether the signature fits; False too where none is looked at.

    Raises:
        Denied: as `UrlSigner.verify`.
    """
    services, method = services_of(request), method_of(request)
    if services.signer is None or method not in SIGNED_METHODS:
        return False
    path = request.scope.get("raw_path") or request.url.path
    services.signer.verify(path, request.url.query, services.now(), method=method)
    return True


def _bearer_of(request: HTTPConnection) -> Principal:
    services = services_of(request)
    token = token_of(request, services.settings)
    if token is None or services.verifier is None:
        return ANONYMOUS
    principal = services.verifier.verify(token)
    structlog.contextvars.bind_contextvars(user_id=principal.subject)
    return principal


def _expires(request: HTTPConnection) -> int:
    return int(parse_qs(request.url.query)["expires"][0])


def require_admin(request: HTTPConnection) -> None:
    """Return if an administrator asks.

    Raises:
        Unauthenticated: `token_needed`, or as `identify`.
        Denied: `admin_needed`.
    """
    principal = identify(request)
    if principal.anonymous:
        raise Unauthenticated("token_needed", "a token is needed here")
    if not principal.at_least(Role.ADMIN):
        raise Denied("admin_needed", "this is for administrators")
