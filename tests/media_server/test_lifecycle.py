"""How the parts stop: what each signal means, and that a burst ends by itself with nothing left to do."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest
from companion.callbacks import Companion
from pydantic import SecretStr
from servers.queues import Queues, queues
from servers.rabbitmq import NotInstalledError, shared_rabbitmq
from structlog.testing import capture_logs

from media_server import lifecycle
from media_server.app import assembled
from media_server.broker.rabbit_topology import Topology
from media_server.jobs.job import JobRequest, JobState, Source, now_rfc3339
from media_server.jobs.submission import Submission, submit
from media_server.lifecycle import SIGNALLED_TWICE, CannotListenError, Shutdown, listen
from media_server.settings import Settings

TRACK = "0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11"
END_WITHIN_S = 30.0

SIGNALLED_AGAIN = """
import asyncio, os, signal, time
from media_server.lifecycle import Shutdown

async def main():
    shutdown = Shutdown()
    shutdown.install()
    shutdown.asked_at = time.monotonic() - 2.0
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
async def shutdown() -> AsyncIterator[Shutdown]:
    """One that hears this process's signals, until the test is over."""
    installed = Shutdown()
    installed.install()
    yield installed
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().remove_signal_handler(number)


@pytest.fixture
def companion() -> Iterator[Companion]:
    started = Companion().start()
    yield started
    started.stop()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", port=0, drain_delay_s=0.0, demo_track=False, _env_file=None)


async def test_sigterm_drains_and_does_not_hurry(shutdown: Shutdown) -> None:
    """F18: a running job may finish."""
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(END_WITHIN_S):
        await shutdown.draining.wait()
    assert not shutdown.at_once.is_set()


async def test_sigint_ends_everything_at_once(shutdown: Shutdown) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    async with asyncio.timeout(END_WITHIN_S):
        await shutdown.at_once.wait()
    assert shutdown.draining.is_set()


async def test_a_signal_that_comes_twice_at_once_is_one_wish(shutdown: Shutdown) -> None:
    """A process group gets it from the terminal and from `make`; the first says how to stop."""
    both_heard = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, both_heard.set)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):  # heard in this order
        os.kill(os.getpid(), number)
    async with asyncio.timeout(END_WITHIN_S):
        await both_heard.wait()
    asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1)
    assert shutdown.draining.is_set()
    assert not shutdown.at_once.is_set()


def test_a_second_wish_ends_the_process_on_the_spot() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED_AGAIN], check=False, capture_output=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (SIGNALLED_TWICE, b"")


def test_a_taken_address_is_said_with_its_settings() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            CannotListenError, match=rf"cannot listen on 127\.0\.0\.1:{port} \(HOST, PORT\): "
        ):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_is_not_ours_is_said(host: str) -> None:
    """RFC 5737 and RFC 6761: neither is any machine's."""
    with pytest.raises(CannotListenError, match=host):
        listen(host, 0)


def test_an_ipv6_address_is_listened_on_as_such() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with listen("::1", 0) as listening:
        assert listening.family == socket.AF_INET6


async def test_a_burst_works_off_the_queue_tells_the_companion_and_ends(
    settings: Settings, companion: Companion
) -> None:
    settings = settings.model_copy(update={"backend_api_url": companion.url})
    request = JobRequest(track_id=TRACK, source=Source(path="gone.flac"))
    submission = Submission(request=request, accepted_at=now_rfc3339())
    async with assembled(settings) as parts:
        await submit(submission, broker=parts.services.broker, state=parts.services.state)
    async with asyncio.timeout(END_WITHIN_S):
        await lifecycle.work(settings, burst=True)
    async with assembled(settings) as parts:
        job = await parts.services.state.get(submission.job_id())
        assert (await parts.services.outbox.counts()).pending == 0
    assert job is not None
    assert job.status is JobState.FAILED
    assert [told.body["job_id"] for told in companion.received] == [job.job_id]


async def test_a_worker_runs_until_it_is_told_to_stop(settings: Settings) -> None:
    """Its lock file is gone afterwards: no other process waits for its leases."""
    with capture_logs() as lines:
        working = asyncio.create_task(lifecycle.work(settings, burst=False))
        async with asyncio.timeout(END_WITHIN_S):
            await _logged("worker.started", lines)
            os.kill(os.getpid(), signal.SIGTERM)
            await working
    assert [line["event"] for line in lines][-1] == "worker.stopped"
    assert not list((settings.data_dir / "owners").iterdir())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_server_answers_until_it_is_told_to_stop_and_leaves_its_port(
    settings: Settings, number: signal.Signals
) -> None:
    """F18: exit within 30 s, the socket closed."""
    with capture_logs() as lines:
        serving = asyncio.create_task(lifecycle.serve(settings))
        async with asyncio.timeout(END_WITHIN_S):
            url = (await _logged("server.listening", lines))["url"]
            async with httpx2.AsyncClient(trust_env=False) as client:
                assert (await client.get(f"{url}readyz")).status_code == 200
            os.kill(os.getpid(), number)
            await serving
    assert [line["event"] for line in lines if line["event"].startswith("server.")][-1] == "server.stopped"
    async with httpx2.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx2.ConnectError):
            await client.get(f"{url}healthz")


async def test_a_server_that_drains_says_so_before_it_closes(settings: Settings) -> None:
    """F18: /readyz answers 503 while requests are still taken; a load balancer needs the time."""
    settings = settings.model_copy(update={"drain_delay_s": 2.0})
    with capture_logs() as lines:
        serving = asyncio.create_task(lifecycle.serve(settings))
        async with asyncio.timeout(END_WITHIN_S):
            url = (await _logged("server.listening", lines))["url"]
            os.kill(os.getpid(), signal.SIGTERM)
            await _logged("server.stopping", lines)
            async with httpx2.AsyncClient(trust_env=False) as client:
                assert (await client.get(f"{url}readyz")).status_code == 503
                assert (await client.get(f"{url}healthz")).status_code == 200
            await serving


@pytest.fixture
async def rabbit() -> AsyncIterator[Queues]:
    """The queues of one server under names of this test."""
    try:
        node = shared_rabbitmq()
    except NotInstalledError as error:
        pytest.skip(str(error))
    name = f"test-{uuid.uuid4().hex[:12]}"
    async with queues(node.url, Topology(exchange=f"{name}.events", queue=name)) as made:
        yield made


@pytest.fixture
def on_rabbit(settings: Settings, rabbit: Queues, companion: Companion) -> Settings:
    return settings.model_copy(
        update={
            "rabbitmq_url": SecretStr(rabbit.url),
            "rabbitmq_exchange": rabbit.topology.exchange,
            "rabbitmq_queue": rabbit.topology.queue,
            "backend_api_url": companion.url,
        }
    )


UPLOAD = json.dumps({"track_id": TRACK, "source": {"path": "gone.flac"}}).encode()
DELETED = json.dumps({"track_id": TRACK}).encode()


async def _marked(settings: Settings) -> None:
    """Until the track's deletion is written down."""
    async with asyncio.timeout(END_WITHIN_S):
        while not list(settings.data_dir.rglob(f"tombstones/tracks/{TRACK}.json")):  # noqa: ASYNC110 - files are all it shows
            await asyncio.sleep(0.02)


async def _told(companion: Companion) -> list[str]:
    """What became of the jobs, as soon as the companion is told of one."""
    async with asyncio.timeout(END_WITHIN_S):
        while not companion.received:  # noqa: ASYNC110 - it runs in a thread of its own
            await asyncio.sleep(0.02)
    return [told.body["status"] for told in companion.received]


async def test_a_server_on_rabbitmq_leaves_jobs_to_workers_and_takes_in_changes(
    on_rabbit: Settings, rabbit: Queues, companion: Companion
) -> None:
    with capture_logs() as lines:
        serving = asyncio.create_task(lifecycle.serve(on_rabbit))
        async with asyncio.timeout(END_WITHIN_S):
            await _logged("server.leaves_jobs", lines)
            await rabbit.publish(UPLOAD)
            await rabbit.publish(DELETED, "track.deleted")
            await _marked(on_rabbit)
            assert await rabbit.count(rabbit.topology.queue) == 1
            os.kill(os.getpid(), signal.SIGINT)
            await serving
        await lifecycle.work(on_rabbit, burst=True)
    assert await _told(companion) == ["failed"]
    assert await rabbit.count(rabbit.topology.queue) == 0


async def test_a_server_on_rabbitmq_that_is_asked_to_works_on_jobs(
    on_rabbit: Settings, rabbit: Queues, companion: Companion
) -> None:
    with capture_logs() as lines:
        serving = asyncio.create_task(lifecycle.serve(on_rabbit, works=True))
        async with asyncio.timeout(END_WITHIN_S):
            await _logged("server.works", lines)
            await rabbit.publish(UPLOAD)
            assert await _told(companion) == ["failed"]
            os.kill(os.getpid(), signal.SIGINT)
            await serving


async def test_a_worker_on_rabbitmq_takes_in_changes_too(on_rabbit: Settings, rabbit: Queues) -> None:
    """A deletion takes effect though no server runs."""
    with capture_logs() as lines:
        working = asyncio.create_task(lifecycle.work(on_rabbit, burst=False))
        async with asyncio.timeout(END_WITHIN_S):
            await _logged("worker.started", lines)
            await rabbit.publish(DELETED, "track.deleted")
            await _marked(on_rabbit)
            os.kill(os.getpid(), signal.SIGTERM)
            await working


@pytest.mark.parametrize(("asked", "said"), [(None, "server.works"), (False, "server.leaves_jobs")])
async def test_an_embedded_server_works_on_jobs_unless_it_is_told_not_to(
    settings: Settings, asked: bool | None, said: str
) -> None:
    """Contract: embedded, one process does everything."""
    with capture_logs() as lines:
        serving = asyncio.create_task(lifecycle.serve(settings, works=asked))
        async with asyncio.timeout(END_WITHIN_S):
            await _logged(said, lines)
            os.kill(os.getpid(), signal.SIGINT)
            await serving


async def _logged(event: str, lines: list[dict[str, object]]) -> dict[str, object]:
    """The log line of this event, as soon as it is written."""
    while True:
        for line in lines:
            if line["event"] == event:
                return line
        await asyncio.sleep(0)
