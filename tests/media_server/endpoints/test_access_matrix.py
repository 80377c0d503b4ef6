"""Who may hear, as one table: every kind of caller, on every playback route, of every visibility.

The expectation is not taken from the code: `may` says in words of the contract who may hear what, and the
routes differ in two things only, whether a signature and whether a bare cookie counts there.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from media_server.auth.signing import UrlSigner, keys_of, scope_of
from media_server.auth.tokens import mint
from media_server.settings import Settings

WITHIN_S = 10.0
SECRET = "a-secret-of-the-tests-0123456789-abcdef"
GOOD_ORIGIN, OWN_ORIGIN, FOREIGN_ORIGIN = (
    "https://app.example",
    "http://localhost:8082",
    "https://evil.example",
)
UNKNOWN = "00000000-0000-4000-8000-00000000000a"
OTHER = "00000000-0000-4000-8000-00000000000b"
OWNER = "owner-1"
PRIVATE_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = PRIVATE_KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
SETTINGS: dict[str, Any] = {
    "app_env": "staging",
    "jwt_secret": SECRET,
    "jwt_public_key": PEM.decode(),
    "cors_allowed_origins": GOOD_ORIGIN,
    # hundreds of callers from one address
    "rate_limit_guest_per_minute": 0,
    "rate_limit_token_per_minute": 0,
    "rate_limit_websockets_per_minute": 0,
    "rate_limit_address_per_second": 0,
    "rate_limit_server_per_second": 0,
    "rate_limit_media_per_second": 0,
}

READ, SOCKET, OFFER = "read", "socket", "offer"
"""What a route does: it reads a file, opens a WebSocket, or begins a WebRTC session."""
PASSED = {READ: 200, SOCKET: 101, OFFER: 415}
"""The offers sent here are no SDP: 415 says so to those who may hear, and who may not is told that first."""

VISIBILITIES = {
    "public": ("public", True),
    "public, PUBLIC_PLAYBACK off": ("public", False),
    "unlisted": ("unlisted", True),
    "private": ("private", True),
    "private, PUBLIC_PLAYBACK off": ("private", False),
    "unknown": (None, True),
}


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    made = {"iss": "veza-api", "aud": "veza-app", "sub": OWNER, "iat": now - 10, "exp": now + 600} | changes
    return {name: value for name, value in made.items() if value is not ...}


def signed(header: dict[str, Any] | None = None, secret: bytes = SECRET.encode(), **changes: Any) -> str:
    parts = (header or {"alg": "HS256", "typ": "JWT"}, claims(**changes))
    body = ".".join(_b64(json.dumps(part).encode()) for part in parts)
    return f"{body}.{_b64(hmac.digest(secret, body.encode(), hashlib.sha256))}"


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def by_header(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def by_cookie(token: str, origin: str | None = None) -> dict[str, str]:
    return {"cookie": f"theme=dark; access_token={token}"} | ({"origin": origin} if origin else {})


def user(subject: str, *roles: str, track_id: str | None = None) -> str:
    settings = Settings(jwt_secret=SECRET, _env_file=None)
    return mint(settings, subject=subject, now=time.time(), roles=roles, track_id=track_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks. `given` makes the headers for a track, `query` what is added to a path.

    `stands` says what the caller proves: nothing, bad (a token that is refused), user (a valid token with no
    right to the track), owner, any (may hear any track) or this (was vouched for this track).
    `signature` and `cookie` say that this is proven where such a thing counts, and nothing (or, for a wrong
    signature, a refusal) elsewhere.
    """

    name: str
    stands: str
    given: Callable[[str], dict[str, str]] = lambda _: {}
    query: Callable[[str, UrlSigner], str] | None = None
    signature: bool = False
    cookie: bool = False


def a_token(name: str, stands: str, make: Callable[[str], str]) -> Caller:
    return Caller(name=name, stands=stands, given=lambda track_id: by_header(make(track_id)))


def a_cookie(name: str, origin: str | None, stands: str = "owner", *, anywhere: bool = False) -> Caller:
    token = signed(iss="veza-other") if stands == "bad" else user(OWNER)
    return Caller(name=name, stands=stands, given=lambda _: by_cookie(token, origin), cookie=not anywhere)


def a_signature(name: str, stands: str, query: Callable[[str, UrlSigner], str]) -> Caller:
    return Caller(name=name, stands=stands, query=query, signature=True)


CALLERS = [
    Caller(name="nobody", stands="nothing"),
    a_token("another user", "user", lambda _: user("somebody", "creator")),
    a_token("a guest", "user", lambda _: user("somebody", "guest")),
    a_token("a user without a role", "user", lambda _: user("somebody")),
    a_token("the owner", "owner", lambda _: user(OWNER)),
    a_token("the owner, a guest", "owner", lambda _: user(OWNER, "guest")),
    a_token("the owner by RS256", "owner", lambda _: jwt.encode(claims(), PRIVATE_KEY, algorithm="RS256")),
    a_token("a moderator", "any", lambda _: user("somebody", "moderator")),
    a_token("an administrator", "any", lambda _: user("somebody", "admin")),
    a_token("narrowed to this track", "this", lambda track_id: user("somebody", track_id=track_id)),
    a_token("narrowed to another", "narrowed", lambda _: user(OWNER, "admin", track_id=OTHER)),
    a_token("permissions with track:read", "owner", lambda _: signed(permissions=["track:read"])),
    a_token("permissions without track:read", "user", lambda _: signed(permissions=["x"], role="admin")),
    a_token("an expired token", "bad", lambda _: signed(iat=1_700_000_000, exp=1_700_000_600)),
    a_token("a refresh token by claim", "bad", lambda _: signed(token_use="refresh")),
    a_token("a refresh token by type", "bad", lambda _: signed({"alg": "HS256", "typ": "rt+jwt"})),
    a_token("a wrong audience", "bad", lambda _: signed(aud="veza-admin")),
    a_token("a wrong issuer", "bad", lambda _: signed(iss="veza-other")),
    a_token("alg none", "bad", lambda _: signed({"alg": "none"}).rpartition(".")[0] + "."),
    a_token("alg none, signed", "bad", lambda _: signed({"alg": "none"})),
    a_token("HS256 with the RSA public key", "bad", lambda _: signed(secret=PEM)),
    a_token("RS256 signed as HS256", "bad", lambda _: signed({"alg": "RS256"}, secret=PEM)),
    a_token("RS256 of somebody", "bad", lambda _: jwt.encode(claims(), FOREIGN_KEY, algorithm="RS256")),
    Caller(
        name="a bad header token and a good cookie",
        stands="bad",
        given=lambda _: by_header(signed(aud="x")) | by_cookie(user(OWNER), GOOD_ORIGIN),
    ),
    Caller(
        name="an empty header token and a good cookie",
        stands="nothing",
        given=lambda _: {"authorization": "Bearer"} | by_cookie(user(OWNER), GOOD_ORIGIN),
    ),
    Caller(
        name="a header token and a bad cookie",
        stands="owner",
        given=lambda _: by_header(user(OWNER)) | by_cookie("x.y.z", FOREIGN_ORIGIN),
    ),
    Caller(name="a token in the query", stands="owner", query=lambda *_: f"token={user(OWNER)}"),
    Caller(
        name="two tokens",
        stands="bad",
        given=lambda _: by_header(user(OWNER)),
        query=lambda *_: f"token={user('somebody')}",
    ),
    a_signature("a signature", "this", lambda path, signer: query_for(path, signer)),
    a_signature("an expired signature", "refused", lambda path, signer: query_for(path, signer, -200_000)),
    a_signature("a signature of another track", "refused", lambda path, signer: elsewhere(path, signer)),
    a_signature("a cut signature", "refused", lambda path, signer: query_for(path, signer)[:-1]),
    a_cookie("the cookie, an allowed Origin", GOOD_ORIGIN, anywhere=True),
    a_cookie("the cookie, the server's own Origin", OWN_ORIGIN, anywhere=True),
    a_cookie("the cookie, a foreign Origin", FOREIGN_ORIGIN),
    a_cookie("the cookie, the Origin null", "null"),
    a_cookie("the cookie, no Origin", None),
    a_cookie("a bad cookie, an allowed Origin", GOOD_ORIGIN, "bad", anywhere=True),
    a_cookie("a bad cookie, no Origin", None, "bad"),
]
FOREIGN_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def query_for(path: str, signer: UrlSigner, later_s: int = 0) -> str:
    return signer.query(scope_of(path), now=time.time() + later_s)


def elsewhere(path: str, signer: UrlSigner) -> str:
    """What opens the same file of another track."""
    names = path.split("/")
    names[2:3] = [OTHER]
    return query_for("/".join(names), signer)


def may(caller: Caller, visibility: str | None, public_playback: bool, kind: str) -> int:
    """The status that the contract asks for."""
    stands = caller.stands
    if (caller.signature and kind != READ) or (caller.cookie and kind != READ):
        stands = "nothing"
    if visibility == "public" and public_playback:
        return PASSED[kind]
    if stands in {"nothing", "bad"}:
        return 401
    if visibility is None:
        return 404 if stands in {"any", "this"} else 403
    valid = stands in {"user", "owner", "any", "this"}
    hears = valid if visibility == "public" else stands in {"owner", "any", "this"}
    return PASSED[kind] if hears else 403


def routes_of(asset: Any, track_id: str) -> dict[str, tuple[str, str, str]]:
    """Name to what it does, method and path."""
    rendition = asset.renditions[0]
    folder = f"/hls/{track_id}/{asset.version}/{rendition.name}"
    paths = {
        "master": f"/hls/{track_id}/master.m3u8",
        "media playlist": f"/hls/{track_id}/stream_{rendition.name}.m3u8",
        "init": f"{folder}/{rendition.init.name}",
        "segment": f"{folder}/{rendition.segments[0].name}",
        "track": f"/tracks/{track_id}",
        "waveform.json": f"/tracks/{track_id}/waveform.json",
        "waveform.dat": f"/tracks/{track_id}/waveform.dat",
        "waveform.png": f"/tracks/{track_id}/waveform.png",
        "waveform.svg": f"/tracks/{track_id}/waveform.svg",
        "cover": f"/tracks/{track_id}/cover",
        "progressive": f"/tracks/{track_id}/audio.m4a",
    }
    return {
        **{name: (READ, "GET", path) for name, path in paths.items()},
        "HEAD segment": (READ, "HEAD", paths["segment"]),
        "HEAD master": (READ, "HEAD", paths["master"]),
        "WS /stream": (SOCKET, "", "/stream"),
        "POST /whep": (OFFER, "POST", f"/whep/{track_id}"),
    }


async def handshake(server: Any, query: str, headers: dict[str, str]) -> int:
    """The status that a WebSocket's handshake is answered with."""
    to_server: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    statuses: list[int] = []

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "websocket.accept":
            statuses.append(101)
            to_server.put_nowait({"type": "websocket.disconnect", "code": 1001})
        elif message["type"] == "websocket.http.response.start":
            statuses.append(message["status"])

    to_server.put_nowait({"type": "websocket.connect"})
    given = {"host": "localhost:8082", **headers}
    scope = {
        "type": "websocket", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1",
        "path": "/stream", "raw_path": b"/stream", "query_string": query.encode(), "root_path": "",
        "scheme": "ws", "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "client": ("127.0.0.1", 4711), "server": ("127.0.0.1", 8082), "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
    }  # fmt: skip
    async with asyncio.timeout(WITHIN_S):
        await server.app(scope, to_server.get, send)
    [status] = statuses
    return status


async def asked(server: Any, kind: str, method: str, path: str, track_id: str, caller: Caller) -> int:
    signer = UrlSigner(keys_of(server.services.settings))
    query, headers = caller.query(path, signer) if caller.query else "", caller.given(track_id)
    if kind == SOCKET:
        return await handshake(server, f"track_id={track_id}&{query}", headers)
    more: dict[str, Any] = {}
    if kind == OFFER:
        headers = headers | {"content-type": "text/plain"}
        more["content"] = b"hello"
    answer = await server.ask(f"{path}?{query}", method, headers=headers, **more)
    return int(answer.status_code)


@pytest.mark.parametrize("visibility", VISIBILITIES)
async def test_who_may_hear(start: Callable[..., Any], visibility: str) -> None:
    """Contract, "Who may hear" and "Signed URLs"."""
    seen, public_playback = VISIBILITIES[visibility]
    server = start(**SETTINGS, public_playback=public_playback)
    asset = await server.publish(visibility=seen or "public")
    track_id = asset.track_id if seen else UNKNOWN
    expected, found = {}, {}
    for caller in CALLERS:
        for name, (kind, method, path) in routes_of(asset, track_id).items():
            cell = (caller.name, name)
            expected[cell] = may(caller, seen, public_playback, kind)
            found[cell] = await asked(server, kind, method, path, track_id, caller)
    assert {cell: (found[cell], status) for cell, status in expected.items() if found[cell] != status} == {}


def test_the_table_has_a_row_for_every_outcome() -> None:
    """A table in which every row says the same holds nothing."""
    statuses = {
        may(caller, seen, public_playback, kind)
        for caller in CALLERS
        for seen, public_playback in VISIBILITIES.values()
        for kind in PASSED
    }
    assert statuses == {101, 200, 401, 403, 404, 415}


async def test_an_unknown_track_cannot_be_told_from_a_private_one(start: Callable[..., Any]) -> None:
    """Enumeration: the same status, code and sentence."""
    server = start(**SETTINGS)
    asset = await server.publish(visibility="private")
    for caller in (CALLERS[0], CALLERS[1], CALLERS[13]):
        for name, (kind, method, _) in routes_of(asset, asset.track_id).items():
            if kind == SOCKET or method == "HEAD":
                continue
            answers = []
            for track_id in (asset.track_id, UNKNOWN):
                path = routes_of(asset, track_id)[name][2]
                answer = await server.ask(path, method, headers=caller.given(track_id))
                answers.append((answer.status_code, answer.json()["code"], answer.json()["detail"]))
            assert answers[0] == answers[1], (caller.name, name)
