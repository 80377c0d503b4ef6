"""Signed URLs: a path that may be fetched without a token until a moment in time.

Owns: what is signed and how. `?expires=<unix seconds>&kid=<id>&signature=<base64url, no padding>`, where
signature = HMAC-SHA256(secret, "v1\\n" + kid + "\\n" + scope + "\\n" + expires). The scope is the folder of a
rendition for its segments, so that one signature serves them all, and the path itself for everything else.
`config/contract/signed-urls.json` holds test vectors for those who sign or check elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote_to_bytes, urlencode

from media_server.errors import Denied
from media_server.settings import MIN_SECRET_CHARACTERS, Settings

MAX_AHEAD_S: Final = 86_400
HOUR_S: Final = 3600
LEEWAY_S: Final = 60
"""How far the signer's clock may be off ours."""

DERIVED_KID: Final = "jwt"
DERIVATION_LABEL: Final = b"veza media server: signed urls v1"
SIGNED_METHODS: Final = frozenset({"GET", "HEAD"})
PARAMETERS: Final = ("expires", "kid", "signature")

_KID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_EXPIRES = re.compile(r"[1-9][0-9]{0,11}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A secret and the name it goes by in URLs. Two may share a name while a secret is being rotated."""

    kid: str
    secret: bytes = field(repr=False)


def keys_of(settings: Settings) -> tuple[SigningKey, ...]:
    """The keys of URL_SIGNING_KEYS, or else derived from JWT_SECRET; the first signs. Empty: neither is set.

    Raises:
        ValueError: URL_SIGNING_KEYS is not a list of `kid:secret` with secrets of 32 characters or more.
    """
    if settings.url_signing_keys is not None:
        return _parse_keys(settings.url_signing_keys.get_secret_value())
    secrets = (settings.jwt_secret, settings.jwt_secret_previous)
    return tuple(
        SigningKey(
            kid=DERIVED_KID,
            secret=hmac.digest(secret.get_secret_value().encode(), DERIVATION_LABEL, hashlib.sha256),
        )
        for secret in secrets
        if secret is not None
    )


def _parse_keys(text: str) -> tuple[SigningKey, ...]:
    keys: dict[str, SigningKey] = {}
    entries = filter(None, (part.strip() for part in text.split(",")))
    # told by their number: what looks like a name may be a secret that lost its own
    for number, entry in enumerate(entries, start=1):
        kid, colon, secret = entry.partition(":")
        if not colon or not _KID.fullmatch(kid) or kid in keys:
            raise ValueError(
                "URL_SIGNING_KEYS must be kid:secret pairs, each kid once, of letters, digits, . _ -"
            )
        if len(secret) < MIN_SECRET_CHARACTERS:
            raise ValueError(
                f"URL_SIGNING_KEYS: secret {number} has {len(secret)} characters,"
                f" at least {MIN_SECRET_CHARACTERS} are needed"
            )
        keys[kid] = SigningKey(kid=kid, secret=secret.encode())
    if not keys:
        raise ValueError("URL_SIGNING_KEYS holds no key")
    return tuple(keys.values())


def scope_of(path: str | bytes) -> str:
    """What a signature for `path` covers.

    Args:
        path: as it stands in the request line: percent-encoded, absolute, without the query
            (ASGI: `raw_path`).
    Raises:
        Denied: `bad_path`, it is not UTF-8 or has an empty, `.` or `..` part once decoded.
    """
    try:
        decoded = unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        raise Denied("bad_path", "the path is not UTF-8") from None
    root, *parts = decoded.split("/")
    if root or not parts or any(part in {"", ".", ".."} or not part.isprintable() for part in parts):
        raise Denied("bad_path", "the path has an empty, relative or unprintable part")
    if len(parts) == 5 and parts[0] == "hls":
        return folder_scope(parts[1], parts[2], parts[3])
    return decoded


def folder_scope(track_id: str, version: str, rendition: str) -> str:
    """The scope that covers every file of one rendition of one version."""
    return f"/hls/{track_id}/{version}/{rendition}/"


def expiry(now: float, lifetime_s: float) -> int:
    """When a signature made now ends: rounded up to the hour, so that caches share it, at most 24 h ahead."""
    latest = int(now + MAX_AHEAD_S) // HOUR_S
    wanted = -int(-(now + lifetime_s) // HOUR_S)
    return min(wanted, latest) * HOUR_S


def is_signed(query: str) -> bool:
    """Whether the query carries a signature, right or wrong."""
    return any(name == "signature" for name, _ in parse_qsl(query, keep_blank_values=True))


class UrlSigner:
    """Signs paths with the first key, accepts the signatures of all."""

    def __init__(self, keys: Sequence[SigningKey]) -> None:
        if not keys:
            raise ValueError("a signer needs at least one key")
        self._keys = tuple(keys)

    def sign(self, scope: str, expires: int, kid: str | None = None) -> str:
        """The signature of `scope` by the key named `kid`, the first key unless given.

        Raises:
            KeyError: there is no such key.
        """
        chosen = self._keys[0].kid if kid is None else kid
        for key in self._keys:
            if key.kid == chosen:
                return _signature(key, scope, expires)
        raise KeyError(chosen)

    def query(self, scope: str, *, now: float, lifetime_s: float = 6 * HOUR_S) -> str:
        """The query string that opens `scope`, without its question mark.

        Args:
            scope: from `scope_of` or `folder_scope`.
            lifetime_s: for at least this long, up to 23 h; the full hour after it is the end.
        """
        expires = expiry(now, lifetime_s)
        kid = self._keys[0].kid
        return urlencode({"expires": expires, "kid": kid, "signature": self.sign(scope, expires)})

    def verify(self, path: str | bytes, query: str, now: float, *, method: str = "GET") -> None:
        """Return if the query opens this path now.

        Args:
            path: as in `scope_of`.
            query: as in the request line; parameters that are not the signature's are ignored.
        Raises:
            Denied: `bad_path`, `bad_signature` or `signature_expired`.
        """
        scope = scope_of(path)
        kid, expires, signature = _read(query)
        if method not in SIGNED_METHODS:
            raise Denied("bad_signature", "a signed URL is for GET and HEAD only")
        expected = [_signature(key, scope, expires) for key in self._keys if key.kid == kid]
        if not any(hmac.compare_digest(one.encode(), signature.encode()) for one in expected):
            raise Denied("bad_signature", "the signature does not fit this path and expiry")
        if expires + LEEWAY_S <= now:
            raise Denied("signature_expired", "the signed URL has expired")
        if expires > now + MAX_AHEAD_S + LEEWAY_S:
            raise Denied("bad_signature", f"the expiry is more than {MAX_AHEAD_S} s ahead")


def _signature(key: SigningKey, scope: str, expires: int) -> str:
    text = f"v1\n{key.kid}\n{scope}\n{expires}"
    digest = hmac.digest(key.secret, text.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _read(query: str) -> tuple[str, int, str]:
    """kid, expires and signature of a query in which each stands exactly once."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=32)
    except ValueError:
        raise Denied("bad_signature", "the query has too many parameters") from None
    given = [(name, value) for name, value in pairs if name in PARAMETERS]
    found = dict(given)
    if len(given) != len(PARAMETERS) or len(found) != len(PARAMETERS):
        raise Denied("bad_signature", "expires, kid and signature must each be given once")
    if not _KID.fullmatch(found["kid"]) or not _EXPIRES.fullmatch(found["expires"]):
        raise Denied("bad_signature", "kid or expires is not well-formed")
    return found["kid"], int(found["expires"]), found["signature"]
