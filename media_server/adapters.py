"""Which adapter stands behind each port: chosen by the settings, opened and closed here.

Embedded by default: one SQLite file and a folder of tracks. RABBITMQ_URL, REDIS_URL and S3_BUCKET each put
another adapter behind one port; the others stay as they are. The libraries of these take most of a second to
import: whoever does not use one does not load it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from media_server.broker.base import Broker, Outbox
from media_server.broker.local import LocalBroker
from media_server.broker.outbox import LocalOutbox
from media_server.broker.owner import Owner
from media_server.database import Database
from media_server.jobs.folders import Folders
from media_server.jobs.intake import work_of
from media_server.jobs.lease import LEASE_S
from media_server.settings import Settings
from media_server.state.base import State
from media_server.state.buckets import Buckets, LocalBuckets
from media_server.state.local import LocalState
from media_server.storage.base import Storage
from media_server.storage.local import LocalStorage

if TYPE_CHECKING:
    from media_server.broker.rabbit import RabbitBroker
    from media_server.broker.rabbit_connection import RabbitConnection
    from media_server.broker.rabbit_outbox import RabbitOutbox
    from media_server.storage.sources import S3Sources


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapters:
    """What stands behind the ports. `sources` are the buckets of others; None where none may be read.

    `connection` is RabbitMQ's, None where the queue is the embedded one.
    """

    storage: Storage
    state: State
    buckets: Buckets
    broker: Broker
    outbox: Outbox
    sources: S3Sources | None
    connection: RabbitConnection | None


@asynccontextmanager
async def opened(settings: Settings, folders: Folders, owner: Owner) -> AsyncIterator[Adapters]:
    """The adapters that the settings choose, for as long as the block lasts."""
    async with AsyncExitStack() as closing:
        database = Database(folders.database)
        closing.push_async_callback(database.close)
        storage, sources = _storage(settings, folders, closing)
        state = _state(settings, database, closing)
        buckets = _buckets(settings, closing)
        connection = None
        broker: Broker = LocalBroker(database, lease_s=LEASE_S, owner=owner, now=time.time)
        outbox: Outbox = LocalOutbox(database, owner=owner, now=time.time)
        if settings.rabbitmq_url:
            connection, broker, outbox = await _rabbit(settings, state, closing)
        yield Adapters(
            storage=storage,
            state=state,
            buckets=buckets,
            broker=broker,
            outbox=outbox,
            sources=sources,
            connection=connection,
        )


@asynccontextmanager
async def opened_storage(settings: Settings) -> AsyncIterator[Storage]:
    """The storage alone, for as long as the block lasts; nothing else is opened, and nothing made."""
    async with AsyncExitStack() as closing:
        yield _storage(settings, Folders(settings.data_dir), closing)[0]


def _storage(
    settings: Settings, folders: Folders, closing: AsyncExitStack
) -> tuple[Storage, S3Sources | None]:
    if not (settings.s3_bucket or settings.source_buckets):
        return LocalStorage(folders.storage), None
    from media_server.storage.s3 import S3Storage
    from media_server.storage.s3_client import S3Client
    from media_server.storage.sources import S3Sources

    client = S3Client(settings)
    closing.push_async_callback(asyncio.to_thread, client.close)
    sources = S3Sources(client, settings.source_buckets) if settings.source_buckets else None
    storage = S3Storage(client, settings.s3_bucket) if settings.s3_bucket else LocalStorage(folders.storage)
    return storage, sources


def _state(settings: Settings, database: Database, closing: AsyncExitStack) -> State:
    if settings.redis_url is None:
        return LocalState(database)
    from media_server.state.redis import RedisState

    state = RedisState(settings.redis_url.get_secret_value())
    closing.push_async_callback(state.close)
    return state


def _buckets(settings: Settings, closing: AsyncExitStack) -> Buckets:
    if settings.redis_url is None:
        return LocalBuckets()
    from media_server.state.redis_buckets import RedisBuckets

    buckets = RedisBuckets(settings.redis_url.get_secret_value())
    closing.push_async_callback(buckets.close)
    return buckets


async def _rabbit(
    settings: Settings, state: State, closing: AsyncExitStack
) -> tuple[RabbitConnection, RabbitBroker, RabbitOutbox]:
    assert settings.rabbitmq_url is not None
    from media_server.broker.rabbit import RabbitBroker
    from media_server.broker.rabbit_connection import RabbitConnection
    from media_server.broker.rabbit_outbox import RabbitOutbox
    from media_server.broker.rabbit_topology import Topology

    topology = Topology(exchange=settings.rabbitmq_exchange, queue=settings.rabbitmq_queue)
    connection = RabbitConnection(
        settings.rabbitmq_url.get_secret_value(), topology, passive=settings.rabbitmq_declare == "passive"
    )
    outbox = RabbitOutbox(connection, locks=state, now=time.time)
    broker = RabbitBroker(
        connection,
        put_callback=outbox.put,
        locks=state,
        read=work_of,
        lease_s=LEASE_S,
        concurrent=settings.jobs_concurrent,
        now=time.time,
    )
    await connection.start()
    for part in (connection, outbox, broker):
        closing.push_async_callback(part.close)
    return connection, broker, outbox
