"""media_server/auth/jws.py: what may be looked at at all. Every malformed token: test_tokens.py."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_server.auth.jws import MAX_TOKEN_BYTES, Unverified, is_plain_name, read_unverified
from media_server.errors import Unauthenticated


def _part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _token(header: Any, claims: Any = None) -> str:
    return f"{_part(header)}.{_part({'sub': 'user-1'} if claims is None else claims)}.c2ln"


@pytest.mark.parametrize(
    ("header", "algorithm", "kid"),
    [
        ({"alg": "RS256", "kid": "2026-11"}, "RS256", "2026-11"),
        ({"alg": "none"}, "none", None),
        ({"alg": ["HS256"]}, None, None),
        ({"alg": None}, None, None),
        ({}, None, None),
        ({"alg": "HS256", "jku": "https://x.example", "x5u": "y", "jwk": {}, "x5c": []}, "HS256", None),
    ],
)
def test_what_a_token_says_of_itself(header: dict[str, Any], algorithm: str | None, kid: str | None) -> None:
    """RFC 7515 4.1; where its key might be found is not looked at (RFC 8725 3.10)."""
    assert read_unverified(_token(header)) == Unverified(
        algorithm=algorithm, kid=kid, claims={"sub": "user-1"}
    )


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("x" * (MAX_TOKEN_BYTES + 1), "more than 8192 bytes"),
        ("a.b", "not three base64url parts"),
        ("a.b.", "not three base64url parts"),
        ("AA.AA.AA", "a JSON object with every key once"),
        (_token([]), "not a JSON object"),
        (_token({}, []), "not a JSON object"),
        (_token({"crit": []}), "extensions"),
        (_token({"typ": "secevent+jwt"}), "not an access token"),
        (_token({"typ": ["JWT"]}), "not an access token"),
        (_token({"kid": None}), "key id"),
        (_token({"kid": "../x"}), "key id"),
        (_token({"kid": ""}), "key id"),
        (_token({"kid": "x" * 129}), "key id"),
    ],
)
def test_what_is_no_token_is_refused_with_the_reason(token: str, reason: str) -> None:
    """RFC 7519 7.2, RFC 8725 3.10 and 3.11."""
    with pytest.raises(Unauthenticated, match=reason) as raised:
        read_unverified(token)
    assert raised.value.code == "bad_token"


@pytest.mark.parametrize("name", ["a", "2026-11", "A.b_c-9", "x" * 128])
def test_a_plain_name(name: str) -> None:
    assert is_plain_name(name)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "\u0661", "a\n", "x" * 129, None, 1, ["a"]])
def test_what_is_no_plain_name(name: object) -> None:
    assert not is_plain_name(name)


@given(st.text(alphabet="ABab01-_.=", max_size=60))
def test_a_text_is_read_or_refused(text: str) -> None:
    """A token is foreign data: never a bug."""
    try:
        said = read_unverified(text)
    except Unauthenticated as error:
        assert error.code == "bad_token"
    else:
        assert isinstance(said.claims, dict)
