"""media_server/auth/signing.py against the vectors in config/contract/signed-urls.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_server.auth.signing import (
    HOUR_S,
    MAX_AHEAD_S,
    UrlSigner,
    expiry,
    folder_scope,
    is_signed,
    keys_of,
    scope_of,
)
from media_server.errors import Denied
from media_server.settings import Settings

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "config/contract/signed-urls.json").read_text()
)
NOW = VECTORS["now"]
URL_SIGNING_KEYS = ",".join(f"{key['kid']}:{key['secret']}" for key in VECTORS["keys"])
SIGNER = UrlSigner(keys_of(Settings(url_signing_keys=URL_SIGNING_KEYS)))


def _why(case: dict[str, Any]) -> str:
    return str(case["why"])


@pytest.mark.parametrize("case", VECTORS["accepted"], ids=_why)
def test_a_signature_covers_the_scope_of_its_path(case: dict[str, Any]) -> None:
    """Contract, signed URLs: HMAC-SHA256(secret, "v1\\n" + kid + "\\n" + scope + "\\n" + expires)."""
    assert scope_of(case["path"]) == case["scope"]
    assert scope_of(case["path"].encode()) == case["scope"]
    assert SIGNER.sign(case["scope"], case["expires"], case["kid"]) == case["signature"]
    SIGNER.verify(case["path"], case["query"], NOW)
    SIGNER.verify(case["path"], case["query"], NOW, method="HEAD")


@pytest.mark.parametrize("case", VECTORS["refused"], ids=_why)
def test_what_was_not_signed_is_refused(case: dict[str, Any]) -> None:
    """Reliability, signed URLs: expiry edit, `..`, `%2e%2e`, double slash, case, another folder."""
    with pytest.raises(Denied) as raised:
        SIGNER.verify(case["path"], case["query"], NOW)
    assert raised.value.code == case["code"]


@pytest.mark.parametrize("case", VECTORS["times"]["cases"], ids=_why)
def test_a_signature_holds_for_its_time(case: dict[str, Any]) -> None:
    """At most 24 h ahead; F17: signed URLs tolerate 60 s of clock skew."""
    path, query = VECTORS["times"]["path"], VECTORS["times"]["query"]
    if case["code"] is None:
        SIGNER.verify(path, query, case["now"])
        return
    with pytest.raises(Denied) as raised:
        SIGNER.verify(path, query, case["now"])
    assert raised.value.code == case["code"]


@pytest.mark.parametrize("case", VECTORS["expiry"], ids=_why)
def test_the_expiry_is_rounded_so_that_caches_share_it(case: dict[str, Any]) -> None:
    """`expires` rounded up to the hour, at most 24 h ahead."""
    assert expiry(case["now"], case["lifetime_s"]) == case["expires"]


@given(st.floats(1e9, 4e9), st.floats(1, 23 * HOUR_S))
def test_an_expiry_is_a_full_hour_that_lasts_long_enough(now: float, lifetime_s: float) -> None:
    """Up to 23 h nothing is cut: rounding may take an hour, the cap is at 24."""
    expires = expiry(now, lifetime_s)
    assert expires % HOUR_S == 0
    assert now + lifetime_s <= expires <= now + MAX_AHEAD_S


@pytest.mark.parametrize("index", range(43))
def test_every_character_of_the_signature_counts(index: int) -> None:
    """Reliability: flip each byte."""
    case = VECTORS["accepted"][0]
    signature = case["signature"]
    other = "A" if signature[index] != "A" else "B"
    query = case["query"].replace(signature, signature[:index] + other + signature[index + 1 :])
    with pytest.raises(Denied, match="signature"):
        SIGNER.verify(case["path"], query, NOW)


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "OPTIONS", "get"])
def test_a_signature_opens_only_reading(method: str) -> None:
    """GET and HEAD only."""
    case = VECTORS["accepted"][0]
    with pytest.raises(Denied):
        SIGNER.verify(case["path"], case["query"], NOW, method=method)


def test_a_made_query_opens_its_scope() -> None:
    """What a playlist carries opens the segments it names, next to other parameters."""
    scope = folder_scope("0b9f7c1e-5a3d-4e0b-9c55-2f4f6f0d8a11", "5d41402abc4b2a76", "192k")
    query = SIGNER.query(scope, now=NOW, lifetime_s=6 * HOUR_S)
    SIGNER.verify(f"{scope}0-abcdef01.m4s", query, NOW)
    SIGNER.verify(f"{scope}1-abcdef02.m4s", f"a=1&{query}&b=2", NOW + 6 * HOUR_S)
    assert "kid=2026-11" in query


@given(st.text(max_size=60))
def test_no_text_breaks_the_verifier(text: str) -> None:
    """A query is foreign data: it is refused, never a bug."""
    with pytest.raises(Denied):
        SIGNER.verify("/tracks/x", text, NOW)


@given(st.text(max_size=60))
def test_a_scope_never_has_a_part_that_moves(text: str) -> None:
    """Percent-decoded once; refused with `.`, `..` or empty parts."""
    try:
        scope = scope_of(text)
    except Denied:
        return
    assert not {"", ".", ".."} & set(scope.removesuffix("/").split("/")[1:])


def test_hundreds_of_parameters_are_refused_before_they_cost() -> None:
    """A signature needs three, and a player adds few."""
    case = VECTORS["accepted"][0]
    more = "".join(f"&a{index}=1" for index in range(500))
    with pytest.raises(Denied, match="too many parameters"):
        SIGNER.verify(case["path"], case["query"] + more, NOW)


@pytest.mark.parametrize(
    ("query", "carried"),
    [
        ("", False),
        ("token=x", False),
        ("signature=", True),
        ("a=1&signature=x", True),
        ("%73ignature=x", True),
    ],
)
def test_a_query_says_whether_it_is_signed(query: str, carried: bool) -> None:
    """Right or wrong: who brings a signature is judged by it."""
    assert is_signed(query) is carried


def test_without_keys_of_its_own_one_is_derived_from_the_jwt_secret() -> None:
    """kid `jwt`; a rotation of JWT_SECRET keeps what JWT_SECRET_PREVIOUS signed."""
    derived = VECTORS["derived"]
    (key,) = keys_of(Settings(jwt_secret=derived["jwt_secret"]))
    assert (key.kid, key.secret.hex()) == ("jwt", derived["secret_hex"])
    assert UrlSigner([key]).sign(derived["scope"], derived["expires"]) == derived["signature"]
    rotated = UrlSigner(
        keys_of(
            Settings(jwt_secret="a-new-secret-of-32-characters-xx", jwt_secret_previous=derived["jwt_secret"])
        )
    )
    query = f"expires={derived['expires']}&kid=jwt&signature={derived['signature']}"
    rotated.verify(f"{derived['scope']}17-9c1185a5.m4s", query, NOW)
    assert rotated.sign(derived["scope"], derived["expires"]) != derived["signature"]


def test_without_any_secret_there_is_no_key() -> None:
    """Nothing can be signed, and no empty key signs instead."""
    assert keys_of(Settings()) == ()
    with pytest.raises(ValueError, match="at least one key"):
        UrlSigner(())


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("a:short", "secret 1 has 5 characters, at least 32 are needed"),
        (f"{'x' * 40}", "kid:secret pairs"),
        (f"a b:{'x' * 32}", "kid:secret pairs"),
        (f"a:{'x' * 32},a:{'y' * 32}", "each kid once"),
        (" , ", "holds no key"),
    ],
)
def test_a_bad_key_list_is_refused_in_one_sentence(keys: str, problem: str) -> None:
    """Fail fast; the sentence never repeats a secret."""
    with pytest.raises(ValueError, match=problem) as raised:
        keys_of(Settings(url_signing_keys=keys))
    assert "xxxx" not in str(raised.value)
    assert "short" not in str(raised.value)


def test_a_key_does_not_show_its_secret() -> None:
    """repr masked."""
    assert VECTORS["keys"][0]["secret"] not in repr(keys_of(Settings(url_signing_keys=URL_SIGNING_KEYS)))


def test_an_unknown_kid_cannot_sign() -> None:
    """A key is named by us, never guessed."""
    with pytest.raises(KeyError):
        SIGNER.sign("/x", NOW, "2020-01")
