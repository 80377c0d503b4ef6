"""Who may hear, asked of a real server: published keys, the cookie, and what a signature opens."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import jwt
import m3u8
import pytest
import signals
from cryptography.hazmat.primitives.asymmetric import rsa
from e2e.conftest import StartServer
from e2e.issuer import Issuer
from e2e.program import eventually
from e2e.test_cli import media_server
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
JWK = jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True) | {"kid": "2026-11", "use": "sig"}
SIGNING = "k1:a-secret-that-signs-urls-0123456789ab"
PAGE = "https://app.example"
GUARDED = {
    "APP_ENV": "staging",
    "INTERNAL_API_KEY": "a-key-between-two-servers-0123456789",
    "CORS_ALLOWED_ORIGINS": PAGE,
}


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer(json.dumps({"keys": [JWK]}).encode()).start()
    yield issuer
    issuer.stop()


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.flac"
    signals.write(path, signals.music(3.0, 48_000), 48_000, "flac")
    return path


def token(**claims: Any) -> str:
    now = int(time.time())
    given = {"iss": "veza-api", "aud": "veza-app", "sub": "owner-1", "iat": now, "exp": now + 600}
    return jwt.encode(given | claims, KEY, algorithm="RS256", headers={"kid": "2026-11"})


async def status_of(url: str, **headers: str) -> int:
    """What a WebSocket's handshake is answered with."""
    try:
        async with connect(url, additional_headers=headers):
            return 101
    except InvalidStatus as error:
        return error.response.status_code


async def test_a_private_track_is_heard_by_its_owner_alone(
    start_server: StartServer, issuer: Issuer, song: Path
) -> None:
    """Contract, who may hear; F27: an issuer that is not there is no reason not to start."""
    good, issuer.answers = issuer.answers, [(503, b"")]
    server = start_server(**GUARDED, JWT_JWKS_URL=issuer.url, URL_SIGNING_KEYS=SIGNING)
    server.wait_for_log("jwks.failed", reason="the status is 503")
    job = server.publish(song, visibility="private", user_id="owner-1")
    path = f"/hls/{job['track_id']}/master.m3u8"
    mine = {"Authorization": f"Bearer {token()}"}
    assert server.get(path).json()["code"] == "token_needed"
    assert server.get(path, **mine).json()["code"] == "bad_token"

    issuer.answers = good
    server.wait_for_log("jwks.fetched", keys=1)
    assert server.get(path, **mine).status_code == 200
    assert server.get(path, Cookie=f"access_token={token()}").status_code == 200
    assert server.get(f"{path}?token={token()}").status_code == 200
    assert server.get(path, Authorization=f"Bearer {token(sub='somebody')}").status_code == 403

    # what a token opened is signed, all the way down
    playlist = path
    for _ in range(2):
        answer = server.get(playlist, **(mine if playlist == path else {}))
        listed = m3u8.loads(answer.text)
        playlist = urljoin(playlist, (listed.playlists or listed.segments)[0].uri)
    assert server.get(playlist).status_code == 200
    assert server.get(playlist.partition("?")[0]).status_code == 401

    socket = f"{server.url.replace('http', 'ws')}/stream?track_id={job['track_id']}"
    cookie = f"access_token={token()}"
    assert await status_of(socket, Cookie=cookie, Origin=PAGE) == 101
    assert await status_of(socket, Cookie=cookie, Origin=server.url) == 101
    assert await status_of(socket, Cookie=cookie, Origin="https://evil.example") == 401
    assert await status_of(socket, Cookie=cookie) == 401
    assert await status_of(f"{socket}&token={token()}", Origin="https://evil.example") == 101

    printed = media_server("sign", path, PUBLIC_BASE_URL=server.url, URL_SIGNING_KEYS=SIGNING).stdout.strip()
    assert server.client.get(printed).status_code == 200
    query = urlsplit(printed).query
    assert await status_of(f"{socket}&{query}") == 401
    offer = server.client.post(
        f"/whep/{job['track_id']}?{query}", headers={"Content-Type": "application/sdp"}
    )
    assert (offer.status_code, offer.json()["code"]) == (401, "token_needed")

    eventually(lambda: len(server.log("websocket.closed")) >= 6 or None, "the lines of the WebSockets")
    assert "eyJ" not in server.output
