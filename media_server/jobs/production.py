"""One version of a track in the making: what the child says is stored, and goes live when it can be heard.

Owns: the moment of publication. Listeners wait for the ladder alone; whole files of the track are made after
it and listed when they are there.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import structlog

from hls.asset import Asset
from media_server.broker.base import Delivery
from media_server.errors import MediaError, Unavailable
from media_server.jobs.assembly import Assembly
from media_server.jobs.child import Order
from media_server.jobs.downloads import Downloads
from media_server.jobs.events import Event, LadderMade, LadderMissed, SegmentMade
from media_server.jobs.growth import Growth
from media_server.jobs.job import JobRequest, Stage
from media_server.jobs.lease import LeaseLost
from media_server.jobs.publish import drop, list_downloads, point_to, store_event
from media_server.jobs.runner import run
from media_server.jobs.watched import Watched, place_of
from media_server.metrics import Metrics
from media_server.settings import Settings
from media_server.state.base import State
from media_server.storage.base import Storage

log = structlog.get_logger()


def order_of(request: JobRequest, source: Path, settings: Settings) -> Order:
    """What the child is asked for by a job whose options are spelt out."""
    options = request.options
    said = {"title": request.title, "artist": request.artist}
    return Order(
        source=source,
        ladder=options.rungs(settings.profiles),
        mode=options.loudness.mode,
        target_lufs=options.loudness.target_lufs,
        ceiling_dbtp=options.loudness.ceiling_dbtp,
        max_duration_s=settings.max_duration_s,
        memory_bytes=settings.job_memory_bytes,
        equalizer=options.equalizer_bands,
        outputs=options.outputs,
        tags={name: text for name, text in said.items() if text},
    )


class Production:
    """One attempt; `published` is told the track's id when a version of it has gone live.

    Args:
        growth: when what there is of the version is shown; None where it is to go live only whole.
        replacing: the version that the new one takes the place of; see `publish.point_to`.
    """

    def __init__(
        self,
        *,
        assembly: Assembly,
        downloads: Downloads,
        delivery: Delivery,
        watched: Watched,
        storage: Storage,
        state: State,
        metrics: Metrics,
        published: Callable[[str], None],
        growth: Growth | None = None,
        replacing: str | None = None,
    ) -> None:
        self._assembly = assembly
        self._downloads = downloads
        self._delivery = delivery
        self._watched = watched
        self._storage = storage
        self._state = state
        self._metrics = metrics
        self._published = published
        self._growth = growth
        self._replacing = replacing
        self._live: Asset | None = None
        self._missed: Asset | None = None
        self._shown: set[str] = set()

    async def make(self, order: Order) -> Asset:
        """Run the child; the version as it is live.

        Once the ladder is, no fault of the files after it takes it back: what there is of them is listed.

        Raises:
            MediaError, DecoderCrash, Unavailable: as `runner.run`.
            LeaseLost: another worker has the job.
            Conflict: as `publish.point_to`.
        """
        try:
            await self._follow(order)
        except MediaError as error:
            if self._live is not None:
                log.warning("job.outputs_failed", code=error.code, reason=error.message)
                return await self._list("output_left_out")
            if self._missed is None:
                raise
            log.warning("job.round_failed", code=error.code, reason=error.message)
            return await self._point_to(replace(self._missed, is_final=True))
        return await self._list()

    async def _follow(self, order: Order) -> None:
        began, stage = time.monotonic(), Stage.PROBE
        await self._watched.reach(stage, 0.0)
        async with run(order) as events:
            async for event, payload in events:
                await store_event(self._storage, self._assembly, self._downloads, event, payload)
                await self._show(event)
                now_in, fraction = place_of(event, stage)
                if now_in is not stage:
                    self._metrics.stage_ended(stage.value, time.monotonic() - began)
                    began = time.monotonic()
                stage = now_in
                await self._watched.reach(stage, fraction)
        self._metrics.stage_ended(stage.value, time.monotonic() - began)

    async def _show(self, event: Event) -> None:
        """Listeners hear what there is because of the event."""
        growth = self._growth
        match event:
            case SegmentMade() if growth is not None and growth.is_timely:
                began_s, growing = time.monotonic(), self._assembly.growing
                if growing is not None and growth.shows(growing):
                    with contextlib.suppress(Unavailable):  # the next segment brings another chance
                        growth.has_shown(await self._point_to(growing), began_s)
            case LadderMissed() if growth is not None and growth.has_begun:
                # who listens hears this one to its end
                self._missed = await self._point_to(self._assembly.missed)
                growth.end()
            case LadderMade():
                self._live = await self._publish()

    async def _publish(self) -> Asset:
        asset = await self._point_to(self._assembly.asset)
        if self._growth is not None:
            self._growth.end()
        await drop(self._storage, self._assembly, self._shown)
        return asset

    async def _point_to(self, version: Asset) -> Asset:
        if not await self._delivery.extend():
            raise LeaseLost
        asset = await point_to(self._storage, self._state, version, replacing=self._replacing)
        self._shown.add(asset.version)
        self._published(asset.track_id)
        await self._watched.is_heard()
        return asset

    async def _list(self, *warnings: str) -> Asset:
        live = self._live or await self._publish()  # which refuses what a child left out
        made = self._assembly.asset
        if not (made.downloads or warnings):
            return live
        asset = await list_downloads(self._storage, self._state, made, *warnings)
        self._published(asset.track_id)
        return asset
