"""The application: the parts of one process, joined over the adapters that the settings choose.

`assembled` builds them and takes them down again; `media_server.lifecycle` says when each runs and stops.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from media_server import adapters
from media_server.auth.jwks import KeyRefresh, checked_url
from media_server.auth.keys import KeySet
from media_server.auth.signing import keys_of
from media_server.auth.tokens import TokenVerifier
from media_server.broker.owner import Owner
from media_server.endpoints.services import Services
from media_server.jobs.cage import confinement
from media_server.jobs.callback import CallbackSender
from media_server.jobs.catalogue import Catalogue
from media_server.jobs.folders import Folders
from media_server.jobs.handler import Handler
from media_server.jobs.maker import Maker
from media_server.jobs.regainer import Regainer
from media_server.jobs.worker import Worker
from media_server.metrics import Metrics
from media_server.settings import Settings
from media_server.storage.assets import Assets
from media_server.storage.base import Storage
from media_server.storage.cache import ByteCache
from media_server.storage.local import LocalStorage
from media_server.storage.renderings import Renderings

if TYPE_CHECKING:
    from media_server.broker.rabbit_catalogue import CatalogueConsumer

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that runs, joined.

    `catalogue` is None where no events about tracks can come, `keys` where no issuer publishes any.
    """

    services: Services
    worker: Worker
    sender: CallbackSender
    catalogue: CatalogueConsumer | None
    keys: KeyRefresh | None


@asynccontextmanager
async def assembled(settings: Settings) -> AsyncIterator[Parts]:
    """Open the adapters and join the parts; close them at the end."""
    folders = Folders(settings.data_dir)
    folders.make()
    owner = Owner(folders.owners)
    try:
        async with adapters.opened(settings, folders, owner) as opened:
            await asyncio.to_thread(_sweep, folders, opened.storage, owner)
            parts = _joined(settings, folders, opened)
            try:
                yield parts
            finally:
                await parts.services.listeners.close()
    finally:
        owner.close()


def _joined(settings: Settings, folders: Folders, opened: adapters.Adapters) -> Parts:
    metrics = Metrics()
    cache = ByteCache(Renderings(opened.storage), settings.segment_cache_bytes)
    assets = Assets(opened.storage, cache)
    handler = Handler(
        settings=settings,
        folders=folders,
        storage=opened.storage,
        state=opened.state,
        broker=opened.broker,
        metrics=metrics,
        published=assets.forget,
        sources=opened.sources,
    )
    maker = Maker(
        settings=settings,
        folders=folders,
        storage=opened.storage,
        state=opened.state,
        published=assets.forget,
        sources=opened.sources,
    )
    regainer = Regainer(
        settings=settings,
        folders=folders,
        storage=opened.storage,
        state=opened.state,
        broker=opened.broker,
        metrics=metrics,
        published=assets.forget,
        sources=opened.sources,
    )
    keys, keys_url = KeySet.of(settings), checked_url(settings)
    services = Services(
        settings=settings,
        folders=folders,
        storage=opened.storage,
        assets=assets,
        cache=cache,
        broker=opened.broker,
        outbox=opened.outbox,
        state=opened.state,
        buckets=opened.buckets,
        metrics=metrics,
        verifier=TokenVerifier(settings, keys=keys) if settings.verifies_tokens else None,
        draining=asyncio.Event(),
        stopping=asyncio.Event(),
        version=importlib.metadata.version("veza-media-server"),
    )

    catalogue = None
    if opened.connection is not None:
        from media_server.broker.rabbit_catalogue import CatalogueConsumer

        changes = Catalogue(storage=opened.storage, state=opened.state, broker=opened.broker, assets=assets)
        catalogue = CatalogueConsumer(opened.connection, changes.apply, time.time)
    return Parts(
        services=services,
        worker=Worker(opened.broker, handler, metrics, settings.jobs_concurrent, maker, regainer),
        sender=CallbackSender(opened.outbox, settings, metrics, time.time),
        catalogue=catalogue,
        keys=KeyRefresh(keys_url, keys) if keys_url is not None else None,
    )


def announce(settings: Settings) -> None:
    """What an operator must know of how this server runs."""
    log.info("server.confinement", children=confinement())
    if settings.playback_is_open:
        log.warning(
            "server.playback_open",
            reason="development without JWT_SECRET, JWT_PUBLIC_KEY and JWT_JWKS_URL:"
            " anyone who reaches this port may listen",
        )
    elif not keys_of(settings):
        log.warning(
            "server.urls_unsigned",
            reason="URL_SIGNING_KEYS and JWT_SECRET are not set:"
            " of tracks that are not for everyone each segment needs a token",
        )


def _sweep(folders: Folders, storage: Storage, owner: Owner) -> None:
    """Remove what killed processes left, unless another process is at work in the same folder."""
    owner.sweep()
    if any(path.stem != owner.name for path in folders.owners.glob("*.lock")):
        return
    if isinstance(storage, LocalStorage):
        storage.sweep()
    for leftover in (*folders.incoming.iterdir(), *folders.attempts.iterdir()):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
