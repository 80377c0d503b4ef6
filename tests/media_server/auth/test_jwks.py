"""media_server/auth/jwks.py: what an issuer publishes, and when it is read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from e2e.issuer import HANGS_UP, Issuer
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from media_server.auth.jwks import (
    MAX_DOCUMENT_BYTES,
    MAX_KEYS,
    KeyRefresh,
    NoKeySetError,
    Pace,
    checked_url,
    read_jwks,
)
from media_server.auth.keys import RS256, KeySet
from media_server.settings import Settings

ISSUER = "veza-api"
WITHIN_S = 10.0
LONG_S = 3600.0


@cache
def key(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def jwk(bits: int = 2048, **members: Any) -> dict[str, Any]:
    """A public key as it is published; a member given as ... is left out."""
    made = jwt.algorithms.RSAAlgorithm.to_jwk(key(bits).public_key(), as_dict=True) | {"kid": "k1"} | members
    return {name: value for name, value in made.items() if value is not ...}


def document(*keys: Any) -> bytes:
    return json.dumps({"keys": keys}).encode()


PLAIN = jwk()
ELLIPTIC = jwt.algorithms.ECAlgorithm.to_jwk(
    ec.generate_private_key(ec.SECP256R1()).public_key(), as_dict=True
)
PRIVATE = jwt.algorithms.RSAAlgorithm.to_jwk(key(2048), as_dict=True)


@pytest.mark.parametrize(
    "entry",
    [
        PLAIN,
        jwk(use="sig", alg="RS256", key_ops=["verify"]),
        jwk(key_ops=["sign", "verify"]),
        jwk(kid=...),
        jwk(key_ops=..., x5c=["AA"], unknown={"d": 1}),
    ],
    ids=["plain", "all members", "more operations", "no name", "members we do not know"],
)
def test_an_rsa_key_for_signatures_is_taken(entry: dict[str, Any]) -> None:
    """RFC 7517 4: `use`, `alg`, `key_ops` and `kid` are optional; other members are ignored."""
    [found] = read_jwks(document(entry)).keys
    assert (found.algorithm, found.kid, found.key) == (RS256, entry.get("kid"), key(2048).public_key())


@pytest.mark.parametrize(
    "entry",
    [
        PRIVATE | {"key_ops": ["verify"]},
        PLAIN | {"d": "AQAB"},
        {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "k1", "alg": "HS256"},
        PLAIN | {"k": "c2VjcmV0"},
        ELLIPTIC,
        jwk(kty="EC"),
        jwk(kty=...),
        jwk(use="enc"),
        jwk(use=["sig"]),
        jwk(alg="HS256"),
        jwk(alg="RS512"),
        jwk(alg=None),
        jwk(key_ops=["sign"]),
        jwk(key_ops="verify"),
        jwk(1024),
        jwk(kid=1),
        jwk(kid="../x"),
        jwk(n=...),
        jwk(n=1),
        jwk(n=""),
        jwk(n="not base64!"),
        jwk(n="A" * 3000),
        jwk(e="AQ"),
        jwk(e="Ag"),
        jwk(e="A"),
        jwk(e="AgAAAAE"),
        "a key",
        None,
        [],
    ],
)
def test_another_key_is_passed_over(entry: Any) -> None:
    """RFC 7517 5: keys that are not understood SHOULD be ignored; one with private parts is lost."""
    published = read_jwks(document(entry, PLAIN))
    assert [found.kid for found in published.keys] == ["k1"]
    assert published.keys[0].key == key(2048).public_key()
    assert published.refused == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "no list named keys"),
        (b"{}", "no list named keys"),
        (b'{"keys": {}}', "no list named keys"),
        (document(*[{}] * (MAX_KEYS + 1)), "it has 65 keys, at most 64 are allowed"),
    ],
)
def test_what_is_no_key_set_is_refused(text: bytes, reason: str) -> None:
    with pytest.raises(NoKeySetError, match=reason):
        read_jwks(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(["kty", "use", "alg", "key_ops", "kid", "n", "e"]), JSON)
def test_no_value_of_a_member_breaks_the_reading(name: str, value: Any) -> None:
    """An issuer may be wrong in any way."""
    published = read_jwks(document(PLAIN | {name: value}))
    assert len(published.keys) + published.refused == 1


@pytest.mark.parametrize(
    ("app_env", "url", "problem"),
    [
        ("production", "https://api.example/jwks.json", None),
        ("production", "http://127.0.0.1:8080/jwks.json", None),
        ("production", "http://[::1]/jwks.json", None),
        ("production", "http://localhost/jwks.json", None),
        ("production", "http://api.example/jwks.json", "https:// in production"),
        ("production", "http://127.0.0.1.example/jwks.json", "https:// in production"),
        ("production", "http://localhost.example/jwks.json", "https:// in production"),
        ("staging", "http://api.internal/jwks.json", None),
        ("development", "file:///etc/passwd", "https://"),
        ("development", "https://", "name a host"),
        ("development", "api.example/jwks.json", "https://"),
        ("development", "https://user:secret@api.example/", "must not hold a password"),
        ("development", "https://api.example:99999/", "the port 99999, 1 to 65535"),
        ("development", "https://[::1/", "is not an address"),
    ],
)
def test_where_keys_may_come_from(app_env: str, url: str, problem: str | None) -> None:
    """Who can change what comes over the network could sign every token."""
    settings = Settings(
        app_env=app_env,
        jwt_jwks_url=url,
        internal_api_key="x" * 32,
        public_base_url="https://media.example",
        cors_allowed_origins="https://app.example",
    )
    if problem is None:
        assert str(checked_url(settings)) == url
        return
    with pytest.raises(ValueError, match=problem) as raised:
        checked_url(settings)
    assert str(raised.value).startswith("JWT_JWKS_URL")
    assert "secret" not in str(raised.value)


def test_without_an_address_there_is_none() -> None:
    assert checked_url(Settings()) is None


def test_the_pace() -> None:
    """Every ten minutes; after a failure sooner, and never more than 30 s apart while it lasts."""
    assert [Pace().rest_s(failures) for failures in (0, 1, 2, 3, 4, 5, 6, 10_000)] == [
        600, 1, 2, 4, 8, 16, 30, 30,
    ]  # fmt: skip


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer(document(PLAIN)).start()
    yield issuer
    issuer.stop()


class Watched(KeySet):
    """A key set that tells when keys were published."""

    def __init__(self) -> None:
        super().__init__(ISSUER)
        self.published = asyncio.Event()

    def publish(self, keys: Any) -> None:
        super().publish(keys)
        self.published.set()

    def kids(self) -> list[str | None]:
        return [found.kid for found in self.find(ISSUER, RS256, None)]


@asynccontextmanager
async def refreshing(issuer: Issuer, pace: Pace) -> AsyncIterator[Watched]:
    keys, stopping = Watched(), asyncio.Event()
    running = asyncio.create_task(KeyRefresh(httpx2.URL(issuer.url), keys, pace).run(stopping))
    try:
        yield keys
    finally:
        stopping.set()
        async with asyncio.timeout(WITHIN_S):
            await running


async def published(keys: Watched) -> None:
    async with asyncio.timeout(WITHIN_S):
        await keys.published.wait()
    keys.published.clear()


async def test_keys_are_read_at_the_start(issuer: Issuer) -> None:
    async with refreshing(issuer, Pace()) as keys:
        asked = await asyncio.to_thread(issuer.was_asked)
        await published(keys)
        assert keys.kids() == ["k1"]
    assert (asked["path"], asked["accept-encoding"]) == ("/jwks.json", "identity")
    assert issuer.asked.empty()


async def test_they_are_read_again_and_replaced(issuer: Issuer) -> None:
    issuer.answers = [(200, document(PLAIN)), (200, document(jwk(kid="k2")))]
    async with refreshing(issuer, Pace(every_s=0.01, soonest_s=0.01)) as keys:
        for kid in ("k1", "k2"):
            await published(keys)
            assert kid in keys.kids() or keys.kids() == ["k2"]
        await published(keys)
        assert keys.kids() == ["k2"]


async def test_an_unknown_name_is_asked_for_at_once(issuer: Issuer) -> None:
    """A key rotation: the first token of the new key is refused, the next one is not."""
    issuer.answers = [(200, document(PLAIN)), (200, document(PLAIN, jwk(kid="k2")))]
    async with refreshing(issuer, Pace(every_s=LONG_S, soonest_s=0.01)) as keys:
        await published(keys)
        keys.miss(ISSUER, RS256, "k2")
        await published(keys)
        assert keys.kids() == ["k1", "k2"]


async def test_however_many_names_are_unknown_the_issuer_has_its_peace(issuer: Issuer) -> None:
    """Anyone may send tokens with any `kid`."""
    async with refreshing(issuer, Pace(every_s=LONG_S, soonest_s=LONG_S)) as keys:
        await published(keys)
        for number in range(100):
            keys.miss(ISSUER, RS256, f"unknown-{number}")
            await asyncio.sleep(0)
    assert issuer.asked.qsize() == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((500, b""), "the status is 500"),
        ((302, b""), "the status is 302"),
        ((HANGS_UP, b""), "RemoteProtocolError"),
        ((200, b"<html>"), "it is not JSON"),
        ((200, b" " * (MAX_DOCUMENT_BYTES + 1)), "it has more than 65536 bytes"),
    ],
    ids=["broken", "a redirect", "no answer", "a page", "too long"],
)
async def test_known_keys_outlive_a_bad_answer(
    issuer: Issuer, answer: tuple[int, bytes], reason: str
) -> None:
    """Redirects are not followed. The failure is told once, and its end."""
    issuer.answers = [(200, document(PLAIN)), answer, answer, (200, document(PLAIN))]
    with capture_logs() as lines:
        async with refreshing(issuer, Pace(every_s=0.01, soonest_s=0.01, retry_s=0.01)) as keys:
            await published(keys)
            assert keys.kids() == ["k1"]
            for _ in range(4):
                assert (await asyncio.to_thread(issuer.was_asked))["path"] == "/jwks.json"
                assert keys.kids() == ["k1"]
            await published(keys)
    told = [line for line in lines if line["log_level"] in {"warning", "info"}]
    assert [line["event"] for line in told][:3] == ["jwks.fetched", "jwks.failed", "jwks.fetched"]
    assert (told[1]["reason"], told[1]["keys_kept"]) == (reason, 1)


async def test_an_issuer_that_is_not_there_is_asked_until_it_is(issuer: Issuer) -> None:
    """F27: no crash, a clear line, and the keys when it is back."""
    issuer.answers = [(503, b""), (503, b""), (200, document(PLAIN))]
    async with refreshing(issuer, Pace(every_s=LONG_S, soonest_s=0.01, retry_s=0.01)) as keys:
        await published(keys)
        assert keys.kids() == ["k1"]


async def test_stopping_does_not_wait_for_the_next_time(issuer: Issuer) -> None:
    async with refreshing(issuer, Pace(every_s=LONG_S)) as keys:
        await published(keys)


async def test_a_set_without_keys_takes_them_away(issuer: Issuer) -> None:
    """The issuer has the say: a key that it withdraws proves nothing any more."""
    issuer.answers = [(200, document(PLAIN)), (200, document())]
    async with refreshing(issuer, Pace(every_s=LONG_S, soonest_s=0.01)) as keys:
        await published(keys)
        keys.miss(ISSUER, RS256, "k2")
        await published(keys)
        assert keys.kids() == []
