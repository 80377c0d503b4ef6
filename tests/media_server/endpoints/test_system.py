"""media_server/endpoints/system.py"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from media_server.broker.base import Callback
from media_server.broker.outbox import put_callback
from media_server.broker.rabbit import RabbitBroker
from media_server.broker.rabbit_connection import RabbitConnection
from media_server.broker.rabbit_outbox import RabbitOutbox
from media_server.broker.rabbit_topology import Topology
from media_server.endpoints import system
from media_server.errors import Unavailable
from media_server.jobs.intake import work_of
from media_server.jobs.job import Job, JobState
from media_server.storage.memory import MemoryStorage

TRACK = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"


class BrokenStorage(MemoryStorage):
    """A storage that is out of reach, in one of the ways in which storages are."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def check(self) -> None:
        raise self.error


@pytest.mark.parametrize("path", ["/health", "/healthz"])
async def test_who_answers_is_alive(server: Any, path: str) -> None:
    """Liveness: also while draining or without a dependency; else it would be restarted for nothing."""
    server.services.draining.set()
    server.services.storage = BrokenStorage(Unavailable("storage", "gone"))
    answer = await server.ask(path)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


class BrokenState:
    async def check(self) -> None:
        raise Unavailable("redis", "localhost:1 is gone")


class BrokenBroker:
    async def check(self) -> None:
        raise TimeoutError


async def test_a_server_that_can_work_is_ready(server: Any) -> None:
    answer = await server.ask("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "reasons": [], "degraded": []})


async def test_a_server_that_drains_is_not(server: Any) -> None:
    """F18: readyz 503 at once."""
    server.services.draining.set()
    answer = await server.ask("/readyz")
    assert answer.status_code == 503
    draining = [{"check": "lifecycle", "code": "draining"}]
    assert answer.json() == {"ready": False, "reasons": draining, "degraded": []}
    assert answer.headers["retry-after"] == "5"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unavailable("storage_full", "/srv/secret is full"), "storage_full"),
        (RuntimeError("/srv/secret"), "failed"),
        (TimeoutError(), "no_answer"),
    ],
)
async def test_a_server_without_its_storage_is_not(server: Any, error: Exception, code: str) -> None:
    """It says which, in a word: the route is open, paths and addresses are nobody's business."""
    server.services.storage = BrokenStorage(error)
    answer = await server.ask("/readyz")
    assert answer.status_code == 503
    assert answer.json()["reasons"] == [{"check": "storage", "code": code}]
    assert "secret" not in answer.text


async def test_a_server_without_room_is_not(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "MIN_FREE_BYTES", 2**62)
    answer = await server.ask("/readyz")
    assert answer.json()["reasons"] == [{"check": "disk", "code": "disk_full"}]


async def test_a_server_without_its_database_is_not(server: Any) -> None:
    await server.services.state._database.run(lambda connection: connection.execute("DROP TABLE counters"))
    answer = await server.ask("/readyz")
    assert answer.json()["reasons"] == [{"check": "state", "code": "failed"}]


async def test_a_server_whose_redis_rabbitmq_or_scanner_is_gone_still_serves_and_says_so(
    start: Callable[..., Any],
) -> None:
    """Listening needs none of them; a load balancer that took every server out would silence everyone."""
    nowhere = "localhost:1"
    server = start(redis_url=f"redis://{nowhere}", rabbitmq_url=f"amqp://{nowhere}", clamav_address=nowhere)
    server.services.state = BrokenState()
    server.services.broker = BrokenBroker()
    answer = await server.ask("/readyz")
    assert answer.status_code == 200
    degraded = [
        {"check": "state", "code": "redis"},
        {"check": "broker", "code": "no_answer"},
        {"check": "antivirus", "code": "antivirus"},
    ]
    assert answer.json() == {"ready": True, "reasons": [], "degraded": degraded}
    assert nowhere not in answer.text


@pytest.fixture
def no_broker(server: Any) -> RabbitBroker:
    """A queue on a RabbitMQ that was never reached."""
    connection = RabbitConnection("amqp://user:a-password@127.0.0.1:1/", Topology(exchange="e", queue="q"))
    return RabbitBroker(
        connection,
        put_callback=RabbitOutbox(connection, locks=server.services.state, now=time.time).put,
        locks=server.services.state,
        read=work_of,
        lease_s=15.0,
        concurrent=1,
        now=time.time,
    )


async def test_a_server_without_its_broker_is_not_and_its_numbers_are_there_all_the_same(
    server: Any, no_broker: RabbitBroker
) -> None:
    """Contract: an unreachable service is said in /readyz. What is measured is wanted just then."""
    server.services.broker = no_broker
    answer = await server.ask("/readyz")
    assert (answer.status_code, answer.json()["reasons"]) == (503, [{"check": "broker", "code": "broker"}])
    metrics = await server.ask("/metrics")
    assert metrics.status_code == 200
    assert "veza_http_requests_total" in metrics.text
    assert "a-password" not in answer.text + metrics.text


async def filled(server: Any) -> None:
    """One job waits, one runs, one callback is due."""
    services = server.services
    await services.broker.publish("00000000-0000-4000-8000-000000000001", TRACK, b"{}")
    running = Job(job_id="00000000-0000-4000-8000-000000000002", track_id=TRACK, status=JobState.RUNNING)
    await services.state.save(running)
    callback = Callback(job_id=running.job_id, track_id=TRACK, body={})
    await services.state._database.run(lambda connection: put_callback(connection, callback, 0.0))


async def test_the_status_is_the_process_in_numbers(server: Any) -> None:
    await filled(server)
    asset = await server.publish()
    name = asset.rendition("128k").init.name
    for _ in range(2):
        await server.ask(f"/hls/{asset.track_id}/{asset.version}/128k/{name}")
    status = (await server.ask("/status")).json()
    assert status["version"] == "0.0.0-test"
    assert status["environment"] == "development"
    assert 0 <= status["uptime_seconds"] < 120
    assert (status["jobs"]["waiting"], status["jobs"]["running"]) == (1, 1)
    assert 0 <= status["jobs"]["oldest_seconds"] < 120
    assert status["callbacks"] == {"pending": 1, "parked": 0}
    assert status["segment_cache"] == {"hits": 1, "misses": 1, "bytes": asset.rendition("128k").init.bytes}
    assert status["confinement"] in {"landlock+seccomp", "seccomp", "rlimits"}


async def test_metrics_are_measured_when_they_are_asked_for(server: Any) -> None:
    """A gauge that only changes when a job does would show an idle queue for ever."""
    await filled(server)
    answer = await server.ask("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    values = {
        sample.name: sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert values["veza_stream_queue_depth"] == 1.0
    assert values["veza_stream_callbacks_parked"] == 0.0


async def test_operations_are_open_and_never_shared_with_other_origins(start: Callable[..., Any]) -> None:
    server = start(app_env="staging", cors_allowed_origins=("https://veza.example",))
    for path in ("/health", "/healthz", "/readyz", "/status", "/metrics", "/openapi.json"):
        answer = await server.ask(
            path, peer="203.0.113.9", base="http://media.example", headers={"Origin": "https://veza.example"}
        )
        assert answer.status_code == 200
        assert "access-control-allow-origin" not in answer.headers
