"""One delivery from its receipt to its acknowledgement.

Fetch, transcode in a child process, publish, hand over the callback, acknowledge. Every step may be the last
one before a kill -9: each is idempotent, and the message stays in the queue until all of them are done.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from pydantic import ValidationError

from hls.asset import Asset
from media_server.broker.base import Broker, Callback, Delivery
from media_server.broker.envelope import COMPLETED, FAILED
from media_server.errors import Conflict, Unavailable
from media_server.jobs import report
from media_server.jobs.addition import Additions
from media_server.jobs.albums import others_of, settle
from media_server.jobs.antivirus import screen
from media_server.jobs.assembly import Assembly, Identity
from media_server.jobs.downloads import Downloads
from media_server.jobs.fate import MAX_ATTEMPTS, Fail, Retry, decide, given_up
from media_server.jobs.fetch import fetch, keep_source
from media_server.jobs.folders import Folders
from media_server.jobs.growth import Growth
from media_server.jobs.job import Job, JobError, JobState, Stage, now_rfc3339
from media_server.jobs.lease import LEASE_LOST, LeaseLost, while_leased
from media_server.jobs.making import lacking
from media_server.jobs.production import Production, order_of
from media_server.jobs.publish import drop_unlisted, is_done, live_asset, must_be_newer, summary_of, withdraw
from media_server.jobs.submission import Submission
from media_server.jobs.takedown import remove_leftovers
from media_server.jobs.tombstone import DELETED, must_not_be_deleted
from media_server.jobs.watched import Watched
from media_server.metrics import Metrics
from media_server.settings import Settings
from media_server.state.base import State
from media_server.storage.assets import upload_key
from media_server.storage.base import Storage
from media_server.trace import of_job, trace_id

if TYPE_CHECKING:
    from media_server.storage.sources import S3Sources

log = structlog.get_logger()


class Handler:
    """Turns deliveries into tracks."""

    def __init__(
        self,
        *,
        settings: Settings,
        folders: Folders,
        storage: Storage,
        state: State,
        broker: Broker,
        metrics: Metrics,
        published: Callable[[str], None],
        sources: S3Sources | None = None,
    ) -> None:
        self._settings = settings
        self._folders = folders
        self._storage = storage
        self._state = state
        self._broker = broker
        self._metrics = metrics
        self._published = published
        self._sources = sources
        self._additions = Additions(
            settings=settings, storage=storage, state=state, published=published, sources=sources
        )

    async def handle(self, delivery: Delivery) -> None:
        """See the delivery through to its end; on cancellation it is released, the attempt not counted."""
        try:
            submission = Submission.model_validate_json(delivery.body)
        except ValidationError as error:  # F9: it would come back for ever
            log.error("job.parked", job_id=delivery.job_id, code="bad_job", exc_info=error)
            known = await self._state.get(delivery.job_id)
            if known is not None and not known.ended:
                why = JobError(code="bad_job", message="the job's message is not one of this version")
                await self._state.save(known.to(JobState.FAILED, finished_at=now_rfc3339(), error=why))
            await delivery.park("bad_job")
            return
        folder = self._folders.attempt(delivery.job_id, delivery.fence)
        watched = Watched(await self._record(delivery, submission), delivery, self._state)
        with structlog.contextvars.bound_contextvars(
            job_id=delivery.job_id,
            track_id=submission.request.track_id,
            trace_id=trace_id(submission.traceparent or of_job(delivery.job_id)),
        ):
            try:
                await self._attempt(delivery, submission, folder, watched)
            except asyncio.CancelledError:
                await asyncio.shield(self._release(delivery, watched.job))
                raise
            except (LeaseLost, Conflict) as error:
                if isinstance(error, Conflict) and error.code != LEASE_LOST:
                    raise
                log.warning("job.lease_lost", attempt=delivery.attempt)
            finally:
                await asyncio.to_thread(self._folders.remove_attempt, folder)

    async def _record(self, delivery: Delivery, submission: Submission) -> Job:
        """The job as it is on record, ready to run."""
        known = await self._state.get(delivery.job_id)
        request = submission.request
        fresh = Job(
            job_id=delivery.job_id,
            track_id=request.track_id,
            created_at=submission.accepted_at,
            title=submission.title,
        )
        # a crash after the record was written and before the acknowledgement leaves an ended job in the queue
        if known is None or known.ended:
            return replace(fresh, created_at=known.created_at) if known else fresh
        return known

    async def _attempt(
        self, delivery: Delivery, submission: Submission, folder: Path, watched: Watched
    ) -> None:
        started = time.monotonic()
        await watched.start()
        log.info("job.started", attempt=delivery.attempt)
        try:
            live = await live_asset(self._storage, submission.request.track_id)
            if delivery.attempt > MAX_ATTEMPTS and not await self._has_done(live, watched):
                return await self._fail(delivery, submission, watched.job, given_up(delivery.attempt))
            asset = await while_leased(delivery, self._make(delivery, submission, folder, watched, live))
        except LeaseLost:
            raise
        except Exception as error:
            verdict = decide(error, delivery.attempt)
            if isinstance(verdict, Retry):
                return await self._retry(delivery, watched.job, verdict, error)
            if verdict.park:
                log.error("job.parked", code=verdict.error.code, exc_info=error)
            return await self._fail(delivery, submission, watched.job, verdict)
        await self._complete(delivery, submission, watched.job, asset)
        log.info(
            "job.completed", duration_ms=round((time.monotonic() - started) * 1000), version=asset.version
        )
        return None

    async def _has_done(self, live: Asset | None, watched: Watched) -> bool:
        """Whether an earlier attempt published the track, and only its acknowledgement was lost."""
        if live is None or live.job_id != watched.job.job_id:
            return False
        await watched.is_heard()
        return is_done(live)

    async def _make(
        self, delivery: Delivery, submission: Submission, folder: Path, watched: Watched, live: Asset | None
    ) -> Asset:
        request = submission.request
        options = request.options.spelt_out(self._settings.profiles)
        if live is not None and await self._has_done(live, watched):
            # an earlier attempt got this far, though perhaps not into the list of tracks, or to its files
            await drop_unlisted(self._storage, live)
            await self._state.save_track(summary_of(live))
            await self._settle(live)
            await watched.reach(Stage.PUBLISH, 0.0)
            missing = lacking(live)
            return await self._additions.complete(
                live, missing, upload=submission.upload, attempt=delivery.attempt, folder=folder
            )
        must_be_newer((request.source_version or 0, submission.accepted_at, delivery.job_id), live)
        accepted_at = submission.accepted_at
        await must_not_be_deleted(self._storage, request.track_id, request.user_id, accepted_at)
        fetched = await fetch(submission, folder, self._storage, self._settings, self._sources)
        warnings = await screen(fetched.path, fetched.size_bytes, self._settings)
        request = request.model_copy(update={"options": options})
        source_title = submission.upload.title if submission.upload else None
        assembly = Assembly(
            request,
            Identity(
                job_id=delivery.job_id,
                created_at=now_rfc3339(),
                order=submission.accepted_at,
                source_sha256=fetched.sha256,
                source_bytes=fetched.size_bytes,
                source_title=source_title,
                warnings=warnings,
                calls_back=submission.calls_back,
            ),
        )
        production = Production(
            assembly=assembly,
            downloads=Downloads(folder, self._settings.max_source_bytes),
            delivery=delivery,
            watched=watched,
            storage=self._storage,
            state=self._state,
            metrics=self._metrics,
            published=self._published,
            growth=Growth(live),
        )
        order = order_of(request, fetched.path, self._settings)
        others = await others_of(self._storage, request)
        asset = await production.make(replace(order, source_title=source_title, others=others))
        await self._settle(asset)
        listed = {download.name for download in asset.downloads}
        stale = tuple(one.name for one in assembly.asset.downloads if one.name not in listed)
        return await self._additions.complete(
            asset, stale, upload=submission.upload, attempt=delivery.attempt, folder=folder
        )

    async def _settle(self, asset: Asset) -> None:
        await settle(asset.track_id, storage=self._storage, broker=self._broker, locks=self._state)

    async def _complete(self, delivery: Delivery, submission: Submission, job: Job, asset: Asset) -> None:
        result = report.completed(asset, self._settings.base_url)
        # first: what is called completed has nothing left to do
        await keep_source(submission.upload, asset.track_id, self._storage)
        await self._state.save(
            job.to(
                JobState.COMPLETED,
                stage=Stage.DONE,
                percent=100.0,
                finished_at=now_rfc3339(),
                title=asset.title,
                warnings=asset.warnings,
                result=result,
            )
        )
        self._metrics.job_ended("completed")
        callback = _callback(submission, job, result)
        await delivery.ack(callback, (COMPLETED, callback.body) if callback else None)

    async def _fail(self, delivery: Delivery, submission: Submission, job: Job, verdict: Fail) -> None:
        error: JobError = verdict.error
        try:
            if job.playable or error.code == DELETED:
                if not await delivery.extend():
                    raise LeaseLost
                await while_leased(delivery, self._take_back(job, error))
        except Unavailable as unavailable:  # nothing was said yet: the same once more, later
            again = decide(unavailable, 1)
            assert isinstance(again, Retry)
            return await self._retry(delivery, job, again, unavailable)
        failed = job.to(JobState.FAILED, finished_at=now_rfc3339(), error=error, playable=False)
        await self._state.save(failed)
        self._metrics.job_ended("failed", error.code)
        log.warning("job.failed", code=error.code, reason=error.message, attempt=delivery.attempt)
        callback = _callback(submission, job, report.failed(job.job_id, job.track_id, error))
        told = (FAILED, report.failure(job.job_id, job.track_id, error)) if callback else None
        await (delivery.park(error.code, callback, told) if verdict.park else delivery.ack(callback, told))
        # not before: a run after a crash in between must find the file, to fail for the same reason
        if submission.upload and not error.retryable:
            await self._storage.delete(upload_key(submission.upload.name))
        return None

    async def _take_back(self, job: Job, error: JobError) -> None:
        if job.playable and await withdraw(self._storage, self._state, job.track_id, job.job_id):
            self._published(job.track_id)
        if error.code == DELETED:  # nobody else is at work on the track: what was made of it goes
            await remove_leftovers(self._storage, job.track_id)

    async def _retry(self, delivery: Delivery, job: Job, verdict: Retry, error: Exception) -> None:
        log.warning(
            "job.retry",
            code=verdict.reason,
            delay_s=verdict.delay_s,
            attempt=delivery.attempt,
            exc_info=error,
        )
        await self._state.save(job.to(JobState.QUEUED, stage=None))
        await delivery.retry(verdict.delay_s)

    async def _release(self, delivery: Delivery, job: Job) -> None:
        if not await delivery.is_current():
            return  # somebody else's already: nothing to give back
        if job.status is JobState.RUNNING:
            attempt = delivery.attempt - 1
            await self._state.save(job.to(JobState.QUEUED, stage=None, percent=0.0, attempt=attempt))
        with contextlib.suppress(Conflict):
            await delivery.release()
        log.info("job.released")


def _callback(submission: Submission, job: Job, body: dict[str, object]) -> Callback | None:
    if not submission.calls_back:
        return None
    return Callback(
        job_id=job.job_id,
        track_id=job.track_id,
        body={**body, "attempt": job.attempt},
        traceparent=submission.traceparent,
    )
