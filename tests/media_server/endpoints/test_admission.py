"""media_server/endpoints/admission.py: who may hear, over HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import m3u8
import pytest

from media_server.auth.signing import UrlSigner, keys_of

UNKNOWN = "00000000-0000-4000-8000-00000000000a"
SECRET = "a-secret-of-the-tests-0123456789-abcdef"


def url_of(track_id: str) -> str:
    return f"/hls/{track_id}/master.m3u8"


@pytest.mark.parametrize(
    ("visibility", "who", "status", "code"),
    [
        ("public", "nobody", 200, None),
        ("unlisted", "nobody", 401, "token_needed"),
        ("private", "nobody", 401, "token_needed"),
        ("unlisted", "somebody", 403, "track_denied"),
        ("private", "somebody", 403, "track_denied"),
        ("private", "owner-1", 200, None),
        ("private", "moderator", 200, None),
        ("private", "admin", 200, None),
        (None, "nobody", 401, "token_needed"),
        (None, "somebody", 403, "track_denied"),
        (None, "admin", 404, "track_not_found"),
    ],
)
async def test_who_may_hear_what(
    guarded: Any, visibility: str | None, who: str, status: int, code: str | None
) -> None:
    """Contract, who may hear: an unknown track answers like a private one, 404 only to who may hear any."""
    track_id = (await guarded.publish(visibility=visibility)).track_id if visibility else UNKNOWN
    roles = (who,) if who in {"moderator", "admin"} else ()
    headers = {} if who == "nobody" else guarded.bearer(who, roles)
    answer = await guarded.ask(url_of(track_id), headers=headers)
    assert answer.status_code == status
    if code:
        assert answer.json()["code"] == code
        assert answer.headers["cache-control"] == "no-store"


async def test_an_id_that_is_none_answers_like_an_unknown_track(guarded: Any) -> None:
    """Enumeration: nothing tells them apart but the id in the question."""
    answers = [await guarded.ask(url_of(name)) for name in ("x", UNKNOWN, UNKNOWN.replace("a", "A"), "a%00b")]
    assert {(a.status_code, a.json()["code"], a.json()["detail"]) for a in answers} == {
        (401, "token_needed", "a token is needed to hear this track")
    }


async def test_a_token_for_one_track_opens_that_one(guarded: Any) -> None:
    """Contract: a token narrowed to the track (`track_id` claim)."""
    one = await guarded.publish(visibility="private")
    headers = guarded.bearer("somebody", track_id=one.track_id)
    assert (await guarded.ask(url_of(one.track_id), headers=headers)).status_code == 200
    other = await guarded.publish(visibility="private", track_id=UNKNOWN)
    assert (await guarded.ask(url_of(other.track_id), headers=headers)).status_code == 403


async def test_a_refused_token_is_told_where_one_is_needed_and_only_there(guarded: Any) -> None:
    """A stale token must not keep anyone from a public track."""
    bad = {"Authorization": "Bearer not.a.token"}
    public = await guarded.publish()
    assert (await guarded.ask(url_of(public.track_id), headers=bad)).status_code == 200
    await guarded.publish(public, visibility="private")
    answer = await guarded.ask(url_of(public.track_id), headers=bad)
    assert (answer.status_code, answer.json()["code"]) == (401, "bad_token")
    assert answer.headers["www-authenticate"].endswith('error="invalid_token"')


@pytest.mark.parametrize("header", ["Basic dXNlcjpwYXNz", "Bearer", "Bearer ", "bearer a b", "Token x"])
async def test_another_scheme_is_no_token(guarded: Any, header: str) -> None:
    asset = await guarded.publish(visibility="private")
    answer = await guarded.ask(url_of(asset.track_id), headers={"Authorization": header})
    assert (answer.status_code, answer.json()["code"]) == (401, "token_needed")


async def test_without_public_playback_any_valid_token_opens_public_tracks(
    start: Callable[..., Any],
) -> None:
    """Contract: everyone while PUBLIC_PLAYBACK, else any valid token; then no shared cache keeps it."""
    server = start(app_env="staging", jwt_secret=SECRET, public_playback=False)
    asset = await server.publish()
    assert (await server.ask(url_of(asset.track_id))).status_code == 401
    answer = await server.ask(url_of(asset.track_id), headers=server.bearer())
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "private, max-age=5"
    assert "signature=" in answer.text


async def test_development_without_a_secret_is_open(server: Any) -> None:
    """Contract: in development with no secret set playback is open. Shared caches keep nothing private."""
    asset = await server.publish(visibility="private")
    answer = await server.ask(url_of(asset.track_id))
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "private, max-age=5"
    assert (await server.ask(url_of(UNKNOWN))).status_code == 404


async def test_staging_without_a_secret_is_closed(start: Callable[..., Any]) -> None:
    server = start(app_env="staging")
    asset = await server.publish(visibility="private")
    assert (await server.ask(url_of(asset.track_id))).status_code == 401
    given = {"Authorization": "Bearer some.thing.signed"}
    assert (await server.ask(url_of(asset.track_id), headers=given)).status_code == 401


async def test_a_signature_opens_its_path_and_no_other(guarded: Any) -> None:
    """Signed URLs: another rendition's folder, another track, a flipped byte are refused."""
    asset = await guarded.publish(visibility="private")
    signer = UrlSigner(keys_of(guarded.services.settings))
    folder = f"/hls/{asset.track_id}/{asset.version}/128k/"
    query = signer.query(folder, now=time.time())
    low, high = asset.rendition("128k").segments[0].name, asset.rendition("192k").segments[0].name
    assert (await guarded.ask(f"{folder}{low}?{query}")).status_code == 200
    other = f"/hls/{asset.track_id}/{asset.version}/192k/{high}"
    for path in (f"{other}?{query}", f"{url_of(asset.track_id)}?{query}", f"{folder}{low}?{query[:-1]}"):
        answer = await guarded.ask(path)
        assert (answer.status_code, answer.json()["code"]) == (403, "bad_signature")


async def test_a_signature_does_not_beget_a_longer_one(guarded: Any) -> None:
    """What a signed playlist signs ends when it does."""
    asset = await guarded.publish(visibility="private")
    signer = UrlSigner(keys_of(guarded.services.settings))
    query = signer.query(url_of(asset.track_id), now=time.time(), lifetime_s=60)
    answer = await guarded.ask(f"{url_of(asset.track_id)}?{query}")
    [first, *_] = m3u8.loads(answer.text).playlists
    assert first.uri is not None
    assert parse_qs(first.uri.partition("?")[2])["expires"] == parse_qs(query)["expires"]


async def test_with_a_token_an_expired_signature_does_no_harm(guarded: Any) -> None:
    asset = await guarded.publish(visibility="private")
    signer = UrlSigner(keys_of(guarded.services.settings))
    stale = signer.query(url_of(asset.track_id), now=time.time() - 100_000)
    url = f"{url_of(asset.track_id)}?{stale}"
    answer = await guarded.ask(url)
    assert (answer.status_code, answer.json()["code"]) == (403, "signature_expired")
    assert (await guarded.ask(url, headers=guarded.bearer("owner-1"))).status_code == 200


@pytest.mark.parametrize(
    ("roles", "status", "code"),
    [((), 403, "admin_needed"), (("moderator",), 403, "admin_needed"), (("admin",), 200, None)],
)
async def test_the_list_is_for_administrators(
    guarded: Any, roles: tuple[str, ...], status: int, code: str | None
) -> None:
    """Contract: GET /tracks is open while playback is, else admin."""
    answer = await guarded.ask("/tracks", headers=guarded.bearer("who", roles))
    assert (answer.status_code, answer.json().get("code")) == (status, code)
    assert (await guarded.ask("/tracks")).json()["code"] == "token_needed"
