"""One wish for a file of a published track, from its receipt to its acknowledgement.

As a job, each step may be the last one before a kill -9; unlike one, nobody is called back: who wants the
file asks again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from pydantic import ValidationError

from media_server.broker.base import Delivery
from media_server.errors import Conflict
from media_server.jobs.addition import Additions
from media_server.jobs.fate import MAX_ATTEMPTS, Fail, Retry, decide, given_up
from media_server.jobs.folders import Folders
from media_server.jobs.job import Job, JobState, Stage, now_rfc3339
from media_server.jobs.lease import LeaseLost, while_leased
from media_server.jobs.making import Making
from media_server.settings import Settings
from media_server.state.base import State
from media_server.storage.base import Storage

if TYPE_CHECKING:
    from media_server.storage.sources import S3Sources

log = structlog.get_logger()


class Maker:
    """Turns the deliveries of Makings into files."""

    def __init__(
        self,
        *,
        settings: Settings,
        folders: Folders,
        storage: Storage,
        state: State,
        published: Callable[[str], None],
        sources: S3Sources | None = None,
    ) -> None:
        self._folders = folders
        self._state = state
        self._additions = Additions(
            settings=settings, storage=storage, state=state, published=published, sources=sources
        )

    async def handle(self, delivery: Delivery) -> None:
        """See the delivery through to its end; on cancellation it is released, the attempt not counted."""
        try:
            making = Making.model_validate_json(delivery.body)
        except ValidationError as error:
            log.error("file.parked", job_id=delivery.job_id, code="bad_job", exc_info=error)
            await delivery.park("bad_job")
            return
        folder = self._folders.attempt(delivery.job_id, delivery.fence)
        job = await self._started(delivery)
        try:
            await self._attempt(delivery, making, folder, job)
        except asyncio.CancelledError:
            with contextlib.suppress(Conflict):
                await asyncio.shield(self._release(delivery, job))
            raise
        except LeaseLost:
            log.warning("file.lease_lost", job_id=delivery.job_id, attempt=delivery.attempt)
        finally:
            await asyncio.to_thread(self._folders.remove_attempt, folder)

    async def _started(self, delivery: Delivery) -> Job:
        known = await self._state.get(delivery.job_id)
        now = now_rfc3339()
        if known is None or known.ended:
            created_at = known.created_at if known else now
            known = Job(job_id=delivery.job_id, track_id=delivery.track_id, created_at=created_at)
        job = known.to(
            JobState.RUNNING, stage=Stage.ENCODE, attempt=delivery.attempt, started_at=now, error=None
        )
        await self._state.save(job)
        return job

    async def _attempt(self, delivery: Delivery, making: Making, folder: Path, job: Job) -> None:
        try:
            if delivery.attempt > MAX_ATTEMPTS:
                return await self._fail(delivery, job, given_up(delivery.attempt))
            wanted = self._additions.add(making.track_id, making.version, making.output, folder)
            await while_leased(delivery, wanted)
        except LeaseLost:
            raise
        except Exception as error:
            verdict = decide(error, delivery.attempt)
            if isinstance(verdict, Retry):
                log.warning("file.retry", job_id=job.job_id, code=verdict.reason, exc_info=error)
                await self._state.save(job.to(JobState.QUEUED, stage=None))
                return await delivery.retry(verdict.delay_s)
            return await self._fail(delivery, job, verdict)
        done = {"stage": Stage.DONE, "percent": 100.0, "finished_at": now_rfc3339()}
        await self._state.save(job.to(JobState.COMPLETED, **done))
        await delivery.ack()
        log.info("file.completed", job_id=job.job_id, track_id=making.track_id, output=making.output)
        return None

    async def _fail(self, delivery: Delivery, job: Job, verdict: Fail) -> None:
        log.warning("file.failed", job_id=job.job_id, code=verdict.error.code, reason=verdict.error.message)
        await self._state.save(job.to(JobState.FAILED, finished_at=now_rfc3339(), error=verdict.error))
        await (delivery.park(verdict.error.code) if verdict.park else delivery.ack())

    async def _release(self, delivery: Delivery, job: Job) -> None:
        if await delivery.is_current():
            await self._state.save(job.to(JobState.QUEUED, stage=None, attempt=delivery.attempt - 1))
            await delivery.release()
