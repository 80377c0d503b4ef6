"""One more whole file of a version that is live.

Bring the source, make the file in a child process, store it, list it in the asset. Whoever has it made holds
the track's lease; only the track's words can change meanwhile, and a file with others is never listed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from hls.asset import Asset, AssetDownload
from media_server.errors import Conflict, NotFound, Unavailable
from media_server.jobs.downloads import Downloads, download_of, words_of
from media_server.jobs.events import FileMade, PieceMade
from media_server.jobs.fate import MAX_ATTEMPTS, Retry, decide
from media_server.jobs.fetch import keep_source
from media_server.jobs.filing import FileOrder
from media_server.jobs.loudness import file_loudness, plan_of
from media_server.jobs.options import Options
from media_server.jobs.original import bring
from media_server.jobs.pointer import pointer_held
from media_server.jobs.publish import add_download, list_downloads, live_asset, put_pointer
from media_server.jobs.runner import run
from media_server.jobs.submission import Upload
from media_server.jobs.takedown import remove_leftovers
from media_server.settings import Settings
from media_server.state.base import State
from media_server.storage.assets import download_key
from media_server.storage.base import Storage

if TYPE_CHECKING:
    from media_server.storage.sources import S3Sources

log = structlog.get_logger()


class Additions:
    """Adds files to what is live; `published` is told the track's id when one is listed."""

    def __init__(
        self,
        *,
        settings: Settings,
        storage: Storage,
        state: State,
        published: Callable[[str], None],
        sources: S3Sources | None = None,
    ) -> None:
        self._settings = settings
        self._storage = storage
        self._state = state
        self._published = published
        self._sources = sources

    async def complete(
        self, asset: Asset, outputs: tuple[str, ...], *, upload: Upload | None, attempt: int, folder: Path
    ) -> Asset:
        """What its own job adds to the live asset; what cannot be had costs a warning, and not the track.

        Args:
            upload: the job's.
            attempt: the job's, from 1.
        Raises:
            whatever the job is to be repeated for.
        """
        # after so many they may be what kills the worker each time
        if not outputs or attempt > MAX_ATTEMPTS:
            return asset
        try:
            await keep_source(upload, asset.track_id, self._storage)
            for output in outputs:
                asset = await self.add(asset.track_id, asset.version, output, folder)
        except Exception as error:
            verdict = decide(error, attempt)
            if isinstance(verdict, Retry):
                raise
            log.warning("job.outputs_failed", code=verdict.error.code, reason=verdict.error.message)
            without = replace(asset, downloads=())
            asset = await list_downloads(self._storage, self._state, without, "output_left_out")
            self._published(asset.track_id)
        return asset

    async def add(self, track_id: str, version: str, output: str, folder: Path) -> Asset:
        """The asset with that file; one that is listed already is not made again.

        Args:
            folder: of the attempt, which whoever made it removes.
        Raises:
            MediaError, DecoderCrash, Unavailable: as `runner.run`; `words_changed`, make it again.
            NotFound: `track_not_found`, `source_not_found`.
            Conflict: `superseded`, `source_changed`.
        """
        asset = await self._live(track_id, version)
        if any(download.name == output for download in asset.downloads):
            return asset  # an earlier attempt got this far
        assert asset.source is not None  # nothing is offered of what is not known
        source = await bring(asset, folder, self._storage, self._settings, self._sources)
        downloads = Downloads(folder, self._settings.max_source_bytes)
        order = order_of(asset, output, source, self._settings)
        async with run(order) as events:
            async for event, payload in events:
                if isinstance(event, PieceMade):
                    await asyncio.to_thread(downloads.write, event, payload)
                elif isinstance(event, FileMade) and event.output == output:
                    made = await asyncio.to_thread(downloads.finish, event)
                    download = download_of(event, made)
                    await add_download(self._storage, asset, download.file, made.path)
                    asset = await self._list(asset, download)
        return asset

    async def _list(self, made_of: Asset, download: AssetDownload) -> Asset:
        async with pointer_held(self._state, made_of.track_id):
            asset = await self._live(made_of.track_id, made_of.version)
            if words_of(asset) != words_of(made_of):
                await self._storage.delete(download_key(asset.track_id, asset.version, download.file.name))
                raise Unavailable("words_changed", f"{download.name} has words that the track has no more")
            others = [one for one in asset.downloads if one.name != download.name]
            asset = replace(asset, downloads=(*others, download))
            await put_pointer(self._storage, self._state, asset)
        self._published(asset.track_id)
        return asset

    async def _live(self, track_id: str, version: str) -> Asset:
        """The asset, if it is still the one that the file was wanted of.

        Raises:
            Conflict: `superseded`.
            NotFound: `track_not_found`, and what was made of it is gone too.
        """
        asset = await live_asset(self._storage, track_id)
        if asset is None:
            await remove_leftovers(self._storage, track_id)
            raise NotFound("track_not_found", "the track was deleted after its file was asked for")
        if asset.version != version:
            raise Conflict("superseded", "a newer upload of the track is published")
        return asset


def order_of(asset: Asset, output: str, source: Path, settings: Settings) -> FileOrder:
    """What the child is asked for: the track's own tone, plan, length and words."""
    album = asset.loudness.album
    return FileOrder(
        source=source,
        output=output,
        samples=asset.duration_samples,
        channels=asset.renditions[0].channels,
        plan=plan_of(asset.loudness),
        loudness=file_loudness(asset.loudness),
        album=None if album is None else file_loudness(album),
        tags=words_of(asset),
        equalizer=Options.model_validate(asset.options).equalizer_bands,
        max_duration_s=settings.max_duration_s,
        memory_bytes=settings.job_memory_bytes,
    )
