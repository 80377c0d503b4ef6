"""The embedded adapters over a temporary folder, and submissions of real files."""

from __future__ import annotations

import hashlib
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import signals
from servers.buckets import emptied, shared_client
from servers.s3 import NotInstalledError, PrivateS3, shared_s3

from hls.asset import Asset, AssetLoudness
from media_server.broker.base import Delivery
from media_server.broker.local import LocalBroker
from media_server.broker.outbox import LocalOutbox
from media_server.broker.owner import Owner
from media_server.database import Database
from media_server.jobs.folders import Folders
from media_server.jobs.handler import Handler
from media_server.jobs.job import JobRequest, Source, now_rfc3339
from media_server.jobs.publish import point_to
from media_server.jobs.regainer import Regainer
from media_server.jobs.runner import prepare
from media_server.jobs.submission import Submission, Upload, submit
from media_server.metrics import Metrics
from media_server.settings import Settings
from media_server.state.local import LocalState
from media_server.storage.assets import version_prefix
from media_server.storage.local import LocalStorage
from media_server.storage.s3 import S3Storage
from media_server.storage.sources import S3Sources

TRACK = "0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11"


PLAIN = Asset(
    track_id=TRACK,
    version="v1",
    state="complete",
    job_id="22222222-2222-4222-8222-222222222222",
    created_at="2026-01-01T00:00:00.000Z",
    order="2026-01-01T00:00:00.000Z",
    source_version=None,
    pipeline_version="1",
    source_sha256="0" * 64,
    source_bytes=1,
    duration_samples=48_000,
    visibility="public",
    user_id="7",
    title="Song",
    artist=None,
    tags={},
    loudness=AssetLoudness(
        integrated_lufs=None, true_peak_dbtp=None, range_lu=None, gain_db=0.0, target_lufs=-14.0
    ),
    renditions=(),
    waveform=None,
    cover=None,
    warnings=(),
)


@dataclass(slots=True)
class Embedded:
    """An embedded server without its HTTP."""

    settings: Settings
    folders: Folders
    storage: LocalStorage
    broker: LocalBroker
    outbox: LocalOutbox
    state: LocalState
    handler: Handler
    regainer: Regainer
    published: list[str]

    def upload(self, data: bytes, track_id: str = TRACK, **request: object) -> Submission:
        """A submission whose file lies in the uploads folder; the ladder alone unless `options` say more."""
        request.setdefault("options", {"outputs": []})
        name = str(uuid.uuid4())
        path = self.folders.storage / "uploads" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return Submission(
            request=JobRequest(track_id=track_id, source=Source(), **request),
            upload=Upload(name=name, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data)),
            accepted_at=now_rfc3339(),
        )

    def asset(self, track_id: str = TRACK, **changes: object) -> Asset:
        """A track without files; its upload was accepted on 1 January 2026."""
        return replace(PLAIN, track_id=track_id, **changes)  # type: ignore[arg-type]

    async def publish(self, track_id: str = TRACK, **changes: object) -> Asset:
        """Make such a track live, with one file, and in the list."""
        asset = self.asset(track_id, **changes)
        key = f"{version_prefix(track_id, asset.version)}waveform.dat"
        await self.storage.put(key, b"wave", media_type="application/octet-stream")
        return await point_to(self.storage, self.state, asset)

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Inside, another process keeps the database locked, and nobody waits long for it."""
        await self.broker._database.run(lambda connection: connection.execute("PRAGMA busy_timeout = 20"))
        other = sqlite3.connect(self.folders.database, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.close()

    async def deliver(self, submission: Submission) -> Delivery:
        """Submit and receive."""
        await submit(submission, broker=self.broker, state=self.state)
        delivery = await self.broker.receive()
        assert delivery is not None
        return delivery


@pytest.fixture(scope="session", autouse=True)
def _prepared() -> None:
    """As a server starts: without it each child imports everything anew."""
    prepare()


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[Embedded]:
    settings = Settings(data_dir=tmp_path / "data", upload_dir=tmp_path / "in", _env_file=None)
    folders = Folders(settings.data_dir)
    folders.make()
    (tmp_path / "in").mkdir()
    database = Database(folders.database)
    owner = Owner(folders.owners)
    storage, state = LocalStorage(folders.storage), LocalState(database)
    broker = LocalBroker(database, lease_s=15, owner=owner, now=time.time)
    published: list[str] = []
    parts = {
        "settings": settings,
        "folders": folders,
        "storage": storage,
        "state": state,
        "broker": broker,
        "metrics": Metrics(),
        "published": published.append,
    }
    yield Embedded(
        settings=settings,
        folders=folders,
        storage=storage,
        broker=broker,
        outbox=LocalOutbox(database, owner=owner, now=time.time),
        state=state,
        handler=Handler(**parts),
        regainer=Regainer(**parts),
        published=published,
    )
    await database.close()
    owner.close()


@dataclass(frozen=True, slots=True)
class Buckets:
    """Tracks in one bucket, the originals of others in another, both empty at first."""

    server: PrivateS3
    tracks: str
    originals: str

    @property
    def storage(self) -> S3Storage:
        return S3Storage(shared_client(), self.tracks)

    @property
    def sources(self) -> S3Sources:
        return S3Sources(shared_client(), (self.originals,), missing_delays_s=())


@pytest.fixture
def buckets() -> Buckets:
    try:
        server = shared_s3()
    except NotInstalledError as error:
        pytest.skip(str(error))
    return Buckets(server=server, tracks=emptied("jobs-tracks"), originals=emptied("jobs-originals"))


@pytest.fixture(scope="session")
def song(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Nine seconds of stereo FLAC at 44.1 kHz."""
    path = tmp_path_factory.mktemp("song") / "song.flac"
    signals.write(path, signals.music(9.0, 44_100, 2), 44_100, "flac")
    return path.read_bytes()
