"""Uploads on a real RabbitMQ, seen through by the real handler: once, in order, and never lost."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import albums
import pytest
import signals
from aio_pika.abc import AbstractIncomingMessage
from servers.queues import Queues, queues
from servers.rabbitmq import NotInstalledError, PrivateRabbitMQ

from media_server.broker.base import Callback, PendingCallback
from media_server.broker.rabbit import RabbitBroker
from media_server.broker.rabbit_outbox import RabbitOutbox
from media_server.database import Database
from media_server.errors import Unavailable
from media_server.jobs.albums import gain_of, members
from media_server.jobs.folders import Folders
from media_server.jobs.handler import Handler
from media_server.jobs.job import JobState, Stage, job_id_of
from media_server.jobs.lease import LEASE_S
from media_server.jobs.membership import album_key
from media_server.jobs.publish import live_asset
from media_server.jobs.regainer import Regainer
from media_server.jobs.worker import Worker
from media_server.metrics import Metrics
from media_server.settings import Settings
from media_server.state.local import LocalState
from media_server.storage.local import LocalStorage
from media_server.trace import of_job

pytestmark = pytest.mark.slow

TRACK = "0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
WITHIN_S = 60.0


class OutOfReach(LocalStorage):
    """A storage that takes nothing for its first `times` objects."""

    times = 0

    async def put(self, key: str, data: bytes, *, media_type: str, cache_control: str = "") -> None:
        if self.times > 0:
            self.times -= 1
            raise Unavailable("storage", "the storage is out of reach")
        await super().put(key, data, media_type=media_type, cache_control=cache_control)


class Servers:
    """Workers over one storage and one state, and the companion's side of the queues."""

    def __init__(self, rabbit: Queues, folder: Path, state: LocalState) -> None:
        self.rabbit, self.state = rabbit, state
        self.settings = Settings(data_dir=folder / "data", upload_dir=folder / "in", _env_file=None)
        self.folders = Folders(self.settings.data_dir)
        self.folders.make()
        (folder / "in").mkdir()
        self.storage = OutOfReach(self.folders.storage)

    def song(self, name: str = "song.wav", seconds: float = 2.0) -> dict[str, Any]:
        """The data of an upload."""
        assert self.settings.upload_dir is not None
        signals.write(self.settings.upload_dir / name, signals.music(seconds, 48_000, 2), 48_000, "wav")
        return {"track_id": TRACK, "source": {"path": name}, "visibility": "public"}

    def album(self, levels_db: Sequence[float]) -> list[dict[str, Any]]:
        """The data of the uploads of an album whose tracks have these levels."""
        assert self.settings.upload_dir is not None
        for number, level_db in enumerate(levels_db):
            (self.settings.upload_dir / f"{number}.flac").write_bytes(albums.song(level_db))
        said = {"user_id": "7", "album_id": "album", "options": albums.OPTIONS}
        return [
            {"track_id": track_id, "source": {"path": f"{number}.flac"}, **said}
            for number, track_id in enumerate(albums.TRACKS[: len(levels_db)])
        ]

    async def upload(
        self, data: dict[str, Any], event_id: str, *, source_version: int | None = None, **properties: object
    ) -> str:
        """Publish it in its envelope; the job's id."""
        message = {
            "event_id": event_id,
            "event_type": "track.uploaded",
            "timestamp": "2026-03-01T12:00:00Z",
            "version": 1,
            "data": {**data, "source_version": source_version},
            "metadata": {"correlation_id": "c-1"},
        }
        await self.rabbit.publish(json.dumps(message).encode(), **properties)
        return job_id_of("event", event_id)

    @asynccontextmanager
    async def working(
        self, count: int = 1, *, lease_s: float = LEASE_S
    ) -> AsyncIterator[list[tuple[RabbitBroker, RabbitOutbox]]]:
        """That many workers; at the end what runs is finished."""
        stop = asyncio.Event()
        sides = [await self.rabbit.server(self.state, lease_s=lease_s) for _ in range(count)]
        async with asyncio.TaskGroup() as tasks:
            for broker, _ in sides:
                parts: dict[str, Any] = {
                    "settings": self.settings,
                    "folders": self.folders,
                    "storage": self.storage,
                    "state": self.state,
                    "broker": broker,
                    "metrics": Metrics(),
                    "published": lambda track_id: None,
                }
                handler, regainer = Handler(**parts), Regainer(**parts)
                tasks.create_task(Worker(broker, handler, Metrics(), 1, regainer=regainer).run(stop))
            try:
                yield sides
            finally:
                stop.set()

    async def reached(self, job_id: str, stage: Stage) -> None:
        """Until the job is there."""
        async with asyncio.timeout(WITHIN_S):
            while (job := await self.state.get(job_id)) is None or job.stage is not stage:  # noqa: ASYNC110 - its record is all it shows
                await asyncio.sleep(0.01)

    async def empty(self) -> None:
        """Until no job waits, for its retry or otherwise, and none is in hand."""
        queues = [self.rabbit.topology.queue, *self.rabbit.topology.waiting_rooms(self.rabbit.topology.queue)]
        async with asyncio.timeout(WITHIN_S):
            while sum([await self.rabbit.count(queue) for queue in queues]):  # noqa: ASYNC110 - a queue tells nobody
                await asyncio.sleep(0.05)


@pytest.fixture
async def servers(rabbit: Queues, tmp_path: Path, database: Database) -> Servers:
    return Servers(rabbit, tmp_path, LocalState(database))


async def callbacks(outbox: RabbitOutbox, count: int) -> list[PendingCallback]:
    """The next `count` callbacks, delivered."""
    found: list[PendingCallback] = []
    async with asyncio.timeout(WITHIN_S):
        while len(found) < count:
            if (pending := await outbox.claim()) is not None:
                found.append(pending)
                await outbox.done(pending.id)
    return found


async def heard_until(servers: Servers, heard: str, event_type: str) -> list[AbstractIncomingMessage]:
    """All events up to the first of that type."""
    events: list[AbstractIncomingMessage] = []
    async with asyncio.timeout(WITHIN_S):
        while not events or events[-1].routing_key != event_type:
            events += await servers.rabbit.taken(heard, 1)
    return [event for event in events if (event.routing_key or "").startswith("transcoding.")]


@pytest.mark.parametrize("trace", [None, TRACE])
async def test_all_that_is_told_of_an_upload_names_what_it_comes_from(
    servers: Servers, trace: str | None
) -> None:
    """Contract, Events: `correlation_id` repeated, the incoming event as cause, `traceparent` a header."""
    event_id = str(uuid.uuid4())
    async with servers.working() as [(_, outbox)]:
        heard = await servers.rabbit.listen()
        headers = {"traceparent": trace} if trace else {}
        job_id = await servers.upload(servers.song(seconds=20.0), event_id, headers=headers)
        [callback] = await callbacks(outbox, 1)
        events = await heard_until(servers, heard, "transcoding.completed")
    names = [event.routing_key for event in events]
    assert names[0] == "transcoding.started"
    assert set(names[1:-1]) <= {"transcoding.progress"}
    for event in events:
        told = json.loads(event.body)
        assert told["metadata"] == {"correlation_id": "c-1", "causation_id": event_id}
        assert event.headers["traceparent"] == (trace or of_job(job_id))
        assert (told["data"]["job_id"], told["data"]["track_id"]) == (job_id, TRACK)
    assert {name: callback.body[name] for name in told["data"]} == told["data"]
    assert (callback.traceparent or of_job(callback.job_id)) == (trace or of_job(job_id))
    assert callback.body["status"] == "completed"


async def test_a_message_that_comes_twice_is_one_job_on_two_workers(servers: Servers) -> None:
    """I4: the same version, the same callback under the same key; nothing is made twice."""
    event_id, data = str(uuid.uuid4()), servers.song()
    async with servers.working(2) as [(_, outbox), _]:
        for _ in range(2):
            job_id = await servers.upload(data, event_id)
        both = await callbacks(outbox, 2)
        await servers.empty()
    first, second = ({**one.body, "attempt": 0, "sequence": 0} for one in both)
    assert first == second
    assert {one.job_id for one in both} == {job_id}
    assert [job.job_id for job in (await servers.state.list()).items] == [job_id]
    asset = await live_asset(servers.storage, TRACK)
    assert asset is not None
    folders = {key.split("/")[2] for key in await servers.storage.list(f"tracks/{TRACK}/")}
    assert folders == {"asset.json", asset.version}


async def test_a_storage_that_is_away_costs_a_retry_and_not_the_job(servers: Servers) -> None:
    """Delayed retries through the tiers; the second attempt ends it."""
    async with servers.working() as [(_, outbox)]:
        servers.storage.times = 1
        job_id = await servers.upload(servers.song(), str(uuid.uuid4()))
        [callback] = await callbacks(outbox, 1)
        await servers.empty()
    assert (callback.body["status"], callback.body["attempt"]) == ("completed", 2)
    job = await servers.state.get(job_id)
    assert job is not None
    assert (job.status, job.attempt) == (JobState.COMPLETED, 2)


async def test_the_message_is_there_until_the_track_is_stored_and_its_callback_safe(servers: Servers) -> None:
    """Contract: manual acknowledgement after the result is stored and its callback is safe."""
    refused: list[bool] = []
    async with servers.working(lease_s=1.0) as [(broker, outbox)]:
        safe = broker.put_callback

        async def put(callback: Callback) -> None:
            stored = await live_asset(servers.storage, callback.track_id)
            refused.append(stored is not None and stored.job_id == callback.job_id)
            if len(refused) == 1:
                raise Unavailable("broker", "no confirm")
            await safe(callback)

        broker.put_callback = put
        await servers.upload(servers.song(), str(uuid.uuid4()))
        [callback] = await callbacks(outbox, 1)  # it came again after its lease
        await servers.empty()
    assert refused == [True, True]
    assert (callback.body["status"], callback.sequence) == ("completed", 1)
    assert await outbox.claim() is None


async def test_what_is_no_audio_fails_once_and_is_told_by_callback_and_event(servers: Servers) -> None:
    assert servers.settings.upload_dir is not None
    (servers.settings.upload_dir / "text.mp3").write_text("plain text" * 100)
    async with servers.working() as [(broker, outbox)]:
        heard = await servers.rabbit.listen()
        data = {"track_id": TRACK, "source": {"path": "text.mp3"}}
        job_id = await servers.upload(data, str(uuid.uuid4()))
        [callback] = await callbacks(outbox, 1)
        events = await heard_until(servers, heard, "transcoding.failed")
        await servers.empty()
        assert await broker.parked() == []
    told = json.loads(events[-1].body)["data"]
    assert told == {"job_id": job_id, "track_id": TRACK, "error": callback.body["error"]}
    assert (told["error"]["code"], told["error"]["retryable"]) == ("not_audio", False)
    assert callback.body["attempt"] == 1


@pytest.fixture
def node() -> Iterator[PrivateRabbitMQ]:
    try:
        own = PrivateRabbitMQ()
    except NotInstalledError as error:
        pytest.skip(str(error))
    with own:
        yield own


async def test_a_broker_that_is_stopped_and_started_under_a_job_ends_it_once_and_again_and_again(
    node: PrivateRabbitMQ, tmp_path: Path, database: Database
) -> None:
    """F3, F26: the job goes on, its late ack does nothing, its message comes again: one callback."""
    async with queues(node.url) as made:
        servers = Servers(made, tmp_path, LocalState(database))
        async with servers.working(2) as [(_, outbox), _]:
            for number in range(2):
                song = servers.song(f"{number}.wav", seconds=40.0 + number)
                job_id = await servers.upload(song, str(uuid.uuid4()), source_version=number)
                await servers.reached(job_id, Stage.ENCODE)
                await asyncio.to_thread(node.stop)
                await asyncio.to_thread(node.start)
                [callback] = await callbacks(outbox, 1)
                await servers.empty()
                assert (callback.job_id, callback.body["status"]) == (job_id, "completed")
                assert callback.sequence == number + 1
                assert await outbox.claim() is None
                job = await servers.state.get(job_id)
                assert job is not None
                assert job.status is JobState.COMPLETED
                asset = await live_asset(servers.storage, TRACK)
                assert asset is not None
                assert asset.job_id == job_id


async def test_an_album_on_two_workers_has_one_gain(servers: Servers) -> None:
    """Two tracks at a time, and neither misses the other; each version is told, in its track's order."""
    wanted = servers.album([-12.0, 0.0, -6.0, -9.0])
    album = album_key("7", "album")
    async with servers.working(2) as [(_, outbox), _]:
        for data in wanted:
            await servers.upload(data, str(uuid.uuid4()))
        async with asyncio.timeout(WITHIN_S):
            while True:
                found = await members(servers.storage, album)
                gains = {asset.loudness.gain_db for asset in found}
                jobs = (await servers.state.list()).items
                all_there = len(found) == len(wanted) and all(job.ended for job in jobs)
                if all_there and gains == {await gain_of(servers.storage, album)}:
                    break
                await asyncio.sleep(0.05)
        told: list[PendingCallback] = []
        while not {job.job_id for job in jobs} <= {one.job_id for one in told}:
            told += await callbacks(outbox, 1)  # a message that came twice is told twice, under one key
    assert {job.status for job in jobs} == {JobState.COMPLETED}
    for asset in found:
        mine = [one for one in told if one.track_id == asset.track_id]
        assert [one.sequence for one in mine] == [*range(1, len(mine) + 1)]
        assert mine[-1].body["loudness"]["gain_db"] == asset.loudness.gain_db
