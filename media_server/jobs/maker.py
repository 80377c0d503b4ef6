"""Makes one more file of a published track, from its receipt to its acknowledgement.

Bring the source, make the file in a child process, store it, list it in the asset. As a job, each step may be
the last one before a kill -9; unlike one, nobody is called back: who wants the file asks again.
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

from hls.asset import Asset, AssetDownload
from media_server.broker.base import Delivery
from media_server.errors import Conflict, NotFound
from media_server.jobs.downloads import Downloads, download_of
from media_server.jobs.events import FileMade, PieceMade
from media_server.jobs.fate import MAX_ATTEMPTS, Fail, Retry, decide, given_up
from media_server.jobs.filing import FileOrder
from media_server.jobs.folders import Folders
from media_server.jobs.job import Job, JobState, Stage, now_rfc3339
from media_server.jobs.lease import LeaseLost, while_leased
from media_server.jobs.loudness import file_loudness, plan_of
from media_server.jobs.making import Making
from media_server.jobs.options import Options
from media_server.jobs.original import bring
from media_server.jobs.pointer import pointer_held
from media_server.jobs.publish import add_download, live_asset, put_pointer
from media_server.jobs.runner import run
from media_server.jobs.takedown import remove_leftovers
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
        self._settings = settings
        self._folders = folders
        self._storage = storage
        self._state = state
        self._published = published
        self._sources = sources

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
            await while_leased(delivery, self._make(making, folder))
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

    async def _make(self, making: Making, folder: Path) -> None:
        asset = await self._live(making)
        if _has(asset, making.output):
            return  # an earlier attempt got this far
        assert asset.source is not None  # nothing is offered of what is not known
        source = await bring(asset, folder, self._storage, self._settings, self._sources)
        downloads = Downloads(folder, self._settings.max_source_bytes)
        order = order_of(asset, making.output, source, self._settings)
        async with run(order) as events:
            async for event, payload in events:
                if isinstance(event, PieceMade):
                    await asyncio.to_thread(downloads.write, event, payload)
                elif isinstance(event, FileMade) and event.output == making.output:
                    made = await asyncio.to_thread(downloads.finish, event)
                    download = download_of(event, made)
                    await add_download(self._storage, asset, download.file, made.path)
                    await self._list(making, download)

    async def _list(self, making: Making, download: AssetDownload) -> None:
        async with pointer_held(self._state, making.track_id):
            asset = await self._live(making)
            others = [one for one in asset.downloads if one.name != download.name]
            await put_pointer(self._storage, self._state, replace(asset, downloads=(*others, download)))
        self._published(making.track_id)

    async def _live(self, making: Making) -> Asset:
        """The asset, if it is still the one that the file was wanted of.

        Raises:
            Conflict: `superseded`.
            NotFound: `track_not_found`, and what was made of it is gone too.
        """
        asset = await live_asset(self._storage, making.track_id)
        if asset is None:
            await remove_leftovers(self._storage, making.track_id)
            raise NotFound("track_not_found", "the track was deleted after its file was asked for")
        if asset.version != making.version:
            raise Conflict("superseded", "a newer upload of the track is published")
        return asset


def order_of(asset: Asset, output: str, source: Path, settings: Settings) -> FileOrder:
    """What the child is asked for: the track's own tone, plan, length and words."""
    words = {"title": asset.title, "artist": asset.artist}
    album = asset.loudness.album
    return FileOrder(
        source=source,
        output=output,
        samples=asset.duration_samples,
        channels=asset.renditions[0].channels,
        plan=plan_of(asset.loudness),
        loudness=file_loudness(asset.loudness),
        album=None if album is None else file_loudness(album),
        tags={**asset.tags, **{name: text for name, text in words.items() if text}},
        equalizer=Options.model_validate(asset.options).equalizer_bands,
        max_duration_s=settings.max_duration_s,
        memory_bytes=settings.job_memory_bytes,
    )


def _has(asset: Asset, output: str) -> bool:
    return any(download.name == output for download in asset.downloads)
