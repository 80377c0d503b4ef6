"""The shape of a compact token, before anybody believes it.

Owns: what may be looked at at all. Bounded size, one alphabet, one JSON object per part, every key once.
Source: RFC 7515 (compact serialisation, header parameters), RFC 8725 (what must be checked).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from media_server.errors import Unauthenticated

MAX_TOKEN_BYTES: Final = 8192
ACCEPTED_TYPES: Final = frozenset({"jwt", "at+jwt"})
"""RFC 7519 5.1 and RFC 9068 2.1; media types compare without case (RFC 7515 4.1.9)."""

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_PLAIN_KID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def refuse_token(reason: str) -> NoReturn:
    """Raise `bad_token`; `reason` never repeats anything from the token."""
    raise Unauthenticated("bad_token", f"the token is not valid: {reason}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unverified:
    """What a well-formed token says. Nothing of it is proven.

    Attributes:
        algorithm: as the header names it; None where that is no text.
        kid: a plain name to look a key up by, never more; None where the header has none.
    """

    algorithm: str | None
    kid: str | None
    claims: dict[str, Any]


def read_unverified(token: str) -> Unverified:
    """What the token says of itself. `jku`, `jwk`, `x5u`, `x5c` are not looked at: keys are ours to choose.

    Raises:
        Unauthenticated: `bad_token`, it is not a well-formed token of a kind accepted here.
    """
    if len(token) > MAX_TOKEN_BYTES:
        refuse_token(f"it has more than {MAX_TOKEN_BYTES} bytes")
    parts = _COMPACT.fullmatch(token)
    if not parts:
        refuse_token("it is not three base64url parts")
    header = _read_object(parts[1])
    _check_header(header)
    algorithm = header.get("alg")
    return Unverified(
        algorithm=algorithm if isinstance(algorithm, str) else None,
        kid=header.get("kid"),
        claims=_read_object(parts[2]),
    )


def is_plain_name(value: object) -> bool:
    """Whether this may be a key's name: short, and of letters, digits, `.`, `_` and `-`."""
    return isinstance(value, str) and _PLAIN_KID.fullmatch(value) is not None


def _check_header(header: dict[str, Any]) -> None:
    if "crit" in header or "b64" in header:
        refuse_token("the header asks for extensions")
    kind = header.get("typ", "jwt")
    if not isinstance(kind, str) or kind.lower() not in ACCEPTED_TYPES:
        refuse_token("it is not an access token")
    # what does not look like a name is an attack on somebody's look-up
    if not is_plain_name(header.get("kid", "none")):
        refuse_token("the key id is not a plain name")


def _read_object(part: str) -> dict[str, Any]:
    try:
        text = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode()
        value = json.loads(text, object_pairs_hook=_no_key_twice, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        refuse_token("a part is not a JSON object with every key once")
    if not isinstance(value, dict):
        refuse_token("a part is not a JSON object")
    return value


def _no_key_twice(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
