"""Can this server do its work here? Each part is used once, for real, and says what it met.

Owns: the checks and their order. A check leaves nothing behind; none of them ends the others.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import httpx2

from media_server import adapters
from media_server.broker.owner import Owner
from media_server.errors import ServiceError, Unavailable
from media_server.jobs.antivirus import ping
from media_server.jobs.cage import confinement
from media_server.jobs.folders import Folders
from media_server.settings import Settings

NO_TRACK = "00000000-0000-0000-0000-000000000000"
CHECK_WITHIN_S = 15.0
CALL_TIMEOUT_S = 10.0
NOT_IMPLEMENTED = 501
WRITTEN = b"written by media-server doctor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check met; `took_s` seconds of the wall clock."""

    name: str
    well: bool
    detail: str
    took_s: float


Check = Callable[[], Awaitable[str]]


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Check what the settings choose, one part after the other."""
    folders = Folders(settings.data_dir)
    try:
        await asyncio.to_thread(folders.make)
    except OSError as error:
        yield Finding(name="data", well=False, detail=f"DATA_DIR: {error.strerror}", took_s=0.0)
        return
    owner = Owner(folders.owners)
    try:
        async with adapters.opened(settings, folders, owner) as opened:
            for name, check in _checks(settings, opened):
                yield await _find(name, check)
    finally:
        owner.close()


def _checks(settings: Settings, opened: adapters.Adapters) -> tuple[tuple[str, Check], ...]:
    async def data() -> str:
        return f"DATA_DIR is {settings.data_dir.resolve()}"

    async def cage() -> str:
        return f"children are confined by {confinement()}"

    async def storage() -> str:
        key = f"doctor/{uuid.uuid4()}"
        await opened.storage.put(key, WRITTEN, media_type="text/plain")
        try:
            read = await opened.storage.get(key)
        finally:
            await opened.storage.delete(key)
        if read != WRITTEN:
            raise Unavailable("storage", "what was read back is not what was written")
        where = f"the bucket {settings.s3_bucket}" if settings.s3_bucket else "files below DATA_DIR"
        return f"{where}: written, read back, deleted"

    async def state() -> str:
        fence = await opened.state.acquire("doctor", ttl_s=5.0)
        if fence is not None:
            await opened.state.release("doctor", fence)
        await opened.state.check()
        return f"{'Redis' if settings.redis_url else 'embedded'}: written, leased and given back"

    async def broker() -> str:
        await opened.broker.check()
        waiting = (await opened.broker.depth()).waiting
        if not settings.rabbitmq_url:
            return f"embedded: {waiting} jobs wait"
        names = f"exchange {settings.rabbitmq_exchange}, queue {settings.rabbitmq_queue}"
        return f"RabbitMQ, {names}: declared; {waiting} jobs wait"

    async def antivirus() -> str:
        if settings.clamav_address is None:
            return "sources are not scanned: CLAMAV_ADDRESS is not set"
        await ping(settings.clamav_address)
        return f"clamd answers at {settings.clamav_address}"

    async def companion() -> str:
        return await _call(settings)

    return (
        ("data", data),
        ("cage", cage),
        ("storage", storage),
        ("state", state),
        ("broker", broker),
        ("antivirus", antivirus),
        ("companion", companion),
    )


async def _find(name: str, check: Check) -> Finding:
    began = time.monotonic()
    try:
        async with asyncio.timeout(CHECK_WITHIN_S):
            detail, well = await check(), True
    except TimeoutError:
        detail, well = f"no answer within {CHECK_WITHIN_S:g} s", False
    except ServiceError as error:
        detail, well = f"{error.message} ({error.code})", False
    except Exception as error:  # noqa: BLE001 - whatever it is, the other parts are looked at too
        detail, well = f"it fails with {type(error).__name__}", False
    return Finding(name=name, well=well, detail=detail, took_s=time.monotonic() - began)


async def _call(settings: Settings) -> str:
    """Ask for the callback's path of a track that cannot be: nothing there is changed by it."""
    url = settings.backend_api_url + settings.stream_ready_path.format(track_id=NO_TRACK)
    key = settings.internal_api_key
    headers = {settings.internal_api_key_header: key.get_secret_value()} if key else {}
    try:
        async with httpx2.AsyncClient(timeout=CALL_TIMEOUT_S, trust_env=False) as client:
            status = (await client.head(url, headers=headers)).status_code
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise Unavailable("companion", f"{settings.backend_api_url}: {type(error).__name__}") from None
    if status in {401, 403}:
        raise Unavailable("companion", f"it refuses our key: status {status}")
    if status >= 500 and status != NOT_IMPLEMENTED:  # which says no more than that HEAD is not its method
        raise Unavailable("companion", f"it answers with status {status}")
    return f"{settings.backend_api_url} answers (status {status} for a track that is none)"
