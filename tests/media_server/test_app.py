"""The parts join over one folder and come down cleanly; what killed processes left is swept.

Two servers on one RabbitMQ: a change that one of them takes in is seen on both.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import SecretStr
from servers.queues import Queues, queues
from servers.rabbitmq import NotInstalledError, shared_rabbitmq
from structlog.testing import capture_logs

from hls.asset import Asset, AssetLoudness
from media_server.app import Parts, announce, assembled
from media_server.broker.owner import Owner
from media_server.broker.rabbit_topology import Topology
from media_server.errors import NotFound
from media_server.jobs.folders import Folders
from media_server.jobs.publish import point_to
from media_server.settings import Settings
from media_server.storage.assets import Assets, version_prefix

TAKES_EFFECT_WITHIN_S = 5.0
ORDER = "2026-01-01T00:00:00.000Z"

PUBLIC_PEM = (
    rsa.generate_private_key(public_exponent=65537, key_size=2048)
    .public_key()
    .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    .decode()
)


def settings_of(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", _env_file=None)


async def test_it_can_be_opened_again_and_again(tmp_path: Path) -> None:
    for _ in range(2):
        async with assembled(settings_of(tmp_path)) as parts:
            await parts.services.storage.check()
    assert not list(Folders(tmp_path / "data").owners.iterdir())


async def test_a_start_sweeps_what_a_killed_process_left(tmp_path: Path) -> None:
    """F1: temporary files are removed on the next start."""
    folders = Folders(tmp_path / "data")
    folders.make()
    (folders.incoming / "half.part").write_bytes(b"x")
    (folders.attempts / "job.1").mkdir()
    (folders.attempts / "job.1" / "src.bin").write_bytes(b"x")
    (folders.owners / "dead.lock").touch()
    async with assembled(settings_of(tmp_path)):
        assert not list(folders.incoming.iterdir())
        assert not list(folders.attempts.iterdir())
        assert len(list(folders.owners.iterdir())) == 1


async def test_nothing_is_swept_while_another_process_works_there(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "data")
    folders.make()
    (folders.incoming / "arriving.part").write_bytes(b"x")
    other = Owner(folders.owners)
    async with assembled(settings_of(tmp_path)):
        assert (folders.incoming / "arriving.part").exists()
    other.close()


async def test_tokens_are_verified_with_whichever_key_is_set(tmp_path: Path) -> None:
    """contract, tokens: a secret, public keys, or the address where the issuer publishes its keys."""
    for number, (name, value) in enumerate(
        {"jwt_secret": "x" * 32, "jwt_public_key": PUBLIC_PEM, "jwt_jwks_url": "http://127.0.0.1:9/"}.items()
    ):
        settings = Settings(data_dir=tmp_path / str(number), **{name: value}, _env_file=None)
        async with assembled(settings) as parts:
            assert parts.services.verifier is not None
            assert (parts.keys is not None) == (name == "jwt_jwks_url")
    async with assembled(settings_of(tmp_path)) as parts:
        assert (parts.services.verifier, parts.keys) == (None, None)


@pytest.mark.parametrize(
    ("values", "warned"),
    [
        ({}, ["server.playback_open"]),
        ({"app_env": "staging"}, ["server.urls_unsigned"]),
        ({"jwt_public_key": PUBLIC_PEM}, ["server.urls_unsigned"]),
        ({"jwt_public_key": PUBLIC_PEM, "url_signing_keys": f"k1:{'x' * 32}"}, []),
        ({"jwt_secret": "x" * 32}, []),
    ],
)
def test_the_start_tells_what_tokens_do_not_protect_or_open(
    values: dict[str, str], warned: list[str]
) -> None:
    """contract: open playback is said at the start; so is that nothing can be signed."""
    with capture_logs() as lines:
        announce(Settings(**values, _env_file=None))
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == warned


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
async def servers(tmp_path: Path, rabbit: Queues) -> AsyncIterator[list[Parts]]:
    """Two servers over one storage, each with its memory, taking in changes."""
    settings = settings_of(tmp_path).model_copy(
        update={
            "rabbitmq_url": SecretStr(rabbit.url),
            "rabbitmq_exchange": rabbit.topology.exchange,
            "rabbitmq_queue": rabbit.topology.queue,
        }
    )
    stop = asyncio.Event()
    async with AsyncExitStack() as closing:
        both = [await closing.enter_async_context(assembled(settings)) for _ in range(2)]
        async with asyncio.TaskGroup() as tasks:
            for parts in both:
                assert parts.catalogue is not None
                tasks.create_task(parts.catalogue.run(stop))
            yield both
            stop.set()


def track(**changes: object) -> Asset:
    fields: dict[str, object] = {
        "track_id": str(uuid.uuid4()),
        "version": "v1",
        "state": "complete",
        "job_id": str(uuid.uuid4()),
        "created_at": ORDER,
        "order": ORDER,
        "source_version": None,
        "pipeline_version": "1",
        "source_sha256": "0" * 64,
        "source_bytes": 1,
        "duration_samples": 48_000,
        "visibility": "public",
        "user_id": "7",
        "title": None,
        "artist": None,
        "tags": {},
        "loudness": AssetLoudness(
            integrated_lufs=None, true_peak_dbtp=None, range_lu=None, gain_db=0.0, target_lufs=-14.0
        ),
        "renditions": (),
        "waveform": None,
        "cover": None,
        "warnings": (),
    }
    return Asset(**{**fields, **changes})  # type: ignore[arg-type]


async def seen_on(servers: list[Parts], track_id: str, holds: Callable[[Asset | None], bool]) -> None:
    """Until this holds of the track on every server, as a listener's request finds it; the contract's 5 s."""
    async with asyncio.timeout(TAKES_EFFECT_WITHIN_S):
        for parts in servers:
            while not holds(await live(parts.services.assets, track_id)):  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.02)


async def live(assets: Assets, track_id: str) -> Asset | None:
    try:
        return await assets.asset(track_id)
    except NotFound:
        return None


async def test_a_change_takes_effect_on_every_server_whichever_of_them_took_it_in(
    servers: list[Parts], rabbit: Queues
) -> None:
    """Contract: `track.updated` takes effect on every server within 5 s; many, so that both take in some."""
    services = servers[0].services
    tracks = [track() for _ in range(6)]
    for asset in tracks:
        await point_to(services.storage, services.state, asset)
        for parts in servers:
            assert await live(parts.services.assets, asset.track_id) == asset
    for asset in tracks:
        change = {"track_id": asset.track_id, "visibility": "private"}
        for _ in range(2):  # at least once
            await rabbit.publish(json.dumps(change).encode(), "track.updated")
    for asset in tracks:
        await seen_on(servers, asset.track_id, lambda seen: seen is not None and seen.visibility == "private")
    listed = await servers[1].services.state.tracks()
    assert {summary.visibility for summary in listed.items} == {"private"}


@pytest.mark.parametrize("event", ["track.deleted", "user.deleted"])
async def test_a_deletion_takes_effect_on_every_server(
    servers: list[Parts], rabbit: Queues, event: str
) -> None:
    """Contract: everything of it goes; a server that has its files in memory does not find them any more."""
    services, asset = servers[0].services, track()
    key = f"{version_prefix(asset.track_id, asset.version)}waveform.dat"
    await services.storage.put(key, b"wave", media_type="application/octet-stream")
    await point_to(services.storage, services.state, asset)
    for parts in servers:
        assert await live(parts.services.assets, asset.track_id) == asset
        assert await parts.services.assets.file(asset.track_id, asset.version, "waveform.dat") == b"wave"
    gone = {"track_id": asset.track_id, "user_id": "7"}
    await rabbit.publish(json.dumps(gone).encode(), event)
    await seen_on(servers, asset.track_id, lambda seen: seen is None)
    assert (await services.state.tracks()).items == ()
    async with asyncio.timeout(TAKES_EFFECT_WITHIN_S):
        while await services.storage.list(f"tracks/{asset.track_id}/"):  # noqa: ASYNC110 - a storage tells nobody
            await asyncio.sleep(0.02)
