"""media_server/auth/keys.py: which key may prove what."""

from __future__ import annotations

import json
from base64 import b64encode
from functools import cache

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from media_server.auth.keys import HS256, RS256, KeySet, VerificationKey, rsa_problem
from media_server.settings import Settings

ISSUER = "veza-api"
SECRET = "a-secret-for-tests-of-32-characters"
PREVIOUS = "the-secret-before-of-32-characters"
PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
SPKI, PKCS1 = serialization.PublicFormat.SubjectPublicKeyInfo, serialization.PublicFormat.PKCS1


@cache
def private(bits: int = 2048, number: int = 0) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, form: serialization.PublicFormat = SPKI) -> str:
    return key.public_key().public_bytes(PEM, form).decode()


def private_pem(key: rsa.RSAPrivateKey) -> str:
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(PEM, form, plain).decode()


def named(kid: str | None, algorithm: str = RS256) -> VerificationKey:
    return VerificationKey(algorithm=algorithm, kid=kid, key=f"{algorithm} {kid}")


def found(keys: KeySet, algorithm: str | None, kid: str | None, issuer: object = ISSUER) -> list[object]:
    return [key.key for key in keys.find(issuer, algorithm, kid)]


def test_each_setting_gives_keys_of_one_algorithm() -> None:
    """RFC 8725 3.1: each key MUST be used with exactly one algorithm."""
    settings = Settings(jwt_secret=SECRET, jwt_secret_previous=PREVIOUS, jwt_public_key=pem(private()))
    keys = KeySet.of(settings)
    assert len(keys) == 3
    assert found(keys, HS256, None) == [SECRET, PREVIOUS]
    assert found(keys, RS256, None) == [private().public_key()]
    for algorithm in (None, "none", "hs256", "HS512", "PS256", "ES256"):
        assert found(keys, algorithm, None) == []


@pytest.mark.parametrize("issuer", ["veza-other", "", None, ["veza-api"], {"veza-api": 1}])
def test_keys_belong_to_their_issuer(issuer: object) -> None:
    """RFC 8725 3.8: keys used belong to the issuer, which a token may name in any shape."""
    assert found(KeySet.of(Settings(jwt_secret=SECRET)), HS256, None, issuer) == []


def test_a_name_chooses_its_key_and_nameless_keys_stand_in() -> None:
    """RFC 7515 4.1.4: `kid` is a hint; the keys of the settings have none."""
    keys = KeySet(ISSUER, [named(None), named(None, HS256)])
    keys.publish([named("new"), named("old"), named("old", HS256)])
    assert found(keys, RS256, "new") == ["RS256 new"]
    assert found(keys, RS256, "gone") == ["RS256 None"]
    assert found(keys, RS256, None) == ["RS256 None", "RS256 new", "RS256 old"]
    assert found(keys, HS256, "old") == ["HS256 old"]


def test_published_keys_replace_the_published_ones_alone() -> None:
    keys = KeySet(ISSUER, [named(None)])
    keys.publish([named("old")])
    keys.publish([named("new")])
    assert found(keys, RS256, None) == ["RS256 None", "RS256 new"]


def test_only_an_unknown_name_of_a_key_that_could_be_published_is_missed() -> None:
    """What else a token says must not make this server ask the issuer."""
    told: list[None] = []
    keys = KeySet(ISSUER, [named(None)])
    keys.miss(ISSUER, RS256, "nobody-listens")
    keys.on_missing(lambda: told.append(None))
    keys.publish([named("known")])
    for asked in (
        (ISSUER, RS256, "known"),
        (ISSUER, RS256, None),
        (ISSUER, HS256, "x"),
        ("else", RS256, "x"),
    ):
        keys.miss(*asked)
    assert told == []
    keys.miss(ISSUER, RS256, "unknown")
    assert told == [None]


def test_one_or_more_pems_however_they_are_written() -> None:
    """Contract: JWT_PUBLIC_KEY (one or more PEMs); a line feed may be written as \\n."""
    both = pem(private()) + "\n" + pem(private(number=1), PKCS1)
    for text in (both, both.replace("\n", "\\n"), both.replace("\n", "\r\n"), both.replace("\n", "\\r\\n")):
        keys = KeySet.of(Settings(jwt_public_key=text))
        assert found(keys, RS256, None) == [private().public_key(), private(number=1).public_key()]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("no key", "must be one or more PEM blocks and nothing else"),
        (pem(private()) + "and more", "must be one or more PEM blocks and nothing else"),
        (pem(private()).replace("END", "EMD"), "must be one or more PEM blocks and nothing else"),
        (pem(private()) + private_pem(private()), "block 2 is a PRIVATE KEY, a PUBLIC KEY is needed"),
        ("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----", "block 1 is a CERTIFICATE"),
        ("-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----", "block 1 cannot be read"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "block 1 is not an RSA key, RS256 needs one"),
        (pem(private(1024)), "block 1 has 1024 bits, 2048 to 8192 are allowed"),
    ],
    ids=["text", "more", "no end", "private", "certificate", "broken", "elliptic", "short"],
)
def test_what_is_no_public_rsa_key_stops_the_start(text: str, problem: str) -> None:
    """One sentence that names the setting and repeats nothing of it; RFC 7518 3.3: 2048 bits or more."""
    with pytest.raises(ValueError, match=problem) as raised:
        KeySet.of(Settings(jwt_public_key=text))
    assert str(raised.value).startswith("JWT_PUBLIC_KEY")
    assert "\n" not in str(raised.value)
    assert "MII" not in str(raised.value)


@pytest.mark.parametrize("name", ["jwt_secret", "jwt_secret_previous"])
@pytest.mark.parametrize(
    "text",
    [
        pem(private()),
        private()
        .public_key()
        .public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH),
        json.dumps(jwt.algorithms.RSAAlgorithm.to_jwk(private().public_key(), as_dict=True)),
        b64encode(private().public_key().public_bytes(DER, SPKI)).decode(),
    ],
    ids=["PEM", "SSH", "JWK", "base64 of DER"],
)
def test_a_public_key_never_becomes_a_secret(name: str, text: str | bytes) -> None:
    """RFC 8725 2.1: everybody knows it, so everybody could sign."""
    secret = text if isinstance(text, str) else text.decode()
    with pytest.raises(ValueError, match=f"^{name.upper()} is a public key, HS256 needs a secret$"):
        KeySet.of(Settings(**{name: secret}))


@pytest.mark.parametrize(
    "secret", [SECRET, "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]", '"kty-kty-kty-kty-kty-kty-kty-kty"']
)
def test_a_secret_may_be_any_text(secret: str) -> None:
    assert found(KeySet.of(Settings(jwt_secret=secret)), HS256, None) == [secret]


def test_a_key_that_makes_refusing_expensive_is_none_to_trust() -> None:
    """Each bad token costs one verification with it."""
    odd = rsa.RSAPublicNumbers(2**33 + 1, private().public_key().public_numbers().n).public_key()
    assert rsa_problem(odd) == "has an exponent of more than 32 bits"
    assert rsa_problem(private().public_key()) is None


def test_keys_do_not_show_themselves() -> None:
    assert SECRET not in repr(KeySet.of(Settings(jwt_secret=SECRET)).find(ISSUER, HS256, None))
