"""What goes over the wire beside the sound: caching, ranges, tokens, drawings, and word to the companion."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

import jwt
import m3u8
import numpy as np
import pytest
import signals
from companion.callbacks import Companion
from e2e.conftest import StartServer
from e2e.presentation import read
from e2e.server import Json, Server
from e2e.test_playback import debian_ffmpeg, newest_ffmpeg, play_with

DURATION_S = 5.0
SAMPLES = 240_000
IMMUTABLE = "public, max-age=31536000, immutable"
PLAYLIST = "application/vnd.apple.mpegurl"
KEY = "a-key-between-two-servers-0123456789"
SECRET = "a-secret-that-signs-tokens-0123456789"
OWNER = "7b0f3c52-35f4-4b1c-9d1c-0e6d1a2b3c4d"


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("song") / "song.mp3"
    signals.write(path, signals.music(DURATION_S), 48_000, "mp3", tags={"title": "Lied", "artist": "Wir"})
    return path


@pytest.fixture(scope="module")
def track_id(server: Server, song: Path) -> str:
    found: str = server.publish(song)["track_id"]
    return found


def first_uri(server: Server, playlist_path: str) -> str:
    """The path of the first URI in a playlist."""
    playlist = m3u8.loads(server.get(playlist_path).text)
    uri = playlist.playlists[0].uri if playlist.is_variant else playlist.segments[0].uri
    return urljoin(playlist_path, uri)


@pytest.fixture(scope="module")
def segment(server: Server, track_id: str) -> str:
    return first_uri(server, first_uri(server, f"/hls/{track_id}/master.m3u8"))


def test_a_segment_is_kept_for_a_year(server: Server, segment: str) -> None:
    answer = server.get(segment, origin="https://player.example")
    assert answer.headers["cache-control"] == IMMUTABLE
    assert answer.headers["content-type"] == "audio/mp4"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "content-encoding" not in answer.headers, "asked with gzip, and still sent as it is"
    again = server.get(segment, if_none_match=answer.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["cache-control"] == IMMUTABLE


def test_a_part_of_a_segment_can_be_had(server: Server, segment: str) -> None:
    """RFC 9110 14: 206 with Content-Range, 416 behind the end."""
    whole = server.get(segment).content
    part = server.get(segment, range="bytes=100-299")
    assert (part.status_code, part.content) == (206, whole[100:300])
    assert part.headers["content-range"] == f"bytes 100-299/{len(whole)}"
    last = server.get(segment, range="bytes=-10")
    assert (last.status_code, last.content) == (206, whole[-10:])
    behind = server.get(segment, range=f"bytes={len(whole)}-")
    assert (behind.status_code, behind.headers["content-range"]) == (416, f"bytes */{len(whole)}")
    assert server.get(segment, range="bytes=0-").content == whole


@pytest.mark.parametrize("name", ["master.m3u8", "stream_128k.m3u8"])
def test_playlists_are_small_and_soon_asked_for_again(server: Server, track_id: str, name: str) -> None:
    """A 10.1: gzip for those who take it; a 206 of a compressed playlist would be a riddle."""
    path = f"/hls/{track_id}/{name}"
    zipped = server.get(path, accept_encoding="gzip", origin="https://player.example")
    plain = server.get(path, accept_encoding="identity", range="bytes=0-")
    assert zipped.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert (plain.status_code, plain.text) == (200, zipped.text)
    assert "Accept-Encoding" in zipped.headers["vary"]
    assert zipped.headers["access-control-allow-origin"] == "*"
    assert zipped.headers["etag"] != plain.headers["etag"]
    for answer, encoding in ((zipped, "gzip"), (plain, "identity")):
        assert answer.headers["content-type"] == PLAYLIST
        assert answer.headers["cache-control"] == "public, max-age=5"
        tag = answer.headers["etag"]
        assert server.get(path, accept_encoding=encoding, if_none_match=tag).status_code == 304


def test_the_playlist_is_gzip_on_the_wire(server: Server, track_id: str) -> None:
    """Not only by its header."""
    path = f"/hls/{track_id}/stream_128k.m3u8"
    with server.client.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as answer:
        wire = b"".join(answer.iter_raw())
    assert gzip.decompress(wire).startswith(b"#EXTM3U")


def test_a_player_of_another_origin_may_read_errors_too(server: Server, track_id: str) -> None:
    answer = server.get(f"/hls/{track_id}/stream_999k.m3u8", origin="https://player.example")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["access-control-allow-origin"] == "*"


def test_a_track_tells_of_itself(server: Server, track_id: str) -> None:
    track: Json = server.get(f"/tracks/{track_id}").json()
    assert (track["title"], track["artist"], track["visibility"]) == ("Lied", "Wir", "public")
    assert track["duration_seconds"] == DURATION_S
    assert [rendition["name"] for rendition in track["renditions"]] == ["128k", "192k", "320k", "opus-128"]
    assert track["loudness"]["target_lufs"] == -14.0
    assert server.get(track["stream_manifest_url"]).status_code == 200
    assert list(track["manifest_urls"]) == ["aac", "opus", "ts"]
    assert {server.get(url).status_code for url in track["manifest_urls"].values()} == {200}
    assert server.get(track["waveform_url"]).status_code == 200
    listed = server.get("/tracks").json()["tracks"]
    assert track_id in [one["track_id"] for one in listed]


def test_the_waveform_is_that_of_the_sound(server: Server, track_id: str) -> None:
    """audiowaveform: the .dat (version 1) at 256 samples a pixel; the JSON is never wider than asked for."""
    json_form: Json = server.get(f"/tracks/{track_id}/waveform.json", accept_encoding="gzip").json()
    assert (json_form["version"], json_form["bits"], json_form["sample_rate"]) == (2, 8, 48_000)
    assert len(json_form["data"]) == 2 * json_form["length"] <= 2400
    narrow: Json = server.get(f"/tracks/{track_id}/waveform.json?width=100").json()
    assert narrow["length"] <= 100 < 2 * narrow["length"]

    dat = server.get(f"/tracks/{track_id}/waveform.dat")
    assert dat.headers["cache-control"] == "public, max-age=3600"
    version, flags, rate_hz, samples_per_pixel, length = np.frombuffer(dat.content[:20], "<i4")
    assert (version, flags & 1, rate_hz, samples_per_pixel) == (1, 1, 48_000, 256)
    assert length == -(-SAMPLES // 256)
    pixels = np.frombuffer(dat.content[20:], np.int8).reshape(-1, 2)
    music = signals.music(DURATION_S).mean(axis=0)
    expected = np.abs(music[: 256 * (SAMPLES // 256)]).reshape(-1, 256).max(axis=1)
    drawn = np.abs(pixels.astype(int)).max(axis=1)[: len(expected)] / 128
    assert np.corrcoef(expected, drawn)[0, 1] > 0.98


def test_the_companion_hears_of_a_finished_track(
    start_server: StartServer, companion: Companion, song: Path
) -> None:
    """The callback: where the track is played, how loud it was, what there is of it; once."""
    server = start_server(
        BACKEND_API_URL=companion.url, INTERNAL_API_KEY=KEY, PUBLIC_BASE_URL="https://media.example"
    )
    assert server.client.get("/api/v1/internal/jobs").status_code == 401
    job = server.publish(song, visibility="private", user_id=OWNER, options={})
    (callback,) = companion.wait_for(job["job_id"])
    track_id = job["track_id"]
    assert (callback.method, callback.path) == ("POST", f"/api/v1/internal/tracks/{track_id}/stream-ready")
    assert callback.headers["content-type"] == "application/json"
    assert callback.headers["idempotency-key"] == job["job_id"]
    assert callback.headers["x-internal-api-key"] == KEY

    body = callback.body
    assert body | {"loudness": None, "renditions": None} == {
        "job_id": job["job_id"],
        "track_id": track_id,
        "status": "completed",
        "attempt": 1,
        "sequence": 1,
        "stream_manifest_url": f"https://media.example/hls/{track_id}/master.m3u8",
        "duration_seconds": DURATION_S,
        "loudness": None,
        "renditions": None,
        "downloads": [
            {
                "format": "mp3",
                "bitrate": 320_000,
                "url": f"https://media.example/tracks/{track_id}/audio.mp3?bitrate=320",
            }
        ],
        "waveform_url": f"https://media.example/tracks/{track_id}/waveform.json",
        "warnings": [],
        "error": None,
    }
    loudness = body["loudness"]
    assert set(loudness) == {"integrated_lufs", "true_peak_dbtp", "range_lu", "gain_db", "target_lufs"}
    louder_by = min(-14.0 - loudness["integrated_lufs"], -1.0 - loudness["true_peak_dbtp"])
    assert louder_by - 1 < loudness["gain_db"] < louder_by + 0.02, "to -14 LUFS, or to -1 dBTP once coded"
    assert body["renditions"] == [
        {"name": name, "codec": codec, "bitrate": bps, "sample_rate": 48_000, "channels": 2}
        for name, codec, bps in (
            ("128k", "mp4a.40.2", 128_000),
            ("192k", "mp4a.40.2", 192_000),
            ("320k", "mp4a.40.2", 320_000),
            ("opus-128", "opus", 128_000),
        )
    ]
    result = dict(job["result"])
    assert {name: body[name] for name in result} == result
    server.wait_for_log("callback.delivered", job_id=job["job_id"])
    assert len(companion.of(job["job_id"])) == 1


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, server_companion: Companion) -> Iterator[Server]:
    """A server that asks for tokens."""
    settings = {"JWT_SECRET": SECRET, "BACKEND_API_URL": server_companion.url}
    server = Server(tmp_path_factory.mktemp("guarded"), settings)
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture(scope="module")
def private_track(guarded: Server, song: Path) -> str:
    found: str = guarded.publish(song, visibility="private", user_id=OWNER)["track_id"]
    return found


def token(subject: str, *, secret: str = SECRET, **claims: object) -> str:
    now = int(time.time())
    standard = {"sub": subject, "iss": "veza-api", "aud": "veza-app", "iat": now, "exp": now + 600}
    return jwt.encode(standard | claims, secret, algorithm="HS256")


def test_a_private_track_asks_for_a_token(guarded: Server, private_track: str) -> None:
    path = f"/hls/{private_track}/master.m3u8"
    nobody = guarded.get(path)
    assert nobody.status_code == 401
    assert nobody.headers["www-authenticate"].startswith("Bearer")
    forged = token(OWNER, secret="another-secret-of-the-same-length-0123")
    assert guarded.get(path, authorization=f"Bearer {forged}").status_code == 401
    assert guarded.get(path, authorization=f"Bearer {token('somebody-else')}").status_code == 403
    assert guarded.get(path, authorization=f"Bearer {token(OWNER)}").status_code == 200
    assert (
        guarded.get(path, authorization=f"Bearer {token('moderator', role='moderator')}").status_code == 200
    )
    unknown = guarded.get("/hls/00000000-0000-4000-8000-000000000000/master.m3u8")
    assert (unknown.status_code, unknown.json()["code"]) == (401, nobody.json()["code"])


def test_playlists_fetched_with_a_token_carry_signatures(guarded: Server, private_track: str) -> None:
    """Segments need no token then; a signature opens what it was made for and nothing else."""
    master_url = f"{guarded.master_url(private_track)}?token={token(OWNER)}"
    assert list(read(guarded.client, master_url)) == ["128k", "192k", "320k"]
    master = guarded.client.get(master_url)
    assert master.headers["cache-control"].startswith("private")
    assert "token" not in master.text

    variant = urljoin(master_url, m3u8.loads(master.text).playlists[0].uri)
    first = urljoin(variant, m3u8.loads(guarded.client.get(variant).text).segments[0].uri)
    segment = guarded.client.get(first)
    assert segment.headers["cache-control"] == "private, max-age=31536000, immutable"
    signed = urlsplit(first)
    assert set(parse_qs(signed.query)) == {"expires", "kid", "signature"}
    assert guarded.get(signed.path).status_code == 401
    other_rendition = signed.path.replace("/128k/", "/320k/")
    assert guarded.get(f"{other_rendition}?{signed.query}").status_code in {401, 403}
    later = signed.query.replace("expires=", "expires=9")
    assert guarded.get(f"{signed.path}?{later}").status_code in {401, 403}


@pytest.mark.parametrize("find_ffmpeg", [debian_ffmpeg, newest_ffmpeg], ids=["distribution", "newest"])
def test_a_player_that_sets_no_header_plays_with_the_token_in_the_address(
    guarded: Server, private_track: str, find_ffmpeg: object
) -> None:
    assert callable(find_ffmpeg)
    secret = token(OWNER)
    url = f"{guarded.master_url(private_track)}?token={secret}"
    assert play_with(find_ffmpeg(), url, "error") >= SAMPLES
    assert secret not in guarded.output, "a token must not reach the log"
    assert secret.rpartition(".")[2] not in guarded.output
