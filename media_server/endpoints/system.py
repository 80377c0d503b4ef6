"""How the server is: alive, ready, in numbers.

Owns: what readiness means. Reasons are told as codes, never as paths or addresses: these routes are open.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog
from starlette.requests import Request
from starlette.responses import Response

from media_server.endpoints.answer import JSON, json_answer
from media_server.endpoints.conditional import Representation, respond, tag_of
from media_server.endpoints.operation import Answer, Caller, Operation
from media_server.endpoints.services import Services, services_of
from media_server.errors import Unavailable
from media_server.jobs import antivirus
from media_server.jobs.cage import confinement
from media_server.jobs.job import JobState
from media_server.metrics import CONTENT_TYPE
from media_server.settings import Settings

CHECK_S: Final = 2.0
"""A dependency that takes longer to answer counts as down."""

MIN_FREE_BYTES: Final = 268_435_456
"""Below it no upload can be taken."""

RETRY_AFTER_S: Final = "5"
MAX_RUNNING: Final = 1000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why the server is not ready."""

    check: str
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether requests should be sent here, and if not, why.

    `degraded` is what does not work while listening does: no job comes or goes without the broker, and none
    is seen without the state. To turn every listener away for that would make a small outage a whole one.
    """

    ready: bool
    reasons: tuple[Reason, ...]
    degraded: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStatus:
    waiting: int
    oldest_seconds: float | None
    running: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbacksStatus:
    pending: int
    parked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStatus:
    hits: int
    misses: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """This process in numbers; `confinement` says what holds a job's process."""

    service: str
    version: str
    environment: str
    uptime_seconds: float
    draining: bool
    jobs: QueueStatus
    callbacks: CallbacksStatus
    segment_cache: CacheStatus
    uploads_running: int
    confinement: str


async def alive(_: Request) -> Response:
    """GET /health, /healthz"""
    return json_answer({"status": "ok"})


async def ready(request: Request) -> Response:
    """GET /readyz"""
    services = services_of(request)
    draining = [Reason(check="lifecycle", code="draining")] if services.draining.is_set() else []
    found = await asyncio.gather(*(_check(name, check(services)) for name, check in CHECKS.items()))
    met = [reason for reason in found if reason is not None]
    borne = _borne_without(services.settings)
    reasons = (*draining, *(reason for reason in met if reason.check not in borne))
    degraded = tuple(reason for reason in met if reason.check in borne)
    answer = Readiness(ready=not reasons, reasons=reasons, degraded=degraded)
    return json_answer(answer, 503, {"Retry-After": RETRY_AFTER_S}) if reasons else json_answer(answer)


def _borne_without(settings: Settings) -> frozenset[str]:
    """The checks whose failure listeners do not feel; the embedded ones are this machine's own disk."""
    elsewhere = {
        "broker": settings.rabbitmq_url,
        "state": settings.redis_url,
        "antivirus": settings.clamav_address,
    }
    return frozenset(name for name, url in elsewhere.items() if url is not None)


async def _check(name: str, checking: Awaitable[object]) -> Reason | None:
    try:
        async with asyncio.timeout(CHECK_S):
            await checking
    except TimeoutError:
        return Reason(check=name, code="no_answer")
    except Unavailable as error:
        return Reason(check=name, code=error.code)
    except Exception as error:  # whatever is wrong with it, it is not ready
        log.warning("ready.check_failed", check=name, exc_info=error)
        return Reason(check=name, code="failed")
    return None


async def _disk(services: Services) -> None:
    usage = await asyncio.to_thread(shutil.disk_usage, services.folders.data_dir)
    if usage.free < MIN_FREE_BYTES:
        raise Unavailable("disk_full", f"DATA_DIR has {usage.free} bytes free, {MIN_FREE_BYTES} are needed")


async def _antivirus(services: Services) -> None:
    address = services.settings.clamav_address
    if address is not None:
        await antivirus.ping(address)


CHECKS: Final[dict[str, Callable[[Services], Awaitable[object]]]] = {
    "storage": lambda services: services.storage.check(),
    "state": lambda services: services.state.check(),
    "broker": lambda services: services.broker.check(),
    "disk": _disk,
    "antivirus": _antivirus,
}


async def status(request: Request) -> Response:
    """GET /status"""
    services = services_of(request)
    depth, callbacks = await services.broker.depth(), await services.outbox.counts()
    running = await services.state.list(status=JobState.RUNNING, limit=MAX_RUNNING)
    cache = services.cache
    return json_answer(
        Status(
            service="stream-server",
            version=services.version,
            environment=services.settings.app_env.value,
            uptime_seconds=round(time.monotonic() - services.started_at, 3),
            draining=services.draining.is_set(),
            jobs=QueueStatus(
                waiting=depth.waiting, oldest_seconds=depth.oldest_s, running=len(running.items)
            ),
            callbacks=CallbacksStatus(pending=callbacks.pending, parked=callbacks.parked),
            segment_cache=CacheStatus(hits=cache.hits, misses=cache.misses, bytes=cache.size_bytes),
            uploads_running=services.uploads_running,
            confinement=confinement(),
        )
    )


async def metrics(request: Request) -> Response:
    """GET /metrics"""
    services = services_of(request)
    try:
        depth = await services.broker.depth()
        services.metrics.queue_measured(waiting=depth.waiting, oldest_s=depth.oldest_s)
        services.metrics.callbacks_parked((await services.outbox.counts()).parked)
    except Unavailable as error:  # all else can be told, and is asked for just now
        log.warning("metrics.queue_not_measured", code=error.code, reason=error.message)
    services.metrics.cache_measured(services.cache.size_bytes)
    return Response(
        services.metrics.render(), headers={"Cache-Control": "no-store", "Content-Type": CONTENT_TYPE}
    )


async def openapi(request: Request) -> Response:
    """GET /openapi.json"""
    body: bytes = await asyncio.to_thread(request.app.state.openapi)
    return respond(
        request,
        Representation(
            body=body, media_type=JSON, tag=tag_of(body), cache_control="no-cache", compressible=True
        ),
    )


def _operation(
    path: str, handler: Any, summary: str, body: Any = None, media_type: str = JSON, not_ready: Any = None
) -> Operation:
    answers = [Answer(about=summary, media_type=media_type, body=body)]
    if not_ready is not None:
        answers.append(Answer(status=503, about="Not ready, and why", media_type=JSON, body=not_ready))
    return Operation(path=path, handler=handler, summary=summary, caller=Caller.OPEN, answers=tuple(answers))


OPERATIONS: Final = (
    _operation("/health", alive, "Whether the process lives"),
    _operation("/healthz", alive, "Whether the process lives"),
    _operation("/readyz", ready, "Whether requests should be sent here", Readiness, not_ready=Readiness),
    _operation("/status", status, "This process in numbers", Status),
    _operation("/metrics", metrics, "Metrics for Prometheus", media_type="text/plain"),
    _operation("/openapi.json", openapi, "This description"),
)
