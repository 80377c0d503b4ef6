"""A server whose tracks lie in a bucket, and what a listener meets while the bucket is away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import signals
from e2e.conftest import StartServer
from e2e.server import JOBS, Server, eventually
from servers.s3 import NotInstalledError, PrivateS3

TRACKS, ORIGINALS = "e2e-tracks", "e2e-originals"
TRACK = "0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11"
UNAVAILABLE_WITHIN_S, READY_WITHIN_S = 20.0, 30.0


@pytest.fixture(scope="module")
def s3() -> Iterator[PrivateS3]:
    """One that may be stopped."""
    try:
        server = PrivateS3()
    except NotInstalledError as error:
        pytest.skip(str(error))
    with server:
        for bucket in (TRACKS, ORIGINALS):
            server.make_bucket(bucket)
        yield server


@pytest.fixture
def server(s3: PrivateS3, start_server: StartServer) -> Server:
    return start_server(**s3.settings, S3_BUCKET=TRACKS, SOURCE_BUCKETS=ORIGINALS, SEGMENT_CACHE_BYTES=0)


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("song") / "song.flac"
    signals.write(path, signals.music(9.0, 44_100, 2), 44_100, "flac")
    return path


def segments_of(server: Server, track_id: str) -> list[str]:
    playlist = server.get(f"/hls/{track_id}/stream_128k.m3u8")
    assert playlist.is_success, playlist.text
    return [line for line in playlist.text.splitlines() if line and not line.startswith("#")]


def test_an_upload_is_kept_and_served_from_the_bucket(
    s3: PrivateS3, server: Server, song: Path, tmp_path: Path
) -> None:
    """I11. The original stays too: the server may be its only keeper."""
    track_id = server.publish(song)["track_id"]
    keys = s3.keys(TRACKS)
    assert f"tracks/{track_id}/asset.json" in keys
    assert f"sources/{track_id}" in keys
    assert not [key for key in keys if key.startswith("uploads/")]
    for segment in segments_of(server, track_id):
        answer = server.client.get(f"/hls/{track_id}/{segment}")
        assert answer.is_success
        stored = s3.client.get_object(Bucket=TRACKS, Key=f"tracks/{track_id}/{segment}")
        with stored["Body"] as body:
            assert body.read() == answer.content
    assert not list(tmp_path.rglob("*.m4s"))


def test_a_source_in_a_bucket_becomes_a_track(s3: PrivateS3, server: Server, song: Path) -> None:
    """I2: nothing of the source's own is changed."""
    s3.put(ORIGINALS, "in/a song.flac", song.read_bytes())
    body = {"track_id": TRACK, "source": {"bucket": ORIGINALS, "key": "in/a song.flac"}}
    submitted = server.client.post(
        "/api/v1/internal/transcode", json={**body, "visibility": "public"}, headers=server.internal
    )
    assert submitted.status_code == httpx2.codes.ACCEPTED, submitted.text
    job = server.wait_for(submitted.json()["job_id"])
    assert job["status"] == "completed", job
    assert segments_of(server, TRACK)
    assert s3.keys(ORIGINALS) == ["in/a song.flac"]
    assert server.client.get(f"{JOBS}/{job['job_id']}", headers=server.internal).is_success


@pytest.mark.slow
def test_a_storage_that_goes_and_comes_back_takes_the_server_along(
    s3: PrivateS3, server: Server, song: Path
) -> None:
    """F12: 503 and not ready meanwhile, the same server serves again; nothing needs a restart."""
    track_id = server.publish(song)["track_id"]
    first = f"/hls/{track_id}/{segments_of(server, track_id)[0]}"
    assert server.get(first).is_success
    s3.stop()
    try:
        answer = server.get(first)
        assert answer.status_code == httpx2.codes.SERVICE_UNAVAILABLE, answer.text
        assert s3.secret_key not in answer.text
        eventually(
            lambda: not server.get("/readyz").is_success or None,
            "/readyz says no",
            within_s=UNAVAILABLE_WITHIN_S,
        )
        assert server.get("/healthz").is_success
    finally:
        s3.start()
    eventually(lambda: server.get("/readyz").is_success or None, "/readyz", within_s=READY_WITHIN_S)
    assert server.get(first).is_success
    assert s3.secret_key not in server.output
