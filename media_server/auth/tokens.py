"""Access tokens: who the bearer is, proven by a key we know.

Owns: which claims must hold, after one of `auth.keys` has proven that the issuer wrote them.
Source: RFC 8725, RFC 7519; RFC 9068 for `at+jwt`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import jwt

from media_server.auth.jws import read_unverified, refuse_token
from media_server.auth.keys import KeySet, VerificationKey
from media_server.auth.principal import ROLES, Principal, roles_named
from media_server.errors import Unauthenticated
from media_server.ids import is_canonical_uuid
from media_server.settings import Settings

LEEWAY_S: Final = 30
"""How far the issuer's clock may be off ours."""

TOKEN_CODES: Final = frozenset({"bad_token", "token_expired", "token_not_yet_valid"})
"""The codes that say: a token came, and it is not accepted."""

NOT_FOR_ACCESS: Final = frozenset({"refresh", "refresh_token", "rt+jwt", "id", "id_token"})
PURPOSE_CLAIMS: Final = ("token_use", "token_type", "type", "typ")
MAX_SUBJECT_CHARACTERS: Final = 255
MAX_NAMES: Final = 64
LATEST_S: Final = 2**53
"""Where JSON numbers stop being exact; no clock reads later."""


class TokenVerifier:
    """Turns a token into a Principal, or refuses it; never waits."""

    def __init__(
        self, settings: Settings, now: Callable[[], float] = time.time, keys: KeySet | None = None
    ) -> None:
        """`keys` are those of the settings unless given.

        Raises:
            ValueError: as `KeySet.of`.
        """
        self._keys = KeySet.of(settings) if keys is None else keys
        self._audience = settings.jwt_audience
        self._max_lifetime_s = settings.jwt_max_lifetime_s
        self._now = now

    @property
    def has_keys(self) -> bool:
        """Whether any token can be accepted at all."""
        return len(self._keys) > 0

    def verify(self, token: str) -> Principal:
        """Who the bearer of `token` is.

        Raises:
            Unauthenticated: `bad_token`, `token_expired` or `token_not_yet_valid`; the message never contains
                anything of the token.
        """
        said = read_unverified(token)
        asked = (said.claims.get("iss"), said.algorithm, said.kid)
        if not any(_is_signed_with(token, key) for key in self._keys.find(*asked)):
            self._keys.miss(*asked)
            refuse_token("no key of its issuer made this signature")
        return self._believe(said.claims)

    def _believe(self, claims: Mapping[str, Any]) -> Principal:
        """The principal of claims whose signature holds."""
        self._check_times(claims)
        _check_audience(claims.get("aud"), self._audience)
        _check_purpose(claims)
        if "jti" in claims:
            _text(claims, "jti")
        return Principal(
            subject=_text(claims, "sub"),
            roles=roles_named((*_names(claims, "role"), *_names(claims, "roles"))),
            track_id=_track_id(claims),
            anonymous=False,
            permissions=(
                None if claims.get("permissions") is None else frozenset(_names(claims, "permissions"))
            ),
        )

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        now = self._now()
        issued, expires = _whole_seconds(claims, "iat"), _whole_seconds(claims, "exp")
        not_before = _whole_seconds(claims, "nbf") if "nbf" in claims else issued
        lifetime_s = expires - issued
        if not 0 < lifetime_s <= self._max_lifetime_s:
            refuse_token(f"its lifetime is not between 1 and {self._max_lifetime_s} s (JWT_MAX_LIFETIME_S)")
        if expires <= now - LEEWAY_S:
            raise Unauthenticated("token_expired", "the token has expired")
        if max(issued, not_before) > now + LEEWAY_S:
            raise Unauthenticated("token_not_yet_valid", "the token is not valid yet")


def _is_signed_with(token: str, key: VerificationKey) -> bool:
    """Whether the key made the signature by its own algorithm, whatever the header says."""
    try:
        jwt.PyJWS(algorithms=[key.algorithm]).decode(token, key.key, algorithms=[key.algorithm])
    except jwt.InvalidTokenError:
        return False
    return True


def _whole_seconds(claims: Mapping[str, Any], name: str) -> int:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < LATEST_S:
        refuse_token(f"{name} is missing or not a whole number of seconds")
    return value


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_SUBJECT_CHARACTERS or not value.isprintable():
        refuse_token(f"{name} is missing or not a printable text")
    return value


def _check_audience(value: object, expected: str) -> None:
    """RFC 7519 4.1.3: one text, or a list of which one must be us."""
    audiences = value if isinstance(value, list) else [value]
    if not all(isinstance(audience, str) for audience in audiences) or expected not in audiences:
        refuse_token("it is meant for another audience")


def _check_purpose(claims: Mapping[str, Any]) -> None:
    for name in PURPOSE_CLAIMS:
        value = claims.get(name)
        if value is not None and (not isinstance(value, str) or value.lower() in NOT_FOR_ACCESS):
            refuse_token("it is not an access token")


def _names(claims: Mapping[str, Any], name: str) -> Sequence[str]:
    """A claim that is a name or a list of names; absent or null: none."""
    value = claims.get(name)
    if value is None:
        return ()
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or len(names) > MAX_NAMES or not all(isinstance(n, str) for n in names):
        refuse_token(f"{name} is not a name or a list of names")
    return names


def _track_id(claims: Mapping[str, Any]) -> str | None:
    value = claims.get("track_id")
    if value is None:
        return None
    if not isinstance(value, str) or not is_canonical_uuid(value):
        # to ignore it would turn a token for one track into one for all
        refuse_token("track_id is not a canonical UUID")
    return value


def mint(
    settings: Settings,
    *,
    subject: str,
    now: float,
    roles: Sequence[str] = (),
    track_id: str | None = None,
    lifetime_s: int = 3600,
) -> str:
    """A token of our own issuer, signed with JWT_SECRET, for operators and tests.

    Raises:
        ValueError: JWT_SECRET is not set, or an argument would make a token that is refused.
    """
    if settings.jwt_secret is None:
        raise ValueError("JWT_SECRET is not set, there is nothing to sign a token with")
    if not 0 < lifetime_s <= settings.jwt_max_lifetime_s:
        raise ValueError(f"lifetime is {lifetime_s} s, 1 to {settings.jwt_max_lifetime_s} s are allowed")
    if unknown := sorted(set(roles) - set(ROLES)):
        raise ValueError(f"role {unknown[0]!r} is unknown, known are {', '.join(ROLES)}")
    if not 0 < len(subject) <= MAX_SUBJECT_CHARACTERS or not subject.isprintable():
        raise ValueError(f"subject must be 1 to {MAX_SUBJECT_CHARACTERS} printable characters")
    if track_id is not None and not is_canonical_uuid(track_id):
        raise ValueError("track_id must be a canonical lower-case UUID")
    claims: dict[str, Any] = {
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "sub": subject,
        "iat": int(now),
        "exp": int(now) + lifetime_s,
        "jti": str(uuid.uuid4()),
    }
    if roles:
        claims["roles"] = list(roles)
    if track_id is not None:
        claims["track_id"] = track_id
    return jwt.encode(claims, settings.jwt_secret.get_secret_value(), algorithm="HS256")
