"""`serve` and `worker` as an operator starts them: wrong settings are told, secrets leave, it ends well."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SECRET = "correct-horse-battery-staple-0123456789"
END_WITHIN_S = 60

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a command in a folder and with an environment of its own; none outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def command(*arguments: str, **settings: str) -> subprocess.Popen[str]:
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        defaults = {"LOG_FORMAT": "json", "PORT": "0", "DEMO_TRACK": "false", "COLUMNS": "200"}
        process = subprocess.Popen(
            [sys.executable, "-m", "media_server", *arguments],
            cwd=tmp_path,
            env=inherited | defaults | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield command
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=END_WITHIN_S)
    return process.returncode, output


def records(output: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.splitlines()]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("JWT_PUBLIC_KEY", "no key", "error: JWT_PUBLIC_KEY must be one or more PEM blocks and nothing else"),
        ("JWT_JWKS_URL", "file:///etc/keys", "error: JWT_JWKS_URL must begin with https:// and name a host"),
        ("URL_SIGNING_KEYS", "k:short", "error: URL_SIGNING_KEYS: secret 1 has 5 characters"),
        ("REDIS_URL", "nonsense", "error: REDIS_URL must be redis://"),
        ("RABBITMQ_URL", "nonsense", "error: RABBITMQ_URL must begin with amqp:// or amqps://"),
        ("BACKEND_API_URL", "nonsense", "error: BACKEND_API_URL must begin with http:// or https://"),
        ("WEBRTC_UDP_PORTS", "9-1", "error: WEBRTC_UDP_PORTS is 9-1"),
    ],
)
def test_a_setting_that_cannot_be_right_is_one_sentence(
    start: Start, name: str, value: str, said: str
) -> None:
    status, output = ended(start("serve", **{name: value}))
    assert (status, len(output.splitlines())) == (2, 1)
    assert output.startswith(said)


def test_a_wrong_setting_is_one_sentence_and_nothing_starts(start: Start, tmp_path: Path) -> None:
    """contract: production refuses to start, with one sentence saying why."""
    status, output = ended(start("serve", APP_ENV="production", JWT_SECRET=SECRET, INTERNAL_API_KEY=SECRET))
    assert (status, output) == (2, "error: production needs PUBLIC_BASE_URL\n")
    assert list(tmp_path.iterdir()) == []


def test_a_taken_port_is_one_sentence(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, output = ended(start("serve", PORT=str(port)))
    assert status == 1
    assert output.startswith(f"error: cannot listen on 127.0.0.1:{port} (HOST, PORT): ")
    assert len(output.splitlines()) == 1


def test_a_server_can_be_told_to_leave_the_jobs_to_workers(start: Start) -> None:
    process = start("serve", "--no-work", DRAIN_DELAY_S="0")
    assert process.stdout is not None
    said = ""
    while '"server.leaves_jobs"' not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    process.send_signal(signal.SIGTERM)
    status, output = ended(process)
    assert status == 0
    assert '"server.works"' not in said + output


def test_a_burst_over_an_empty_queue_ends_at_once_and_names_what_it_ignores(start: Start) -> None:
    status, output = ended(start("worker", "--burst", CDN_PURGE_URL="https://a-password@cdn"))
    assert status == 0
    (ignored,) = [line for line in records(output) if line["message"] == "settings.ignored"]
    assert ignored["names"] == ["CDN_PURGE_URL"]
    assert "a-password" not in output


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_no_child_inherits_a_secret_and_a_signal_ends_all_of_them(start: Start) -> None:
    """reliability, secrets: /proc/environ of a child has none; F18: exit 0, nothing is left."""
    process = start("serve", JWT_SECRET=SECRET, INTERNAL_API_KEY=SECRET, DRAIN_DELAY_S="0")
    assert process.stdout is not None
    said = ""
    while '"server.listening"' not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    children = descendants(process.pid)
    environments = [Path(f"/proc/{child}/environ").read_bytes() for child in children]
    process.send_signal(signal.SIGTERM)
    status, output = ended(process)  # no output any more: nobody is left to write
    assert status == 0
    assert SECRET not in said + output
    assert children
    assert not [environment for environment in environments if SECRET.encode() in environment]


def descendants(pid: int) -> list[int]:
    """The processes below this one: the forkserver and its like."""
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return [below for child in children for below in (child, *descendants(child))]
