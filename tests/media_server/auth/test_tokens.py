"""media_server/auth/tokens.py: which tokens are believed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from media_server.auth.access import Decision, may_hear
from media_server.auth.jws import MAX_TOKEN_BYTES
from media_server.auth.keys import KeySet, VerificationKey
from media_server.auth.principal import Role
from media_server.auth.tokens import TOKEN_CODES, TokenVerifier, mint
from media_server.errors import Unauthenticated
from media_server.settings import Settings

SECRET = "a-secret-for-tests-of-32-characters"
PREVIOUS = "the-secret-before-of-32-characters"
TRACK = "0b9f7c1e-5a3d-4e0b-9c55-2f4f6f0d8a11"
OTHER_TRACK = "1c8e6b2d-4b2c-4f1a-8d44-3e5e5e1c9b22"
NOW = 1_795_000_000
SETTINGS = Settings(jwt_secret=SECRET, jwt_secret_previous=PREVIOUS)
VERIFIER = TokenVerifier(SETTINGS, lambda: NOW)
HEADER = {"alg": "HS256", "typ": "JWT"}
CLAIMS: dict[str, Any] = {
    "iss": "veza-api",
    "aud": "veza-app",
    "sub": "user-1",
    "iat": NOW - 10,
    "exp": NOW + 3600,
}
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = RSA_KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
DER = RSA_KEY.public_key().public_bytes(
    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
)
JWK = jwt.algorithms.RSAAlgorithm.to_jwk(RSA_KEY.public_key()).encode()


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _sealed(header: str, payload: str, secret: bytes = SECRET.encode()) -> str:
    """A token with a right signature over texts that need not be JSON."""
    body = f"{_b64(header.encode())}.{_b64(payload.encode())}"
    return f"{body}.{_b64(hmac.digest(secret, body.encode(), hashlib.sha256))}"


def _token(header: dict[str, Any] | None = None, secret: bytes = SECRET.encode(), **claims: Any) -> str:
    """A signed token; a claim given as ... is left out."""
    merged = {name: value for name, value in (CLAIMS | claims).items() if value is not ...}
    return _sealed(json.dumps(HEADER | (header or {})), json.dumps(merged), secret)


def _unsigned(algorithm: str) -> str:
    return f"{_b64(json.dumps({'alg': algorithm}).encode())}.{_b64(json.dumps(CLAIMS).encode())}."


def _with_text(claims: str) -> str:
    return _sealed(json.dumps(HEADER), json.dumps(CLAIMS)[:-1] + f", {claims}}}")


GOOD = _token()
BAD = {
    "alg none, unsigned": _unsigned("none"),
    "alg None, unsigned": _unsigned("None"),
    "alg nOnE, unsigned": _unsigned("nOnE"),
    "alg none, signed": _token({"alg": "none"}),
    "alg HS384": jwt.encode(CLAIMS, SECRET * 2, algorithm="HS384"),
    "alg HS512": jwt.encode(CLAIMS, SECRET * 2, algorithm="HS512"),
    "alg RS256": jwt.encode(CLAIMS, RSA_KEY, algorithm="RS256"),
    "alg missing": _sealed('{"typ":"JWT"}', json.dumps(CLAIMS)),
    "alg as a list": _token({"alg": ["HS256"]}),
    "alg in another case": _token({"alg": "hs256"}),
    "HS256 with a public PEM": _token(secret=PEM),
    "HS256 with a public DER": _token(secret=DER),
    "HS256 with a public JWK": _token(secret=JWK),
    "HS256 with no secret": _token(secret=b""),
    "a foreign secret": _token(secret=b"x" * 32),
    "the signature stripped": GOOD.rpartition(".")[0],
    "an empty signature": GOOD.rpartition(".")[0] + ".",
    "the signature cut": GOOD[:-1],
    "the unused bits of the signature set": GOOD[:-1] + chr(ord(GOOD[-1]) + 1),
    "crit": _token({"crit": ["exp"]}),
    "crit empty": _token({"crit": []}),
    "b64 true": _token({"b64": True}),
    "b64 false": _token({"b64": False, "crit": ["b64"]}),
    "iss wrong": _token(iss="veza-other"),
    "iss as a list": _token(iss=["veza-api"]),
    "iss empty": _token(iss=""),
    "iss missing": _token(iss=...),
    "aud wrong": _token(aud="veza-other"),
    "aud as a list without us": _token(aud=["veza-other"]),
    "aud empty": _token(aud=[]),
    "aud missing": _token(aud=...),
    "aud with a number": _token(aud=["veza-app", 1]),
    "aud as an object": _token(aud={"veza-app": 1}),
    "exp missing": _token(exp=...),
    "exp null": _token(exp=None),
    "exp as a string": _token(exp=str(NOW + 3600)),
    "exp as a float": _token(exp=NOW + 3600.5),
    "exp infinite": _token(exp=float("inf")),
    "exp infinite by exponent": _sealed(json.dumps(HEADER), json.dumps(CLAIMS | {"exp": 0})[:-2] + "1e400}"),
    "exp not a number": _token(exp=float("nan")),
    "exp true": _token(exp=True),
    "nbf true": _token(nbf=True),
    "nbf as a float": _token(nbf=float(NOW)),
    "a number that is not JSON": _with_text('"x": NaN'),
    "exp negative": _token(exp=-NOW),
    "exp huge": _token(exp=10**30),
    "a number of thousands of digits": _with_text('"x": 1' + "0" * 5000),
    "exp before iat": _token(exp=NOW - 20, iat=NOW - 10),
    "a lifetime over the limit": _token(iat=NOW, exp=NOW + 86_401),
    "iat missing": _token(iat=...),
    "iat as a string": _token(iat=str(NOW)),
    "sub missing": _token(sub=...),
    "sub empty": _token(sub=""),
    "sub as a number": _token(sub=7),
    "sub with a line feed": _token(sub="user\n1"),
    "sub of 4 KB": _token(sub="x" * 4096),
    "kid as a path": _token({"kid": "../../dev/null"}),
    "kid as a path, signed with nothing": _token({"kid": "../../dev/null"}, secret=b""),
    "kid as SQL": _token({"kid": "x' UNION SELECT 'key"}),
    "kid as a number": _token({"kid": 1}),
    "a key in the header": _token({"jwk": {"kty": "oct", "k": _b64(b"x" * 32)}}, secret=b"x" * 32),
    "a header key twice": _sealed('{"alg":"none","typ":"JWT","alg":"HS256"}', json.dumps(CLAIMS)),
    "a claim twice": _with_text('"sub": "admin"'),
    "100,000 nested arrays": _sealed(json.dumps(HEADER), "[" * 100_000),
    "5,000 nested arrays": _sealed(json.dumps(HEADER), "[" * 5000 + "]" * 500),
    "a payload that is an array": _sealed(json.dumps(HEADER), "[]"),
    "a payload that is no JSON": _sealed(json.dumps(HEADER), "sub=user-1"),
    "a payload that is no UTF-8": f"{GOOD.partition('.')[0]}.{_b64(bytes([0xFF]))}.{GOOD.rpartition('.')[2]}",
    "1 MiB": "a" * 2**20,
    "1 MiB of claims": _token(x="a" * 2**20),
    "one byte over the limit": "a.b." + "c" * (MAX_TOKEN_BYTES - 3),
    "non-ASCII": GOOD[:-1] + "\u00e9",
    "non-ASCII digits": GOOD + "\u0661",
    "a trailing newline": GOOD + "\n",
    "a leading space": " " + GOOD,
    "padding": GOOD + "=",
    "four parts": GOOD + ".x",
    "five parts": "a.b.c.d.e",
    "one part": "abc",
    "empty": "",
    "a scheme before it": "Bearer " + GOOD,
    "typ of a refresh token": _token({"typ": "rt+jwt"}),
    "typ of another purpose": _token({"typ": "secevent+jwt"}),
    "typ as a number": _token({"typ": 1}),
    "token_use refresh": _token(token_use="refresh"),
    "type refresh": _token(type="refresh"),
    "typ claim Refresh": _token(typ="Refresh"),
    "token_type as a list": _token(token_type=["access"]),
    "an id token": _token(token_use="id"),
    "track_id not canonical": _token(track_id=TRACK.upper()),
    "track_id a path": _token(track_id="../../x"),
    "track_id empty": _token(track_id=""),
    "track_id a list": _token(track_id=[TRACK]),
    "roles as an object": _token(roles={"admin": True}),
    "roles with a number": _token(roles=["user", 1]),
    "roles without end": _token(roles=["user"] * 65),
    "permissions as a number": _token(permissions=1),
    "jti as a number": _token(jti=1),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_token_is_refused(name: str) -> None:
    """Reliability, "JWT, RFC 8725": every row that must be refused, and its neighbours."""
    with pytest.raises(Unauthenticated) as raised:
        VERIFIER.verify(BAD[name])
    assert raised.value.code == "bad_token"
    assert "eyJ" not in raised.value.message
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"exp": NOW - 31, "iat": NOW - 3600}, "token_expired"),
        ({"exp": NOW - 30, "iat": NOW - 3600}, "token_expired"),
        ({"exp": NOW - 29, "iat": NOW - 3600}, None),
        ({"iat": NOW + 30}, None),
        ({"iat": NOW + 31}, "token_not_yet_valid"),
        ({"nbf": NOW + 30}, None),
        ({"nbf": NOW + 31}, "token_not_yet_valid"),
        ({"nbf": NOW - 5000}, None),
        ({"nbf": NOW, "iat": NOW + 31}, "token_not_yet_valid"),
        ({"iat": NOW, "exp": NOW + 86_400}, None),
    ],
)
def test_times_hold_with_thirty_seconds_of_leeway(claims: dict[str, int], code: str | None) -> None:
    """Leeway 30 s for exp, iat and nbf; exp - iat at most JWT_MAX_LIFETIME_S."""
    if code is None:
        assert VERIFIER.verify(_token(**claims)).subject == "user-1"
        return
    with pytest.raises(Unauthenticated) as raised:
        VERIFIER.verify(_token(**claims))
    assert raised.value.code == code
    assert code in TOKEN_CODES


@pytest.mark.parametrize(
    "token",
    [
        GOOD,
        _token(secret=PREVIOUS.encode()),
        _sealed('{"alg":"HS256"}', json.dumps(CLAIMS)),
        _token({"typ": "at+jwt"}),
        _token({"typ": "jwt"}),
        _token({"kid": "2026-11"}),
        _token({"jku": "https://elsewhere.example/keys"}),
        _token(aud=["veza-other", "veza-app"]),
        _token(token_use="access", type="access", token_type="Bearer"),
        _token(jti="b2", email="ann@example.org", token_version=3, permissions=None, track_id=None),
    ],
    ids=[
        "plain", "previous secret", "no typ", "at+jwt", "typ in lower case", "a plain kid", "jku ignored",
        "one of several audiences", "an access token by claim", "the optional claims",
    ],
)  # fmt: skip
def test_a_good_token_names_its_subject(token: str) -> None:
    """HS256 with the current and the previous secret; `typ` absent, JWT or at+jwt."""
    principal = VERIFIER.verify(token)
    assert (principal.subject, principal.anonymous, principal.signed) == ("user-1", False, False)


@pytest.mark.parametrize(
    ("claims", "rank"),
    [
        ({}, Role.GUEST),
        ({"role": "admin"}, Role.ADMIN),
        ({"roles": ["user", "moderator"]}, Role.MODERATOR),
        ({"role": "user", "roles": ["artist"]}, Role.CREATOR),
        ({"role": "root"}, Role.GUEST),
        ({"role": None, "roles": None}, Role.GUEST),
        ({"roles": "premium_user"}, Role.PREMIUM),
    ],
)
def test_role_or_roles_give_the_rank(claims: dict[str, Any], rank: Role) -> None:
    """`role` or `roles`; a name we do not know grants nothing."""
    assert VERIFIER.verify(_token(**claims)).rank is rank


def test_a_token_for_another_track_does_not_open_this_one() -> None:
    """Reliability: token for other track."""
    principal = VERIFIER.verify(_token(track_id=OTHER_TRACK, role="admin"))
    decision = may_hear(
        principal,
        visibility="private",
        owner_id="user-1",
        track_id=TRACK,
        public_playback=True,
        open_playback=False,
    )
    assert decision is Decision.DENIED


def test_listed_permissions_are_kept() -> None:
    """`permissions` optional, else derived from the role."""
    assert VERIFIER.verify(_token(permissions=["track:read"])).reads_tracks
    assert not VERIFIER.verify(_token(permissions=["playlist:read"])).reads_tracks
    assert VERIFIER.verify(GOOD).permissions is None


def test_without_a_secret_no_token_is_believed() -> None:
    """In development with no secret set playback is open, but a token proves nothing."""
    verifier = TokenVerifier(Settings(), lambda: NOW)
    assert not verifier.has_keys
    with pytest.raises(Unauthenticated):
        verifier.verify(GOOD)


def _by_rsa(header: dict[str, Any] | None = None, key: rsa.RSAPrivateKey = RSA_KEY, **claims: Any) -> str:
    return jwt.encode(CLAIMS | claims, key, algorithm="RS256", headers=header)


def test_a_public_key_verifies_rs256_and_nothing_else() -> None:
    """RFC 8725 3.1: whatever the header says, each key is used with its own algorithm alone."""
    verifier = TokenVerifier(Settings(jwt_secret=SECRET, jwt_public_key=PEM.decode()), lambda: NOW)
    for good in (_by_rsa(), _by_rsa({"kid": "any"}), GOOD):
        assert verifier.verify(good).subject == "user-1"
    somebody = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    body = _by_rsa().rpartition(".")[0]
    for bad in (
        _token(secret=PEM), _token(secret=PEM.strip()), _token(secret=DER), _token(secret=JWK),
        _token({"alg": "RS256"}), _token({"alg": "RS256"}, secret=PEM), _by_rsa(key=somebody),
        _by_rsa(iss="veza-other"), _by_rsa(aud="veza-other"), body + ".", body + "." + _b64(b"x" * 256),
        jwt.encode(CLAIMS, RSA_KEY, algorithm="PS256"), jwt.encode(CLAIMS, RSA_KEY, algorithm="RS512"),
        f"{_b64(json.dumps({'alg': 'HS256'}).encode())}.{body.split('.')[1]}.{_by_rsa().split('.')[2]}",
    ):  # fmt: skip
        with pytest.raises(Unauthenticated) as raised:
            verifier.verify(bad)
        assert raised.value.code == "bad_token"


def test_a_published_key_is_found_by_its_name_and_a_new_name_is_told() -> None:
    """A rotation: the new key's token is refused until the key is there, and says that it is wanted."""
    keys, missed = KeySet("veza-api"), []
    keys.on_missing(lambda: missed.append(1))
    verifier = TokenVerifier(Settings(), lambda: NOW, keys)
    token = _by_rsa({"kid": "2026-12"})
    with pytest.raises(Unauthenticated):
        verifier.verify(token)
    assert missed == [1]
    keys.publish([VerificationKey(algorithm="RS256", kid="2026-12", key=RSA_KEY.public_key())])
    assert verifier.verify(token).subject == "user-1"
    with pytest.raises(Unauthenticated):
        verifier.verify(_by_rsa({"kid": "2026-11"}))
    assert missed == [1, 1]


def test_a_public_key_as_secret_stops_the_start() -> None:
    """RFC 8725 2.1: everybody knows it, so everybody could sign."""
    with pytest.raises(ValueError, match="JWT_SECRET is a public key"):
        TokenVerifier(Settings(jwt_secret=PEM.decode()))


@given(st.text(max_size=200))
def test_no_text_breaks_the_verifier(text: str) -> None:
    """A token is foreign data: refused, never a bug."""
    with pytest.raises(Unauthenticated):
        VERIFIER.verify(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(["iss", "aud", "sub", "exp", "iat", "nbf", "jti", "role", "roles", "track_id"]), JSON)
def test_no_value_of_a_claim_breaks_the_verifier(name: str, value: Any) -> None:
    """An issuer may be wrong in any way: believed with sound claims, or refused with a code of ours."""
    try:
        principal = VERIFIER.verify(_token(**{name: value}))
    except Unauthenticated as error:
        assert error.code in TOKEN_CODES
    else:
        assert isinstance(principal.subject, str)


def test_a_minted_token_is_believed() -> None:
    """`media-server token` and the verifier agree."""
    token = mint(SETTINGS, subject="user-9", now=NOW, roles=["artist"], track_id=TRACK, lifetime_s=60)
    principal = VERIFIER.verify(token)
    assert (principal.subject, principal.roles, principal.track_id) == ("user-9", (Role.CREATOR,), TRACK)
    assert VERIFIER.verify(mint(SETTINGS, subject="u", now=NOW + 0.9)).roles == ()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"lifetime_s": 86_401}, "lifetime is 86401 s, 1 to 86400 s are allowed"),
        ({"lifetime_s": 0}, "lifetime is 0 s"),
        ({"roles": ["king"]}, "role 'king' is unknown"),
        ({"subject": ""}, "subject must be"),
        ({"track_id": "x"}, "track_id must be"),
    ],
)
def test_a_token_that_would_be_refused_is_not_minted(arguments: dict[str, Any], problem: str) -> None:
    """Better said at once than at the first request."""
    with pytest.raises(ValueError, match=problem):
        mint(SETTINGS, **({"subject": "user-1", "now": NOW} | arguments))


def test_without_a_secret_nothing_is_minted() -> None:
    """There is nothing to sign with."""
    with pytest.raises(ValueError, match="JWT_SECRET is not set"):
        mint(Settings(), subject="user-1", now=NOW)
