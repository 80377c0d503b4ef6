"""Makes a live track again with the gain that its album has now, from its receipt to its acknowledgement.

The same upload, the same options, what was changed of it since: only the gain is another. As a job, each step
may be the last one before a kill -9. Where the gain fits by now, or the version was replaced, nothing happens
and nobody is told; a failure leaves the track as it is, and nobody is called back for it either.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from pydantic import ValidationError

from hls.asset import Asset
from media_server.broker.base import Broker, Callback, Delivery
from media_server.broker.envelope import COMPLETED
from media_server.errors import Conflict
from media_server.jobs import report
from media_server.jobs.addition import Additions
from media_server.jobs.albums import gain_of, others_of, settle
from media_server.jobs.antivirus import NOT_SCANNED
from media_server.jobs.assembly import PIPELINE_VERSION, Assembly, Identity
from media_server.jobs.downloads import Downloads
from media_server.jobs.fate import MAX_ATTEMPTS, Fail, Retry, decide, given_up
from media_server.jobs.folders import Folders
from media_server.jobs.job import Job, JobRequest, JobState, Stage, now_rfc3339
from media_server.jobs.lease import LEASE_LOST, LeaseLost, while_leased
from media_server.jobs.making import lacking
from media_server.jobs.membership import album_of
from media_server.jobs.options import Options
from media_server.jobs.original import bring, place_of
from media_server.jobs.production import Production, order_of
from media_server.jobs.publish import drop_unlisted, live_asset, summary_of
from media_server.jobs.regain import Regain
from media_server.jobs.takedown import remove_leftovers
from media_server.jobs.tombstone import DELETED
from media_server.jobs.watched import Watched
from media_server.metrics import Metrics
from media_server.settings import Settings
from media_server.state.base import State
from media_server.storage.base import Storage

if TYPE_CHECKING:
    from media_server.storage.sources import S3Sources

log = structlog.get_logger()


class Regainer:
    """Turns the deliveries of Regains into versions."""

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
            regain = Regain.model_validate_json(delivery.body)
        except ValidationError as error:
            log.error("regain.parked", job_id=delivery.job_id, code="bad_job", exc_info=error)
            await delivery.park("bad_job")
            return
        folder = self._folders.attempt(delivery.job_id, delivery.fence)
        watched = Watched(await self._record(delivery), delivery, self._state)
        with structlog.contextvars.bound_contextvars(job_id=delivery.job_id, track_id=delivery.track_id):
            try:
                await self._attempt(delivery, regain, folder, watched)
            except asyncio.CancelledError:
                with contextlib.suppress(Conflict):
                    await asyncio.shield(self._release(delivery, watched.job))
                raise
            except (LeaseLost, Conflict) as error:
                if isinstance(error, Conflict) and error.code != LEASE_LOST:
                    raise
                log.warning("regain.lease_lost", attempt=delivery.attempt)
            finally:
                await asyncio.to_thread(self._folders.remove_attempt, folder)

    async def _record(self, delivery: Delivery) -> Job:
        """The job as it is on record; until there is something to make, it is on none."""
        known = await self._state.get(delivery.job_id)
        if known is not None and not known.ended:
            return known
        created_at = known.created_at if known else now_rfc3339()
        return Job(job_id=delivery.job_id, track_id=delivery.track_id, created_at=created_at)

    async def _attempt(self, delivery: Delivery, regain: Regain, folder: Path, watched: Watched) -> None:
        try:
            if delivery.attempt > MAX_ATTEMPTS:
                return await self._fail(delivery, watched.job, given_up(delivery.attempt))
            asset = await while_leased(delivery, self._make(delivery, regain, folder, watched))
        except LeaseLost:
            raise
        except Exception as error:
            verdict = decide(error, delivery.attempt)
            if isinstance(verdict, Retry):
                log.warning("regain.retry", code=verdict.reason, exc_info=error)
                if watched.job.status is JobState.RUNNING:
                    await self._state.save(watched.job.to(JobState.QUEUED, stage=None))
                return await delivery.retry(verdict.delay_s)
            return await self._fail(delivery, watched.job, verdict)
        if asset is None:
            return await delivery.ack()
        return await self._complete(delivery, watched.job, asset)

    async def _make(self, delivery: Delivery, regain: Regain, folder: Path, watched: Watched) -> Asset | None:
        """The version as it is live; None where there was nothing to make."""
        live = await live_asset(self._storage, regain.track_id)
        if live is not None and live.remade_by == delivery.job_id:
            # an earlier attempt got this far
            await self._start(watched, live)
            await drop_unlisted(self._storage, live)
            await self._state.save_track(summary_of(live))
            live = await self._additions.complete(
                live, lacking(live), upload=None, attempt=delivery.attempt, folder=folder
            )
        else:
            album = album_of(live) if live is not None and live.version == regain.version else None
            # a version that was replaced since got the gain of its time: it was settled by whoever made it
            if live is None or live.state == "growing" or album is None:
                return None
            if await gain_of(self._storage, album) == live.loudness.gain_db:
                return None
            await self._start(watched, live)
            live = await self._produce(live, delivery, folder, watched)
        await settle(live.track_id, storage=self._storage, broker=self._broker, locks=self._state)
        return live

    async def _start(self, watched: Watched, live: Asset) -> None:
        watched.job = replace(watched.job, title=live.title)
        await watched.start()
        log.info("regain.started", version=live.version)

    async def _produce(self, live: Asset, delivery: Delivery, folder: Path, watched: Watched) -> Asset:
        source = await bring(live, folder, self._storage, self._settings, self._sources)
        request = request_of(live)
        identity = Identity(
            job_id=live.job_id,
            created_at=live.created_at,
            order=live.order,
            source_sha256=live.source_sha256,
            source_bytes=live.source_bytes,
            warnings=tuple(warning for warning in live.warnings if warning == NOT_SCANNED),
            remade_by=delivery.job_id,
            calls_back=live.calls_back,
        )
        production = Production(
            assembly=Assembly(request, identity),
            downloads=Downloads(folder, self._settings.max_source_bytes),
            delivery=delivery,
            watched=watched,
            storage=self._storage,
            state=self._state,
            metrics=self._metrics,
            published=self._published,
            replacing=live.version,
        )
        order = replace(
            order_of(request, source, self._settings),
            others=await others_of(self._storage, request),
            most_gain_db=_known_to_bear(live),
        )
        return await production.make(order)

    async def _complete(self, delivery: Delivery, job: Job, asset: Asset) -> None:
        # told as an end of its own, for the upload's has been told: a receiver takes a key once
        result = {**report.completed(asset, self._settings.base_url), "job_id": delivery.job_id}
        done = {"stage": Stage.DONE, "percent": 100.0, "finished_at": now_rfc3339()}
        await self._state.save(
            job.to(JobState.COMPLETED, title=asset.title, warnings=asset.warnings, result=result, **done)
        )
        self._metrics.job_ended("completed")
        log.info("regain.completed", version=asset.version, gain_db=asset.loudness.gain_db)
        if not asset.calls_back:
            return await delivery.ack()
        body = {**result, "attempt": job.attempt}
        callback = Callback(job_id=delivery.job_id, track_id=asset.track_id, body=body)
        return await delivery.ack(callback, (COMPLETED, body))

    async def _fail(self, delivery: Delivery, job: Job, verdict: Fail) -> None:
        log.warning("regain.failed", code=verdict.error.code, reason=verdict.error.message)
        await self._state.save(job.to(JobState.FAILED, finished_at=now_rfc3339(), error=verdict.error))
        self._metrics.job_ended("failed", verdict.error.code)
        if verdict.error.code == DELETED:
            await remove_leftovers(self._storage, job.track_id)
        await (delivery.park(verdict.error.code) if verdict.park else delivery.ack())

    async def _release(self, delivery: Delivery, job: Job) -> None:
        if await delivery.is_current():
            if job.status is JobState.RUNNING:
                attempt = delivery.attempt - 1
                await self._state.save(job.to(JobState.QUEUED, stage=None, percent=0.0, attempt=attempt))
            await delivery.release()


def request_of(asset: Asset) -> JobRequest:
    """What was asked for when it was uploaded, with what was changed of it since."""
    return JobRequest(
        track_id=asset.track_id,
        source=place_of(asset),
        source_version=asset.source_version,
        user_id=asset.user_id,
        visibility=asset.visibility,
        title=asset.title,
        artist=asset.artist,
        album_id=asset.album_id,
        options=Options.model_validate(asset.options),
    )


def _known_to_bear(asset: Asset) -> float | None:
    """What the making of this version has shown; another pipeline may show something else."""
    album = asset.loudness.album
    return album.most_gain_db if album is not None and asset.pipeline_version == PIPELINE_VERSION else None
