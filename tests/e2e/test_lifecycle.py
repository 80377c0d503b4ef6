"""How a server starts, stops and loses its parts: signals, children, the companion, the settings.

What a kill -9 leaves is in test_power_cut.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import signals
from companion.callbacks import Companion
from e2e.conftest import StartServer
from e2e.crash import (
    assert_nothing_is_left_over,
    forkserver,
    has_ended,
    kill_alone,
    recorded,
    tree,
    wait_for_child,
    wait_until_gone,
)
from e2e.presentation import read
from e2e.server import Json, Server, eventually
from e2e.test_cli import media_server
from e2e.test_delivery import token

STOPS_AT_ONCE_S = 2.0
STOPS_S = 30.0
DRAIN_DELAY_S = 2.0
KILLED_BY_SECOND_SIGNAL = 130
WORKING = frozenset({"analyze", "encode"})
SECRET = "a-secret-that-signs-tokens-0123456789"
KEY = "a-key-between-two-servers-0123456789"


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("short") / "short.flac"
    signals.write(path, signals.music(2.0), 48_000, "flac")
    return path


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some seconds of work."""
    path = tmp_path_factory.mktemp("long") / "long.wav"
    signals.write(path, signals.music(60.0), 48_000, "wav")
    return path


def working(server: Server, path: Path) -> str:
    """The id of a job that is being worked on."""
    job_id: str = server.upload(path)["job_id"]
    server.wait_until(job_id, lambda job: job["stage"] in WORKING)
    return job_id


# --- signals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "times", [pytest.param(1, id="once"), pytest.param(2, id="twice", marks=pytest.mark.slow)]
)
def test_ctrl_c_ends_the_server_at_once_and_gives_the_job_back(
    start_server: StartServer, long: Path, times: int
) -> None:
    """F18: with the page's stream of events open; `make` hands a Ctrl-C on, so that it comes twice."""
    server = start_server()
    job_id = working(server, long)
    processes = tree(server.pid)
    with server.client.stream("GET", "/dev/jobs/events") as events:
        lines = events.iter_lines()
        assert job_id in next(line for line in lines if line.startswith("data:"))
        asked = time.monotonic()
        os.killpg(server.pid, signal.SIGINT)  # as a terminal does: children get it too
        if times == 2:
            server.signal(signal.SIGINT)
        assert list(lines)[-1] == "", "the stream ends, and not in the middle of an event"
        eventually(lambda: None if server.running else True, "the end", every_s=0.01)
    took_s = time.monotonic() - asked
    wait_until_gone(processes)
    log = server.output
    assert server.wait_for_exit() == 0
    assert took_s < STOPS_AT_ONCE_S
    assert "Traceback" not in log
    assert '"level": "error"' not in log

    job, attempts_of_message = recorded(server.data_dir, job_id)
    assert (job["status"], job["stage"], job["attempt"], attempts_of_message) == ("queued", None, 0, 0)
    server.start()
    again = server.wait_until(job_id, lambda job: job["status"] == "running")
    assert again["attempt"] == 1


def test_sigterm_drains(start_server: StartServer, short: Path, long: Path) -> None:
    """F18: not ready from now on, still serving for a while; what runs may end, what comes now is kept."""
    server = start_server(DRAIN_DELAY_S=DRAIN_DELAY_S)
    track_id = server.publish(short)["track_id"]
    running = working(server, long)
    processes = tree(server.pid)
    asked = time.monotonic()
    server.signal(signal.SIGTERM)

    not_ready = eventually(lambda: one if (one := server.get("/readyz")).is_error else None, "503 of /readyz")
    assert not_ready.status_code == 503
    assert not_ready.headers["retry-after"]
    assert {"check": "lifecycle", "code": "draining"} in not_ready.json()["reasons"]
    assert read(server.client, server.master_url(track_id))
    late = server.upload(short, title="late")["job_id"]
    assert time.monotonic() - asked < DRAIN_DELAY_S, "it was asked while it drained"

    wait_for_end = STOPS_S - (time.monotonic() - asked)
    eventually(lambda: None if server.running else True, "the end", within_s=wait_for_end)
    assert time.monotonic() - asked >= DRAIN_DELAY_S
    wait_until_gone(processes)
    log = server.output
    assert server.wait_for_exit() == 0
    assert "Traceback" not in log

    job, attempts_of_message = recorded(server.data_dir, running)
    assert (job["status"], attempts_of_message) in {("completed", None), ("queued", 0)}
    assert recorded(server.data_dir, late)[1] == 0
    server.start()
    for job_id in (running, late):
        job = server.wait_for(job_id)
        assert (job["status"], job["attempt"]) == ("completed", 1)


def test_a_second_signal_ends_a_drain_on_the_spot(start_server: StartServer, long: Path) -> None:
    """Whoever asks again has waited long enough; the job is not lost."""
    server = start_server(DRAIN_DELAY_S=25)
    job_id = working(server, long)
    processes = tree(server.pid)
    server.signal(signal.SIGTERM)

    def ended() -> bool | None:
        if server.running:
            server.signal(signal.SIGTERM)
            return None
        return True

    eventually(ended, "the end", within_s=10, every_s=0.1)
    wait_until_gone(processes)
    assert server.wait_for_exit() == KILLED_BY_SECOND_SIGNAL
    job, attempts_of_message = recorded(server.data_dir, job_id)
    assert job["status"] in {"running", "queued"}
    assert attempts_of_message in {0, 1}


# --- children ---------------------------------------------------------------------------------------------


def test_a_child_that_is_killed_is_tried_once_more(
    start_server: StartServer, companion: Companion, short: Path, long: Path
) -> None:
    """F2, bad input 47: two crashes are the input's fault, one is not; the server lives on."""
    server = start_server(BACKEND_API_URL=companion.url)
    unlucky, poison = server.upload(long)["job_id"], server.upload(long, title="poison")["job_id"]
    first = wait_for_child(server)
    os.kill(first.pid, signal.SIGKILL)
    retry = server.wait_for_log("job.retry", job_id=unlucky)
    assert (retry["code"], retry["attempt"]) == ("decoder_crash", 1)

    job = server.wait_for(unlucky)
    assert (job["status"], job["attempt"]) == ("completed", 2)
    second = None
    for attempt in (1, 2):
        server.wait_until(poison, lambda job, at=attempt: job["attempt"] == at and job["stage"] in WORKING)
        second = wait_for_child(server, unlike=second)
        os.kill(second.pid, signal.SIGKILL)
    job = server.wait_for(poison)
    assert (job["status"], job["attempt"], job["error"]["code"]) == ("failed", 2, "decoder_crash")
    (told,) = companion.wait_for(poison)
    assert (told.body["status"], told.body["error"]["code"]) == ("failed", "decoder_crash")
    assert companion.wait_for(unlucky)[0].body["attempt"] == 2

    killed = forkserver(server).pid
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: has_ended(killed) or None, "the forkserver's end")
    assert server.publish(short)["attempt"] == 1, "a forkserver that died is started again"
    assert_nothing_is_left_over(server)


def test_no_child_knows_a_secret(start_server: StartServer, short: Path, long: Path) -> None:
    """Neither by its environment nor by its command line; and no log line has a token in it."""
    server = start_server(JWT_SECRET=SECRET, INTERNAL_API_KEY=KEY, LOG_LEVEL="DEBUG")
    working(server, long)
    wait_for_child(server)
    others = [one for one in tree(server.pid) if one.pid != server.pid]
    assert len(others) >= 3, "forkserver, resource tracker, child"
    for process in others:
        environment = Path(f"/proc/{process.pid}/environ").read_bytes().decode()
        assert "PATH=" in environment
        for secret in (SECRET, KEY, "JWT_SECRET", "INTERNAL_API_KEY"):
            assert secret not in environment + process.command

    track_id = server.upload(short)["track_id"]
    good, bad = token("somebody"), token("somebody", secret="another-secret-of-the-same-length-0123")
    for path in (f"/hls/{track_id}/master.m3u8", f"/tracks/{track_id}", "/tracks", "/no/such/path", "/"):
        for secret in (good, bad, "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."):
            server.client.get(path, params={"token": secret}, headers={"Referer": f"/x?token={secret}"})
            server.client.get(path, headers={"Authorization": f"Bearer {secret}"}, params={"a": secret})
            server.client.post(path, params={"token": secret}, headers={"Cookie": f"access_token={secret}"})
    assert len(server.log()) > 30
    assert "eyJ" not in server.output
    assert SECRET not in server.output
    assert KEY not in server.output


# --- the companion ----------------------------------------------------------------------------------------


@pytest.fixture
def telling(start_server: StartServer, companion: Companion) -> Iterator[Server]:
    yield start_server(BACKEND_API_URL=companion.url)


def numbers(server: Server) -> tuple[Json, float]:
    """Callbacks as /status tells them, and those that are parked as /metrics does."""
    callbacks: Json = server.get("/status").json()["callbacks"]
    line = next(
        line for line in server.get("/metrics").text.splitlines() if line.startswith("veza_stream_callbacks_")
    )
    return callbacks, float(line.split()[-1])


def test_a_companion_in_trouble_is_told_again_until_it_has_it(
    telling: Server, companion: Companion, short: Path
) -> None:
    """F15: 500 and 429 are no answer, Retry-After is honoured; 410 is one, and the callback is parked."""
    companion.answer_next(500)
    companion.answer_next(429, headers={"Retry-After": "2"})
    job_id = telling.publish(short)["job_id"]
    came = companion.wait_for(job_id, count=3)
    assert [one.answered for one in came] == [500, 429, 204]
    assert {one.headers["idempotency-key"] for one in came} == {job_id}
    assert all(one.body == came[0].body for one in came)
    telling.wait_for_log("callback.delivered", job_id=job_id)
    waits = {one["reason"]: one["delay_s"] for one in telling.log("callback.retry")}
    assert waits["status 429"] >= 2.0
    assert numbers(telling) == ({"pending": 0, "parked": 0}, 0.0)

    companion.answer_next(410)
    refused = telling.publish(short, title="gone")["job_id"]
    telling.wait_for_log("callback.parked", job_id=refused)
    assert numbers(telling) == ({"pending": 0, "parked": 1}, 1.0)
    assert len(companion.of(refused)) == 1
    assert telling.job(refused)["status"] == "completed", "the track plays, whatever the companion says"


@pytest.mark.slow
def test_a_companion_that_is_down_is_told_when_it_is_up_again(
    telling: Server, companion: Companion, short: Path
) -> None:
    """The outbox outlives the server; the job is not run again."""
    companion.stop()
    job = telling.publish(short)
    telling.wait_for_log("callback.retry", job_id=job["job_id"], reason="no answer")
    kill_alone(telling)
    telling.start()
    telling.wait_for_log("callback.retry", job_id=job["job_id"], reason="no answer")
    assert numbers(telling)[0] == {"pending": 1, "parked": 0}
    companion.start()
    (told,) = companion.wait_for(job["job_id"])
    assert told.body == job["result"] | {"attempt": 1, "sequence": 1}
    telling.wait_for_log("callback.delivered", job_id=job["job_id"])
    assert numbers(telling)[0] == {"pending": 0, "parked": 0}
    assert not telling.log("job.started")


# --- more processes, and none -----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_worker_empties_the_queue_that_a_server_left(
    start_server: StartServer, companion: Companion, short: Path
) -> None:
    """Two processes, one folder: what one took in the other makes, and both tell once."""
    server = start_server(BACKEND_API_URL=companion.url)
    jobs = [server.upload(short, title=f"number {number}") for number in range(3)]
    kill_alone(server)
    done = media_server("worker", "--burst", DATA_DIR=server.data_dir, BACKEND_API_URL=companion.url)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    for job in jobs:
        assert companion.wait_for(job["job_id"])[0].body["status"] == "completed"

    server.start()
    listed = {one["track_id"] for one in server.get("/tracks").json()["tracks"]}
    assert listed == {job["track_id"] for job in jobs}
    for job in jobs:
        assert server.job(job["job_id"])["status"] == "completed"
        assert len(read(server.client, server.master_url(job["track_id"]))) == 3
    assert len(companion.received) == 3
    assert_nothing_is_left_over(server)


def test_an_address_that_cannot_be_had_is_said_in_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = media_server("serve", DATA_DIR=tmp_path, PORT=port, LOG_FORMAT="json")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"error: cannot listen on 127.0.0.1:{port} (HOST, PORT): Address already in use\n"
    elsewhere = media_server("serve", DATA_DIR=tmp_path, PORT=0, HOST="no-such-host.invalid")
    assert (elsewhere.returncode, elsewhere.stdout) == (1, "")
    assert elsewhere.stderr.startswith("error: cannot listen on no-such-host.invalid:0 (HOST, PORT): ")
    assert elsewhere.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"APP_ENV": "production"}, "JWT_SECRET"),
        ({"APP_ENV": "production", "JWT_SECRET": SECRET, "INTERNAL_API_KEY": KEY}, "PUBLIC_BASE_URL"),
        ({"JWT_SECRET": "too-short"}, "JWT_SECRET"),
        ({"PORT": "eighty"}, "PORT"),
    ],
    ids=["production", "production-with-secrets", "short", "no-number"],
)
def test_a_wrong_setting_is_named_before_anything_starts(
    tmp_path: Path, settings: dict[str, str], named: str
) -> None:
    done = media_server("serve", DATA_DIR=tmp_path / "data", **settings)
    assert done.returncode == 2
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("error: ")
    assert named in sentence
    assert not any(value in sentence for value in settings.values() if value != "production")
    assert not (tmp_path / "data").exists()
