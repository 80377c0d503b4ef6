"""The keys that tokens are verified with.

Owns: which key may prove what. A key belongs to one issuer and to one algorithm and may have a name (`kid`);
a token chooses among the keys of its issuer by that name and by nothing else, and where keys are fetched from
is ours to say. A set is only ever looked up in, so verifying a token waits for nobody.
Source: RFC 8725 2.1, 3.1 (one algorithm a key) and 3.5 (weak keys), RFC 7515 4.1.4 (`kid`).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from media_server.settings import Settings

HS256: Final = "HS256"
RS256: Final = "RS256"

MIN_RSA_BITS: Final = 2048
"""RFC 7518 3.3: RS256 MUST NOT be used with less."""
MAX_RSA_BITS: Final = 8192
"""Every bad token costs one verification, and its price grows with the square of this."""
MAX_EXPONENT_BITS: Final = 32

PUBLIC_LABELS: Final = frozenset({"PUBLIC KEY", "RSA PUBLIC KEY"})
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,40})-----.*?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationKey:
    """A key and the one algorithm it may be used with. `kid` is None where nobody named it."""

    algorithm: str
    key: str | RSAPublicKey = field(repr=False)
    kid: str | None = None


class KeySet:
    """The keys of the configured issuer: those of the settings, and those that the issuer publishes."""

    def __init__(self, issuer: str, configured: Sequence[VerificationKey] = ()) -> None:
        self._issuer = issuer
        self._configured = tuple(configured)
        self._published: tuple[VerificationKey, ...] = ()
        self._on_missing: Callable[[], None] | None = None

    def __len__(self) -> int:
        return len(self._configured) + len(self._published)

    @classmethod
    def of(cls, settings: Settings) -> KeySet:
        """The keys of JWT_SECRET, JWT_SECRET_PREVIOUS and JWT_PUBLIC_KEY.

        Raises:
            ValueError: one of them is no such key; the sentence names the setting.
        """
        return cls(settings.jwt_issuer, (*_secrets(settings), *_public_keys(settings.jwt_public_key)))

    def find(self, issuer: object, algorithm: str | None, kid: str | None) -> tuple[VerificationKey, ...]:
        """The keys that may have signed a token which says this of itself.

        Where it names a key, that one; where no key has that name, those without any: the settings name none.
        """
        if issuer != self._issuer:
            return ()
        keys = tuple(k for k in (*self._configured, *self._published) if k.algorithm == algorithm)
        if kid is None:
            return keys
        return tuple(k for k in keys if k.kid == kid) or tuple(k for k in keys if k.kid is None)

    def publish(self, keys: Sequence[VerificationKey]) -> None:
        """Replace the published keys."""
        self._published = tuple(keys)

    def on_missing(self, told: Callable[[], None]) -> None:
        """Call `told` whenever a token names a key that nobody knows."""
        self._on_missing = told

    def miss(self, issuer: object, algorithm: str | None, kid: str | None) -> None:
        """A token was refused: if its key may be a new one of the issuer, say so."""
        may_be_new = issuer == self._issuer and algorithm == RS256 and kid is not None
        if may_be_new and self._on_missing is not None and kid not in {key.kid for key in self._published}:
            self._on_missing()


def rsa_problem(key: RSAPublicKey) -> str | None:
    """Why the key is not one to trust, as the end of a sentence; None: it is."""
    if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        return f"has {key.key_size} bits, {MIN_RSA_BITS} to {MAX_RSA_BITS} are allowed"
    if key.public_numbers().e.bit_length() > MAX_EXPONENT_BITS:
        return f"has an exponent of more than {MAX_EXPONENT_BITS} bits"
    return None


def _secrets(settings: Settings) -> list[VerificationKey]:
    keys = []
    for name in ("jwt_secret", "jwt_secret_previous"):
        secret = getattr(settings, name)
        if secret is None:
            continue
        text = secret.get_secret_value()
        if _is_public(text):
            raise ValueError(f"{name.upper()} is a public key, HS256 needs a secret")
        keys.append(VerificationKey(algorithm=HS256, key=text))
    return keys


def _is_public(text: str) -> bool:
    """Whether this is a key that everybody may know: as PEM or for SSH, as a JWK, or as bare base64."""
    try:
        jwt.get_algorithm_by_name(HS256).prepare_key(text)
    except jwt.InvalidKeyError:
        return True
    return _is_jwk(text) or _is_der(text)


def _is_jwk(text: str) -> bool:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and "kty" in found


def _is_der(text: str) -> bool:
    try:
        load_der_public_key(base64.b64decode(text))
    except (ValueError, UnsupportedAlgorithm):
        return False
    return True


def _public_keys(text: str | None) -> list[VerificationKey]:
    """The keys of one or more PEM blocks; a line feed may be written as a backslash and an n."""
    if text is None:
        return []
    text = text.replace("\\r", "").replace("\\n", "\n")
    blocks = list(_PEM.finditer(text))
    if not blocks or _PEM.sub("", text).strip():
        raise ValueError("JWT_PUBLIC_KEY must be one or more PEM blocks and nothing else")
    # told by their number and label: what they hold may be private
    return [
        VerificationKey(algorithm=RS256, key=_public_key(number, block[1], block[0]))
        for number, block in enumerate(blocks, start=1)
    ]


def _public_key(number: int, label: str, pem: str) -> RSAPublicKey:
    where = f"JWT_PUBLIC_KEY: block {number}"
    if label not in PUBLIC_LABELS:
        raise ValueError(f"{where} is a {label}, a PUBLIC KEY is needed")
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"{where} cannot be read as a public key") from None
    if not isinstance(key, RSAPublicKey):
        raise ValueError(f"{where} is not an RSA key, RS256 needs one")
    if problem := rsa_problem(key):
        raise ValueError(f"{where} {problem}")
    return key
