"""The product over RabbitMQ, Redis and S3, in separate processes: what embedded mode does, and survives more.

One stack for the module; what a test breaks it also mends.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import httpx2
import pytest
import signals
import whole_files
from companion.publisher import Heard
from companion.stack import Stack
from e2e.conftest import StartServer
from e2e.ears import Ears
from e2e.presentation import read
from e2e.server import Json, Server, eventually
from e2e.test_delivery import token
from e2e.visit import Visit
from playwright.sync_api import Browser, expect

TRACKS = 10
ENDS_WITHIN_S = 90.0
TAKES_EFFECT_WITHIN_S = 5.0
SOURCES = (
    ("wav", 48_000, 2),
    ("flac", 44_100, 2),
    ("mp3", 44_100, 2),
    ("m4a", 48_000, 1),
    ("ogg", 44_100, 1),
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


def songs(folder: Path, count: int) -> list[Path]:
    """Short songs in different formats; no two are alike."""
    made = []
    for number in range(count):
        fmt, rate_hz, channels = SOURCES[number % len(SOURCES)]
        path = folder / f"song-{number}.{fmt}"
        signals.write(path, signals.music(4.0 + number / 2, rate_hz)[:channels], rate_hz, fmt)
        made.append(path)
    return made


def callbacks_of(stack: Stack, track_id: str) -> list[Json]:
    return [one.body for one in stack.companion.received if one.body["track_id"] == track_id]


def wait_for(stack: Stack, track_ids: list[str], *, within_s: float = ENDS_WITHIN_S) -> None:
    """Until each track was called back."""
    stack.companion.wait_until(
        lambda came: set(track_ids) <= {one.body["track_id"] for one in came},
        f"callbacks of {len(track_ids)} tracks",
        within_s=within_s,
    )


def listener(server: Server, subject: str) -> httpx2.Client:
    headers = {"Authorization": f"Bearer {token(subject)}"}
    return httpx2.Client(base_url=server.url, headers=headers, timeout=30, trust_env=False)


@pytest.fixture(scope="module")
def uploaded(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Ten songs by the ids of their tracks; the companion was called back for each."""
    paths = songs(tmp_path_factory.mktemp("songs"), TRACKS)
    found = {stack.publisher.upload(path, visibility="public"): path for path in paths}
    wait_for(stack, list(found))
    return found


@pytest.mark.slow
def test_uploads_end_once_and_are_what_embedded_mode_makes(
    stack: Stack, start_server: StartServer, uploaded: dict[str, Path]
) -> None:
    """Every upload: one callback, one event, and the same bytes as one process makes of it."""
    track_ids, paths = list(uploaded), list(uploaded.values())

    def all_told(heard: list[Heard]) -> bool:
        told = [one.data["track_id"] for one in heard if one.type == "transcoding.completed"]
        return all(track_id in told for track_id in track_ids)

    stack.publisher.wait_for(all_told, "the events")
    embedded = start_server(JOBS_CONCURRENT=2)
    jobs = [embedded.upload(path, track_id=one) for path, one in zip(paths, track_ids, strict=True)]
    for job in jobs:
        assert embedded.wait_for(job["job_id"])["status"] == "completed"
    for track_id in track_ids:
        (body,) = callbacks_of(stack, track_id)
        assert (body["status"], body["sequence"]) == ("completed", 1)
        (event,) = stack.publisher.heard("transcoding.completed", track_id)
        assert {name: body[name] for name in event.data} == event.data
    for track_id in track_ids:
        for server in stack.servers:
            assert read(server.client, server.master_url(track_id)) == read(
                embedded.client, embedded.master_url(track_id)
            )


@pytest.mark.parametrize("transport", ["hls", "websocket", "webrtc"])
@pytest.mark.slow
def test_every_track_is_heard_in_a_browser_from_either_server(
    stack: Stack, uploaded: dict[str, Path], browser: Browser, transport: str
) -> None:
    """Sound, not only state: a tap behind each page's audio element."""
    visits, playing = [], []
    for number, track_id in enumerate(uploaded):
        visit = Visit(browser.new_page(viewport={"width": 1280, "height": 900}))
        visits.append(visit)
        visit.page.goto(f"{stack.servers[number % 2].url}/#track={track_id}")
        expect(visit.get("play")).to_be_enabled()
        visit.page.locator("label", has=visit.get(f"transport-{transport}")).click()
        visit.get("play").click()
        visit.wait_until_played(0.1)
        playing.append(Ears(visit.get("audio")))
    for visit, ears in zip(visits, playing, strict=True):
        eventually(
            lambda ears=ears: any(one.sounds for one in ears.moments(0.5)) or None,
            f"sound over {transport} ({visit.problems})",
        )
        # the list of tracks is for administrators here; the page asks for it all the same
        assert [one for one in visit.problems if "401 (Unauthorized)" not in one] == []
        visit.page.close()


def test_events_say_what_they_come_from(stack: Stack, tmp_path: Path) -> None:
    """Contract: the correlation id is repeated, the incoming event is the cause."""
    (path,) = songs(tmp_path, 1)
    track_id = stack.publisher.upload(path, visibility="public")
    wait_for(stack, [track_id])
    stack.publisher.wait_for(
        lambda heard: any(
            one.type == "transcoding.completed" and one.data["track_id"] == track_id for one in heard
        ),
        "the event",
    )
    (started,) = stack.publisher.heard("transcoding.started", track_id)
    (completed,) = stack.publisher.heard("transcoding.completed", track_id)
    assert started.envelope["metadata"] == completed.envelope["metadata"]
    assert set(started.envelope["metadata"]) == {"correlation_id", "causation_id"}
    assert completed.envelope["aggregate_id"] == track_id


def test_a_job_is_seen_on_every_server_while_a_worker_does_it(stack: Stack, tmp_path: Path) -> None:
    song = tmp_path / "long.wav"
    signals.write(song, signals.music(40.0), 48_000, "wav")
    one, other = stack.servers
    job = one.upload(song)
    seen = other.wait_until(job["job_id"], lambda job: job["status"] == "running" and job["percent"] > 0)
    assert seen["stage"] is not None
    assert other.wait_for(job["job_id"])["status"] == "completed"


def test_a_change_of_visibility_takes_effect_on_every_server(stack: Stack, tmp_path: Path) -> None:
    """Contract: within 5 s; a private track is for its owner and those who may hear any."""
    (path,) = songs(tmp_path, 1)
    owner = str(uuid.uuid4())
    track_id = stack.publisher.upload(path, visibility="public", user_id=owner)
    wait_for(stack, [track_id])
    master = f"/hls/{track_id}/master.m3u8"
    for server in stack.servers:
        assert server.get(master).status_code == 200
    stack.publisher.publish("track.updated", {"track_id": track_id, "visibility": "private"})
    for server in stack.servers:
        eventually(
            lambda server=server: server.get(master).status_code == 401 or None,
            "a private track",
            within_s=TAKES_EFFECT_WITHIN_S,
        )
        with listener(server, owner) as client:
            assert client.get(master).status_code == 200
        with listener(server, str(uuid.uuid4())) as client:
            assert client.get(master).status_code == 403


def file_of(client: httpx2.Client, path: str) -> httpx2.Response:
    """A file of a track, asked for until it is made."""

    def look() -> httpx2.Response | None:
        answer = client.get(path)
        if answer.is_success:
            return answer
        # for two seconds a server may remember that the track itself is being made
        assert (answer.status_code, answer.json()["code"]) in {(503, "being_made"), (503, "track_not_ready")}
        assert int(answer.headers["retry-after"]) > 0
        return None

    return eventually(look, path, within_s=ENDS_WITHIN_S)


def test_a_file_is_made_once_though_every_server_is_asked_at_the_same_moment(
    stack: Stack, tmp_path: Path
) -> None:
    """I16, over RabbitMQ: a worker makes it, and both servers have it."""
    path = tmp_path / "song.wav"
    signals.write(path, signals.music(2.0), 48_000, "wav")
    track_id = stack.publisher.upload(path, visibility="public", options={"outputs": []})
    wait_for(stack, [track_id])
    audio = f"/tracks/{track_id}/audio.flac"
    together = Barrier(len(stack.servers))

    def ask(server: Server) -> httpx2.Response:
        with listener(server, str(uuid.uuid4())) as client:
            together.wait(timeout=30)
            return client.get(audio)

    with ThreadPoolExecutor(len(stack.servers)) as asking:
        first = list(asking.map(ask, stack.servers))
    assert {(one.status_code, one.json()["code"]) for one in first} == {(503, "being_made")}
    assert all(int(one.headers["retry-after"]) > 0 for one in first)
    files = [file_of(server.client, audio) for server in stack.servers]
    assert len({answer.content for answer in files}) == len({answer.headers["etag"] for answer in files}) == 1
    assert whole_files.heard(files[0].content, 2).shape[1] == 2 * 48_000
    stored = [key for key in stack.s3.keys("veza-media", f"tracks/{track_id}/") if "/downloads/" in key]
    assert [key.rpartition(".")[2] for key in stored] == ["flac"]
    made = [one["track_id"] for worker in stack.workers for one in worker.log("file.completed")]
    assert made.count(track_id) == 1


@pytest.mark.slow
def test_files_get_the_words_that_a_track_is_changed_to(stack: Stack, tmp_path: Path) -> None:
    """Contract, `track.updated`: within 5 s nobody is served the old ones. The MP3 is made anew at once, the
    others when they are asked for."""
    path = tmp_path / "song.flac"
    tags = {"title": "In the file", "artist": "Nobody", "album": "Ferry"}
    signals.write(path, signals.music(2.0), 48_000, "flac", tags=tags)
    track_id = stack.publisher.upload(path, visibility="public", title="Old", artist="Ann")
    wait_for(stack, [track_id])
    audio = [f"/tracks/{track_id}/audio.{fmt}" for fmt in ("mp3", "ogg")]
    one, other = stack.servers
    subject = str(uuid.uuid4())

    def words(server: Server, path: str) -> tuple[str, str, str]:
        with listener(server, subject) as client:
            tags = whole_files.seen(file_of(client, path).content, tmp_path)[1]
        return (tags["title"], tags["artist"], tags["album"])

    assert [words(one, path) for path in audio] == [("Old", "Ann", "Ferry")] * 2
    with listener(other, subject) as client:  # it may not have seen yet that the file is there
        old = file_of(client, audio[0])
    stack.publisher.publish("track.updated", {"track_id": track_id, "title": "Überfahrt"})

    def is_new(server: Server) -> bool | None:
        return server.get(f"/tracks/{track_id}").json()["title"] == "Überfahrt" or None

    for server in stack.servers:
        eventually(lambda server=server: is_new(server), "the title", within_s=TAKES_EFFECT_WITHIN_S)
    made = eventually(
        lambda: other.get(f"/tracks/{track_id}").json()["downloads"] or None,
        "the MP3",
        within_s=ENDS_WITHIN_S,
    )
    assert [one["format"] for one in made] == ["mp3"], "which nobody has asked for"
    headers = {"Range": "bytes=1000-", "If-Range": old.headers["etag"]}
    assert other.client.get(audio[0], headers=headers).status_code == 200, "a part of each is no file"
    for server in stack.servers:
        assert [words(server, path) for path in audio] == [("Überfahrt", "Ann", "Ferry")] * 2
    stored = [key for key in stack.s3.keys("veza-media", f"tracks/{track_id}/") if "/downloads/" in key]
    assert sorted(key.rpartition(".")[2] for key in stored) == ["mp3", "ogg"]


def test_a_deleted_track_is_gone_everywhere_and_does_not_come_back(stack: Stack, tmp_path: Path) -> None:
    """Contract: `track.deleted` leaves a tombstone; an upload older than it is not made."""
    (path,) = songs(tmp_path, 1)
    track_id = stack.publisher.upload(path, visibility="public")
    wait_for(stack, [track_id])
    master = f"/hls/{track_id}/master.m3u8"
    stack.publisher.publish("track.deleted", {"track_id": track_id})
    for server in stack.servers:
        eventually(
            lambda server=server: server.get(master).status_code in {401, 404} or None,
            "a deleted track",
            within_s=TAKES_EFFECT_WITHIN_S,
        )
    key = f"originals/{track_id}/{path.name}"
    source = {"bucket": "veza-originals", "key": key}
    stack.publisher.publish(
        "track.uploaded",
        {"track_id": track_id, "source": source, "visibility": "public"},
        timestamp="2020-01-01T00:00:00Z",
    )
    stack.companion.wait_until(
        lambda came: sum(one.body["track_id"] == track_id for one in came) == 2, "the late upload's end"
    )
    assert callbacks_of(stack, track_id)[-1]["status"] == "failed"
    assert not stack.s3.keys("veza-media", f"tracks/{track_id}/")


def test_what_nobody_can_read_is_parked_and_the_others_go_on(stack: Stack, tmp_path: Path) -> None:
    """Reliability F9."""
    for body in (b"{", b"[]", b'{"event_type": "track.uploaded", "version": 7, "data": {}}', b"\xff" * 100):
        stack.publisher.publish_raw("track.uploaded", body)
    (path,) = songs(tmp_path, 1)
    track_id = stack.publisher.upload(path, visibility="public")
    wait_for(stack, [track_id])
    (body,) = callbacks_of(stack, track_id)
    assert body["status"] == "completed"


@pytest.mark.slow
def test_every_track_ends_once_though_everything_dies_in_turn(stack: Stack, tmp_path: Path) -> None:
    """A worker is killed, then RabbitMQ, Redis and S3 are stopped and started again, while jobs run."""
    paths = songs(tmp_path, 8)
    track_ids = [stack.publisher.upload(path, visibility="public") for path in paths[:2]]
    stack.workers[0].wait_for_log("job.started")
    stack.workers[0].kill()
    track_ids += [stack.publisher.upload(path, visibility="public") for path in paths[2:4]]
    stack.workers[0].start()
    for service in (stack.rabbitmq, stack.redis, stack.s3):
        service.stop()
        service.start()
        number = len(track_ids)
        if number < len(paths):
            track_ids.append(stack.publisher.upload(paths[number], visibility="public"))
    wait_for(stack, track_ids, within_s=180)
    for track_id in track_ids:
        bodies = callbacks_of(stack, track_id)
        assert {body["status"] for body in bodies} == {"completed"}
        assert len({body["job_id"] for body in bodies}) == 1
        told = [one["name"] for one in bodies[0]["renditions"] if one["codec"] == "mp4a.40.2"]
        for server in stack.servers:
            assert list(read(server.client, server.master_url(track_id))) == told


def test_no_token_and_no_password_is_in_any_log(stack: Stack) -> None:
    secrets = (stack.s3.secret_key, "guest:guest", str(stack.settings["JWT_SECRET"]), "eyJ")
    for program in (*stack.servers, *stack.workers):
        for secret in secrets:
            assert secret not in program.output
