"""kill -9 at any moment of a job: after the next start it is done once, and nothing is left over.

All tests share one folder and one companion; each kills the server and starts it again.
Source: reliability F1, I1 to I5.
"""

from __future__ import annotations

import json
import socket
import struct
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
import signals
from companion.callbacks import Companion
from e2e.crash import (
    assert_nothing_is_left_over,
    assert_stored_is_named,
    files_below,
    held,
    kill_alone,
    runs_begun,
    wait_for_child,
    wait_until_held,
)
from e2e.presentation import Rung, read
from e2e.server import ENDED, JOBS, TRANSCODE, Json, Server, eventually

RATE_HZ = 48_000
DURATION_S = 5.0
LONG_S = 25.0
"""Long enough to be met in the middle of the encoding."""

JUNK_BYTES = 256 << 20
"""What a source carries beside its sound to take some time to copy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The server dies in the transaction with this change.

    `attempt` is that of the run that ends the job. None: whoever is first makes the record, the upload or the
    worker that has the message by then, and only the message says whether a run began.
    """

    name: str
    change: str
    attempt: int | None = 2
    playable: bool = False
    """Whether listeners have the track in this moment already."""
    told: int = 1
    """How often the companion is sent the end of the job."""

    def __str__(self) -> str:
        return self.name


def stage(name: str) -> str:
    return f"UPDATE ON jobs WHEN json_extract(CAST(new.body AS TEXT), '$.stage') = '{name}'"


ACKNOWLEDGED = "DELETE ON deliveries"
MOMENTS = (
    Moment(name="accepted", change="INSERT ON jobs", attempt=None),
    Moment(name="received", change="UPDATE OF owner ON deliveries WHEN new.owner IS NOT NULL", attempt=1),
    Moment(name="fetch", change=stage("fetch")),
    Moment(name="probe", change=stage("probe")),
    Moment(name="analyze", change=stage("analyze")),
    Moment(name="encode", change=stage("encode")),
    Moment(name="publish", change=stage("publish"), playable=True),
    Moment(name="listed", change="INSERT ON tracks", playable=True),
    Moment(name="completed", change=stage("done"), playable=True),
    Moment(name="acknowledged", change=ACKNOWLEDGED, playable=True),
    Moment(
        name="callback-claimed",
        change="UPDATE OF owner ON callbacks WHEN new.owner IS NOT NULL",
        attempt=1,
        playable=True,
    ),
    Moment(
        name="callback-answered",
        change="UPDATE OF status ON callbacks WHEN new.status = 'delivered'",
        attempt=1,
        playable=True,
        told=2,
    ),
)

ON_EVERY_RUN = {"accepted", "encode", "acknowledged"}
"""Before, in and after the work; the others go with the slow tests."""


class Life:
    """A server that is killed again and again, and what it made before all of that."""

    def __init__(self, folder: Path) -> None:
        self.uploads = folder / "uploads"
        self.uploads.mkdir()
        self.song = folder / "song.wav"
        signals.write(self.song, signals.music(DURATION_S), RATE_HZ, "wav", subtype="PCM_16")
        self.companion = Companion().start()
        self.server = Server(
            folder,
            {
                "BACKEND_API_URL": self.companion.url,
                "UPLOAD_DIR": self.uploads,
                "PUBLIC_BASE_URL": "https://media.example",
            },
        )

    def begin(self) -> Life:
        self.server.start()
        track_id = self.server.publish(self.song)["track_id"]
        self.undisturbed = self.rungs(track_id)
        return self

    def close(self) -> None:
        self.server.close()
        self.companion.stop()

    def rungs(self, track_id: str) -> dict[str, Rung]:
        """Every URI of the track, fetched."""
        return read(self.server.client, self.server.master_url(track_id))

    def job_of(self, track_id: str) -> Json | None:
        answer = self.server.client.get(JOBS, params={"track_id": track_id}, headers=self.server.internal)
        jobs: list[Json] = answer.json()["jobs"]
        assert len(jobs) <= 1
        return jobs[0] if jobs else None

    def is_playable(self, track_id: str) -> bool:
        """I2, I3: what is visible is whole, at any instant."""
        status = self.server.get(f"/hls/{track_id}/master.m3u8").status_code
        if status == httpx2.codes.OK:
            assert all(rung.presented_samples for rung in self.rungs(track_id).values())
        else:
            assert status == httpx2.codes.NOT_FOUND
        return status == httpx2.codes.OK

    def ended(self, track_id: str) -> Json:
        """The track's one job as it ended; meanwhile no half of the track is seen."""

        def look() -> Json | None:
            listed = [one["track_id"] for one in self.server.get("/tracks").json()["tracks"]]
            if track_id in listed:
                assert self.is_playable(track_id)
            job = self.job_of(track_id)
            return job if job and job["status"] in ENDED else None

        return eventually(look, f"the end of the job of {track_id}", within_s=60)

    def told(self, job_id: str, times: int = 1) -> Json:
        """What the companion was told of the job: once, or more than once the same with the same key."""
        self.server.wait_for_log("callback.delivered", job_id=job_id)
        came = self.companion.of(job_id)
        assert len(came) == times
        assert {one.headers["idempotency-key"] for one in came} == {job_id}
        assert all(one.body == came[0].body for one in came)
        return came[0].body


@pytest.fixture(scope="module")
def one_life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    life = Life(tmp_path_factory.mktemp("life"))
    try:
        yield life.begin()
    finally:
        life.close()


@pytest.fixture
def life(one_life: Life) -> Iterator[Life]:
    """With its server running; one that a failed test has left is gone."""
    yield one_life
    if not one_life.server.running:
        one_life.server.close()
        one_life.server.start()


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(moment, marks=[pytest.mark.slow] * (moment.name not in ON_EVERY_RUN))
        for moment in MOMENTS
    ],
    ids=str,
)
def test_a_job_that_dies_with_its_server_is_done_after_the_next_start(life: Life, moment: Moment) -> None:
    """I1 to I5: once, whole, in the same bytes, told under one key; no process and no file is left.

    Also its MP3, which is made when the track can be heard already.
    """
    server, track_id = life.server, str(uuid.uuid4())
    with ThreadPoolExecutor(1) as uploading, held(server.data_dir, moment.change):
        upload = uploading.submit(server.submit, life.song, track_id=track_id, visibility="public")
        wait_until_held(server.data_dir)
        assert life.is_playable(track_id) == moment.playable
        kill_alone(server)
        assert isinstance(upload.exception(timeout=30), httpx2.TransportError | None)

    attempt = runs_begun(server.data_dir, track_id) + 1 if moment.attempt is None else moment.attempt
    server.start()
    job = life.ended(track_id)
    assert (job["status"], job["attempt"], job["error"]) == ("completed", attempt, None)
    assert [one["format"] for one in job["result"]["downloads"]] == ["mp3"], "which nobody has asked for"
    assert life.rungs(track_id) == life.undisturbed, "the same bytes, whatever happened on the way"
    body = life.told(job["job_id"], moment.told)
    assert (body["status"], body["attempt"], body["sequence"]) == ("completed", attempt, 1)
    assert_nothing_is_left_over(server)
    assert_stored_is_named(server.data_dir, track_id)
    assert (server.data_dir / "storage" / "sources" / track_id).read_bytes() == life.song.read_bytes()


def test_a_refusal_that_was_not_acknowledged_is_told_with_its_own_reason(life: Life, tmp_path: Path) -> None:
    """The second run of a bad file finds what the first one found."""
    server, track_id = life.server, str(uuid.uuid4())
    path = tmp_path / "letter.mp3"
    path.write_text("Dear Sir or Madam, " * 400)
    with held(server.data_dir, ACKNOWLEDGED):
        server.upload(path, track_id=track_id)
        wait_until_held(server.data_dir)
        kill_alone(server)
    server.start()
    eventually(lambda: server.log("callback.delivered") or None, "the callback")
    job = life.ended(track_id)
    assert (job["status"], job["error"]["code"]) == ("failed", "not_audio")
    body = life.told(job["job_id"])
    assert (body["status"], body["error"]["code"]) == ("failed", "not_audio")
    assert_nothing_is_left_over(server)


def test_an_encoder_ends_with_its_server(life: Life, tmp_path: Path) -> None:
    """F1, mid-encode: the child is busy with samples, not with its parent, and still notices."""
    server = life.server
    path = tmp_path / "long.wav"
    signals.write(path, signals.music(LONG_S), RATE_HZ, "wav")
    job_id, track_id = (job := server.upload(path))["job_id"], job["track_id"]
    server.wait_until(job_id, lambda job: job["stage"] == "encode")
    wait_for_child(server)
    kill_alone(server)
    assert not (server.data_dir / "storage" / "tracks" / track_id / "asset.json").exists()

    server.start()
    job = life.ended(track_id)
    assert (job["status"], job["attempt"]) == ("completed", 2)
    assert {rung.presented_samples for rung in life.rungs(track_id).values()} == {round(LONG_S * RATE_HZ)}
    life.told(job_id)
    assert_nothing_is_left_over(server)
    assert_stored_is_named(server.data_dir, track_id)


@pytest.mark.slow
def test_half_a_copy_of_a_source_is_swept(life: Life) -> None:
    """F1, mid-download."""
    server, track_id = life.server, str(uuid.uuid4())
    with_junk(life.song.read_bytes(), life.uploads / "big.wav")
    attempts = server.data_dir / "attempts"

    def half_copied() -> int | None:
        sizes = [path.stat().st_size for path in attempts.glob("*/src.bin")]
        return sizes[0] if sizes and sizes[0] else None

    wanted = {"track_id": track_id, "source": {"path": "big.wav"}, "visibility": "public"}
    assert server.client.post(TRANSCODE, json=wanted).status_code == httpx2.codes.ACCEPTED
    copied = eventually(half_copied, "the copy", every_s=0.001)
    kill_alone(server)
    assert copied < JUNK_BYTES
    assert files_below(attempts)

    server.start()
    job = life.ended(track_id)
    assert (job["status"], job["attempt"], job["warnings"]) == ("completed", 2, [])
    assert life.rungs(track_id) == life.undisturbed
    life.told(job["job_id"])
    assert_nothing_is_left_over(server)


def with_junk(riff: bytes, path: Path) -> None:
    """Write a WAV once more, with a chunk before its samples that says nothing and is a hole in the file."""
    at = riff.index(b"data")
    with path.open("wb") as file:
        file.write(riff[:at] + struct.pack("<4sI", b"JUNK", JUNK_BYTES))
        file.seek(JUNK_BYTES, 1)
        file.write(riff[at:])
        file.seek(4)
        file.write(struct.pack("<I", len(riff) + JUNK_BYTES))


def test_half_an_upload_leaves_nothing(life: Life) -> None:
    """Before the 202 there is no job, and no file after the next start."""
    server, track_id = life.server, str(uuid.uuid4())
    part = 'Content-Disposition: form-data; name="{}"'
    body = (
        f"--b\r\n{part.format('track_id')}\r\n\r\n{track_id}\r\n"
        f'--b\r\n{part.format("file")}; filename="song.wav"\r\n\r\n'
    ).encode() + bytes(1 << 20)
    url = httpx2.URL(server.url)
    head = (
        f"POST {TRANSCODE} HTTP/1.1\r\nHost: localhost:{url.port}\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {2 * len(body)}\r\n\r\n"
    )
    incoming = server.data_dir / "incoming"
    with socket.create_connection((url.host, url.port or 0)) as sender:
        sender.sendall(head.encode() + body)
        eventually(lambda: any(p.stat().st_size for p in incoming.iterdir()) or None, "half a file")
        kill_alone(server)
    assert files_below(incoming)
    server.start()
    assert_nothing_is_left_over(server)
    assert life.job_of(track_id) is None
    assert json.loads(server.get("/readyz").text)["ready"]
