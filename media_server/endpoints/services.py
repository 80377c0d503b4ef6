"""What the handlers work with: the parts that the application joined, found again from a request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from media_server.auth.signing import UrlSigner, keys_of
from media_server.auth.tokens import TokenVerifier
from media_server.broker.base import Broker, Outbox
from media_server.endpoints.listeners import Listeners
from media_server.jobs.folders import Folders
from media_server.metrics import Metrics
from media_server.settings import Settings
from media_server.state.base import State
from media_server.state.buckets import Buckets, LocalBuckets
from media_server.storage.assets import Assets
from media_server.storage.base import Storage
from media_server.storage.cache import ByteCache


@dataclass(slots=True, kw_only=True)
class Services:
    """One server's parts.

    `verifier` is None where no token can be accepted, `signer` where nothing can be signed. While `draining`
    is set the server is not ready; `stopping` ends what would go on for ever. `buckets` count what persons
    ask for, at all servers together where they share a Redis. `now` is the wall clock in Unix
    seconds. `uploads_running` counts the uploads that are being received. Whoever made this closes
    `listeners`.
    """

    settings: Settings
    folders: Folders
    storage: Storage
    assets: Assets
    cache: ByteCache
    broker: Broker
    outbox: Outbox
    state: State
    metrics: Metrics
    verifier: TokenVerifier | None
    draining: asyncio.Event
    stopping: asyncio.Event
    version: str
    buckets: Buckets = field(default_factory=LocalBuckets)
    now: Callable[[], float] = time.time
    signer: UrlSigner | None = field(init=False)
    listeners: Listeners = field(init=False)
    uploads_running: int = field(init=False, default=0)
    started_at: float = field(init=False, default_factory=time.monotonic)

    def __post_init__(self) -> None:
        keys = keys_of(self.settings)
        self.signer = UrlSigner(keys) if keys else None
        self.listeners = Listeners(self.settings, self.metrics, self.stopping)


def services_of(request: HTTPConnection) -> Services:
    """The parts of the server that received `request`, which may be a WebSocket."""
    services = request.app.state.services
    assert isinstance(services, Services)
    return services
