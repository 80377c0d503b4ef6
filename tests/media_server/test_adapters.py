"""Which adapter stands behind which port, and that all of them are closed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.rabbitmq import PrivateRabbitMQ
from servers.redis import PrivateRedis
from servers.s3 import PrivateS3

from media_server.adapters import opened
from media_server.broker.local import LocalBroker
from media_server.broker.outbox import LocalOutbox
from media_server.broker.owner import Owner
from media_server.broker.rabbit import RabbitBroker
from media_server.broker.rabbit_outbox import RabbitOutbox
from media_server.jobs.folders import Folders
from media_server.settings import Settings
from media_server.state.buckets import LocalBuckets
from media_server.state.local import LocalState
from media_server.state.redis import RedisState
from media_server.state.redis_buckets import RedisBuckets
from media_server.storage.local import LocalStorage
from media_server.storage.s3 import S3Storage


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    folders = Folders(tmp_path / "data")
    folders.make()
    return folders


@pytest.fixture
def owner(folders: Folders) -> Iterator[Owner]:
    owner = Owner(folders.owners)
    yield owner
    owner.close()


def settings_of(folders: Folders, **values: Any) -> Settings:
    return Settings(data_dir=folders.data_dir, _env_file=None, **values)


async def test_with_nothing_set_all_is_embedded(folders: Folders, owner: Owner) -> None:
    """Contract, Embedded default."""
    async with opened(settings_of(folders), folders, owner) as adapters:
        assert isinstance(adapters.storage, LocalStorage)
        assert isinstance(adapters.state, LocalState)
        assert isinstance(adapters.buckets, LocalBuckets)
        assert isinstance(adapters.broker, LocalBroker)
        assert isinstance(adapters.outbox, LocalOutbox)
        assert (adapters.sources, adapters.connection) == (None, None)


async def test_redis_can_be_switched_on_by_itself(folders: Folders, owner: Owner) -> None:
    """Contract: each can be switched on by itself."""
    with PrivateRedis() as redis:
        async with opened(settings_of(folders, redis_url=redis.url), folders, owner) as adapters:
            assert isinstance(adapters.state, RedisState)
            assert isinstance(adapters.buckets, RedisBuckets)
            await adapters.state.check()
            assert isinstance(adapters.broker, LocalBroker)
            assert isinstance(adapters.storage, LocalStorage)


async def test_rabbitmq_can_be_switched_on_by_itself(folders: Folders, owner: Owner) -> None:
    with PrivateRabbitMQ() as rabbitmq:
        async with opened(settings_of(folders, rabbitmq_url=rabbitmq.url), folders, owner) as adapters:
            assert isinstance(adapters.broker, RabbitBroker)
            assert isinstance(adapters.outbox, RabbitOutbox)
            await adapters.broker.check()
            assert isinstance(adapters.state, LocalState)
            assert isinstance(adapters.storage, LocalStorage)


async def test_s3_can_be_switched_on_by_itself(folders: Folders, owner: Owner) -> None:
    with PrivateS3() as s3:
        s3.make_bucket("tracks")
        s3.make_bucket("originals")
        settings = settings_of(
            folders,
            s3_endpoint=s3.url,
            s3_bucket="tracks",
            s3_access_key=s3.access_key,
            s3_secret_key=s3.secret_key,
            source_buckets="originals",
        )
        async with opened(settings, folders, owner) as adapters:
            assert isinstance(adapters.storage, S3Storage)
            await adapters.storage.check()
            assert adapters.sources is not None
            assert isinstance(adapters.broker, LocalBroker)


async def test_services_that_cannot_be_reached_keep_nothing_from_starting(
    folders: Folders, owner: Owner
) -> None:
    """Contract: an unreachable service is no reason to refuse to start."""
    settings = settings_of(
        folders,
        redis_url="redis://127.0.0.1:1",
        rabbitmq_url="amqp://127.0.0.1:1",
        s3_endpoint="http://127.0.0.1:1",
        s3_bucket="tracks",
        s3_access_key="key",
        s3_secret_key="secret",
    )
    async with asyncio.timeout(20), opened(settings, folders, owner) as adapters:
        assert isinstance(adapters.broker, RabbitBroker)


def test_whoever_uses_no_service_does_not_load_its_library() -> None:
    """Most of a second of every start and of every command."""
    program = "import sys, media_server.cli; sys.exit(bool({'boto3', 'aio_pika', 'redis'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0


def test_the_process_that_children_are_forked_from_loads_no_server() -> None:
    """A second of every start, and memory that each child would share."""
    loads = "import media_server.__main__, media_server.jobs.child"
    program = f"import sys; {loads}; sys.exit('media_server.cli' in sys.modules or 'aiortc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0
