"""A server in this process: the whole application over a real queue, state and database, files in memory."""

from __future__ import annotations

import asyncio
import hashlib
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import signals
from httpx2 import ASGITransport, AsyncClient, Response
from starlette.applications import Starlette

from hls.asset import Asset, AssetLoudness, AssetRendition, CodedLoudness, StoredFile, StoredSegment
from hls.cmaf import Track, init_segment
from hls.segmenter import Segmenter, init_name
from media_server.auth.tokens import TokenVerifier, mint
from media_server.broker.local import LocalBroker
from media_server.broker.outbox import LocalOutbox
from media_server.broker.owner import Owner
from media_server.database import Database
from media_server.endpoints.routes import create_asgi
from media_server.endpoints.services import Services
from media_server.jobs.folders import Folders
from media_server.jobs.publish import point_to
from media_server.metrics import Metrics
from media_server.settings import Settings
from media_server.state.local import LocalState
from media_server.storage.assets import Assets, version_prefix
from media_server.storage.cache import ByteCache
from media_server.storage.memory import MemoryStorage
from media_server.storage.renderings import Renderings
from pipeline.encode import Encoder
from pipeline.ladder import ladder_for
from pipeline.media import Block
from pipeline.waveform import WaveformMeter

SECRET = "a-secret-of-the-tests-0123456789-abcdef"
KEY = "an-internal-key-of-the-tests-0123456789"
DURATION_S = 9.0
FILES = dict[str, tuple[bytes, str]]


@cache
def made(seed: int = 1, ladder: tuple[str, ...] = ("128k", "192k")) -> tuple[Asset, FILES]:
    """A track of two renditions, three segments each, with waveform and cover; its files by their path."""
    pcm = signals.noise(DURATION_S, seed=seed)
    files: FILES = {}
    renditions = []
    for rung in ladder_for(2, ladder):
        encoder = Encoder(rung)
        packets = [*encoder.push(Block(pts=0, pcm=pcm)), *encoder.flush()]
        track = Track(
            codec=rung.codec,
            rate_hz=rung.rate_hz,
            channels=2,
            bitrate_bps=rung.bitrate_bps,
            priming_samples=packets[0].trim_start,
            codec_config=encoder.codec_config,
            bit_depth=rung.bit_depth,
        )
        segmenter = Segmenter(track)
        segments = [s for p in packets for s in segmenter.push(p)] + segmenter.flush()
        init = init_segment(track)
        files |= {f"{rung.name}/{s.name}": (s.data, "audio/mp4") for s in segments}
        files[f"{rung.name}/{init_name(init)}"] = (init, "audio/mp4")
        renditions.append(
            AssetRendition(
                name=rung.name,
                codec=rung.codec.rfc6381,
                bitrate_bps=rung.bitrate_bps,
                rate_hz=rung.rate_hz,
                channels=2,
                priming_samples=track.priming_samples,
                init=stored(init_name(init), init, "audio/mp4"),
                segments=tuple(
                    StoredSegment(name=s.name, duration=s.duration, bytes=len(s.data), sha256=s.sha256)
                    for s in segments
                ),
            )
        )
    meter = WaveformMeter(2)
    meter.push(Block(pts=0, pcm=pcm))
    waveform, cover = meter.result().to_dat(16), signals.picture(64, 64)
    files["waveform.dat"] = (waveform, "application/octet-stream")
    files["cover.png"] = (cover, "image/png")
    asset = Asset(
        track_id=str(uuid.uuid4()),
        version=hashlib.sha256(bytes([seed])).hexdigest()[:16],
        state="complete",
        job_id=str(uuid.uuid4()),
        created_at=f"2026-01-01T00:00:0{seed}.000Z",
        order=f"2026-01-01T00:00:0{seed}.000Z",
        source_version=None,
        pipeline_version="1",
        source_sha256="00" * 32,
        source_bytes=1,
        duration_samples=pcm.shape[1],
        visibility="public",
        user_id="owner-1",
        title="Überfahrt",
        artist="Ann",
        tags={"album": "Ferry"},
        loudness=AssetLoudness(
            integrated_lufs=-9.8123,
            true_peak_dbtp=-0.1,
            range_lu=6.2,
            gain_db=-4.1877,
            target_lufs=-14.0,
            momentary_max_lufs=-5.123,
            short_term_max_lufs=-7.0,
            mode="limit",
            reason="limited",
            ceiling_dbtp=-1.0,
            limit_dbtp=-1.234,
            planned_lufs=-14.012,
            measured={"128k": CodedLoudness(integrated_lufs=-14.056, true_peak_dbtp=-1.098)},
        ),
        renditions=tuple(renditions),
        waveform=stored("waveform.dat", waveform, "application/octet-stream"),
        cover=stored("cover.png", cover, "image/png"),
        warnings=("truncated",),
    )
    return asset, files


def stored(name: str, data: bytes, media_type: str) -> StoredFile:
    return StoredFile(
        name=name, bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), media_type=media_type
    )


@dataclass
class Answered:
    """What an application sent in reply to raw ASGI messages."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False


class Server:
    """The application and its parts, and ways to ask it."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.app: Starlette = create_asgi(services)

    async def ask(
        self,
        path: str,
        method: str = "GET",
        *,
        base: str = "http://localhost:8082",
        peer: str = "127.0.0.1",
        **more: Any,
    ) -> Response:
        """A request from this machine, unless said otherwise."""
        transport = ASGITransport(app=self.app, client=(peer, 4711))
        async with AsyncClient(transport=transport, base_url=base) as client:
            return await client.request(method, path, **more)

    async def raw(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        answered: Answered | None = None,
    ) -> Answered:
        """A request whose messages come from `receive`, as a network would bring them."""
        answer = answered or Answered()

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {k.decode().lower(): v.decode() for k, v in message["headers"]}
            else:
                answer.body += message.get("body", b"")
                answer.ended = not message.get("more_body", False)

        plain, _, query = path.partition("?")
        given = {"host": "localhost:8082", **headers}
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1",
            "method": method, "path": plain, "raw_path": plain.encode(), "query_string": query.encode(),
            "root_path": "", "scheme": "http",
            "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
            "client": ("127.0.0.1", 4711), "server": ("127.0.0.1", 8082),
        }  # fmt: skip
        await self.app(scope, receive, send)
        return answer

    async def publish(
        self,
        asset: Asset | None = None,
        *,
        seed: int = 1,
        ladder: tuple[str, ...] = ("128k", "192k"),
        **changes: Any,
    ) -> Asset:
        """Store a track's files and make it live."""
        template, files = made(seed, ladder)
        live = replace(asset or template, **changes)
        prefix = version_prefix(live.track_id, live.version)
        for path, (data, media_type) in files.items():
            await self.services.storage.put(prefix + path, data, media_type=media_type)
        if live.state == "complete":
            await point_to(self.services.storage, self.services.state, live)
        else:
            key = f"tracks/{live.track_id}/asset.json"
            await self.services.storage.put(key, live.to_json(), media_type="application/json")
        self.services.assets.forget(live.track_id)
        return live

    def bearer(
        self, subject: str = "somebody", roles: tuple[str, ...] = (), track_id: str | None = None
    ) -> dict[str, str]:
        """The header of a listener with a valid token."""
        token = mint(self.services.settings, subject=subject, roles=roles, track_id=track_id, now=time.time())
        return {"Authorization": f"Bearer {token}"}

    def left_in(self, folder: Path) -> list[str]:
        return sorted(path.name for path in folder.iterdir())

    async def uploads(self) -> dict[str, bytes]:
        """What was uploaded and waits for its job, by name."""
        storage = self.services.storage
        return {
            key.removeprefix("uploads/"): await storage.get(key) for key in await storage.list("uploads/")
        }


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Callable[..., Server]]:
    """Starts a server with these settings; one DATA_DIR a test."""
    folders = Folders(tmp_path / "data")
    folders.make()
    database, owner = Database(folders.database), Owner(folders.owners)
    servers: list[Server] = []

    def begin(**values: Any) -> Server:
        settings = Settings(data_dir=folders.data_dir, **values)
        storage = MemoryStorage()
        cached = ByteCache(Renderings(storage), settings.segment_cache_bytes)
        server = Server(
            Services(
                settings=settings,
                folders=folders,
                storage=storage,
                assets=Assets(storage, cached),
                cache=cached,
                broker=LocalBroker(database, lease_s=15, owner=owner, now=time.time),
                outbox=LocalOutbox(database, owner=owner, now=time.time),
                state=LocalState(database),
                metrics=Metrics(),
                verifier=TokenVerifier(settings) if settings.verifies_tokens else None,
                draining=asyncio.Event(),
                stopping=asyncio.Event(),
                version="0.0.0-test",
            )
        )
        servers.append(server)
        return server

    yield begin
    await database.close()
    owner.close()


@pytest.fixture
async def server(start: Callable[..., Server]) -> Server:
    """A development server as it is without any setting: open to this machine."""
    return start()


@pytest.fixture
async def guarded(start: Callable[..., Server]) -> Server:
    """A server with secrets: tokens and the internal key are asked for."""
    return start(app_env="staging", jwt_secret=SECRET, internal_api_key=KEY)


@pytest.fixture
def key() -> dict[str, str]:
    """The header that opens the internal routes of `guarded`."""
    return {"X-Internal-API-Key": KEY}
