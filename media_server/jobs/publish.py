"""Makes a version of a track visible: its files first, the pointer `asset.json` last and at once.

Nothing that a listener can see ever names an object that is not stored (reliability I3).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import m3u8

from hls.asset import Asset
from hls.segment_format import SegmentFormat
from hls.stored import StoredFile
from media_server.errors import Conflict, NotFound, Unavailable
from media_server.jobs.amendments import applied, load
from media_server.jobs.assembly import Assembly, File
from media_server.jobs.downloads import Downloads, words_of
from media_server.jobs.events import Event, FileMade, PieceMade
from media_server.jobs.membership import enrol
from media_server.jobs.pointer import pointer_held
from media_server.jobs.tombstone import must_not_be_deleted
from media_server.state.base import State, TrackSummary
from media_server.storage.assets import asset_key, download_key, downloads_prefix, version_prefix
from media_server.storage.base import Storage

NEVER_CHANGES = "max-age=31536000, immutable"
"""For a CDN that reads the storage itself."""


async def store(storage: Storage, assembly: Assembly, file: File) -> None:
    """Put one file of the version that is being made."""
    key = version_prefix(assembly.track_id, assembly.version) + file.path
    await storage.put(
        key, file.data, media_type=file.media_type, cache_control=_cached(public=assembly.is_public)
    )


async def store_event(
    storage: Storage, assembly: Assembly, downloads: Downloads, event: Event, payload: bytes
) -> None:
    """Put what an event of a job brings: small files as they are, large ones once they are whole."""
    match event:
        case PieceMade():
            await asyncio.to_thread(downloads.write, event, payload)
        case FileMade():
            made = await asyncio.to_thread(downloads.finish, event)
            file = assembly.take_download(event, made)
            key = download_key(assembly.track_id, assembly.version, file.name)
            await _store_file(storage, key, file, made.path, public=assembly.is_public)
        case _:
            for small in assembly.take(event, payload):
                await store(storage, assembly, small)


async def add_download(storage: Storage, asset: Asset, file: StoredFile, path: Path) -> None:
    """Put one more whole file of a version that is live."""
    key = download_key(asset.track_id, asset.version, file.name)
    await _store_file(storage, key, file, path, public=asset.visibility == "public")


async def _store_file(storage: Storage, key: str, file: StoredFile, path: Path, *, public: bool) -> None:
    await storage.put_file(key, path, media_type=file.media_type, cache_control=_cached(public=public))


def _cached(*, public: bool) -> str:
    """Only a public track's files may be shared by caches."""
    return f"{'public' if public else 'private'}, {NEVER_CHANGES}"


async def drop(storage: Storage, assembly: Assembly, shown: Collection[str] = ()) -> None:
    """Remove what was stored of plans that were taken back; never what is live, nor what somebody may hear.

    Args:
        shown: versions that were live for a while.
    """
    live = await live_asset(storage, assembly.track_id) if assembly.dropped else None
    for version in assembly.dropped:
        if version not in shown and (live is None or live.version != version):
            await storage.delete(version_prefix(assembly.track_id, version))


async def live_asset(storage: Storage, track_id: str) -> Asset | None:
    """The asset that is live now, read past every cache."""
    try:
        return Asset.from_json(await storage.get(asset_key(track_id)))
    except NotFound:
        return None


def is_done(asset: Asset) -> bool:
    """Whether the job that made it makes nothing more of it but whole files."""
    return asset.state == "complete" and asset.is_final


def must_be_newer(order: tuple[int, str, str], live: Asset | None) -> None:
    """Of two uploads of a track the newer wins.

    Raises:
        Conflict: `superseded`, a newer upload is live.
    """
    if live is not None and order < order_of(live):
        raise Conflict("superseded", "a newer upload of the track is already published")


def order_of(asset: Asset) -> tuple[int, str, str]:
    """Compares uploads of a track: `source_version` if given, else the time, ties by job."""
    return (asset.source_version or 0, asset.order, asset.job_id)


def must_be_live(version: str, live: Asset | None) -> None:
    """A version that is made again is replaced only where it is still the one that is heard.

    Raises:
        Conflict: `superseded`.
    """
    if live is None or live.version != version:
        raise Conflict("superseded", f"version {version} of the track is not live any more")


async def point_to(storage: Storage, state: State, asset: Asset, *, replacing: str | None = None) -> Asset:
    """Make `asset` the live version of its track, with what was changed of it since its upload.

    Args:
        replacing: the version of the same upload that it is to take the place of; None for a new upload.
    Raises:
        Unavailable: `bad_playlist`, what would be served is no playlist: our bug, nothing is published;
            `pointer_busy`.
        Conflict: `superseded` or `deleted`.
    """
    # a long track's playlists take longer to read than anyone should wait for
    await asyncio.to_thread(check_playlists, asset)
    async with pointer_held(state, asset.track_id):
        live = await live_asset(storage, asset.track_id)
        if replacing is None:
            must_be_newer(order_of(asset), live)
        await must_not_be_deleted(storage, asset.track_id, asset.user_id, asset.order)
        if replacing is not None:
            must_be_live(replacing, live)
        asset = applied(await load(storage, asset.track_id), asset)
        await put_pointer(storage, state, asset)
    return asset


async def withdraw(storage: Storage, state: State, track_id: str, job_id: str) -> bool:
    """Take back what a job has shown of a version that it cannot finish; False if it has shown nothing.

    For whoever holds the job: another attempt may be showing the same.

    Raises:
        Unavailable: `pointer_busy`.
    """
    async with pointer_held(state, track_id):
        live = await live_asset(storage, track_id)
        if live is None or live.job_id != job_id or is_done(live):
            return False
        await state.forget_track(track_id)
        await storage.delete(asset_key(track_id))
    await storage.delete(version_prefix(track_id, live.version))
    return True


async def list_downloads(storage: Storage, state: State, made: Asset, *warnings: str) -> Asset:
    """List the files of `made` as well, which went live without them; the version as it is now.

    Files whose words were changed meanwhile go instead. Nothing changes where another upload was published.

    Raises:
        Conflict: `deleted`.
        Unavailable: `pointer_busy`.
    """
    async with pointer_held(state, made.track_id):
        live = await live_asset(storage, made.track_id)
        await must_not_be_deleted(storage, made.track_id, live.user_id if live else made.user_id, made.order)
        if live is None or (live.job_id, live.version) != (made.job_id, made.version):
            return replace(made, downloads=())
        new = made.downloads if words_of(live) == words_of(made) else ()
        old = [one for one in live.downloads if one.name not in {download.name for download in new}]
        told = dict.fromkeys((*live.warnings, *warnings))
        live = replace(live, downloads=(*old, *new), warnings=tuple(told))
        await put_pointer(storage, state, live)
        if new != made.downloads:
            await drop_unlisted(storage, live)
    return live


async def drop_unlisted(storage: Storage, asset: Asset) -> None:
    """Remove whole files that an attempt stored and did not come to list: who asks for one has it made."""
    folder = downloads_prefix(asset.track_id, asset.version)
    listed = {folder + download.file.name for download in asset.downloads}
    for key in await storage.list(folder):
        if key not in listed:
            await storage.delete(key)


async def put_pointer(storage: Storage, state: State, asset: Asset) -> None:
    """Write what is live of a track, and its place in the list; for whoever holds the pointer."""
    await enrol(storage, asset)
    pointer = asset_key(asset.track_id)
    await storage.put(pointer, asset.to_json(), media_type="application/json", cache_control="no-cache")
    await state.save_track(summary_of(asset))


def check_playlists(asset: Asset) -> None:
    """Read every playlist again with a parser that others wrote.

    Raises:
        Unavailable: `bad_playlist`.
    """
    listed: list[str | None] = []
    for family in asset.families:
        multivariant = m3u8.loads(asset.multivariant(family=family).render())
        listed += [variant.uri for variant in multivariant.playlists]
    if listed != [f"stream_{rendition.name}.m3u8" for rendition in asset.renditions]:
        raise Unavailable("bad_playlist", "the multivariant playlists do not list the renditions")
    for segment_format in SegmentFormat:
        for rendition in asset.carried(segment_format):
            playlist = asset.media_playlist(rendition.name, segment_format=segment_format)
            media = m3u8.loads(playlist.render())
            is_whole = media.is_endlist == (asset.state == "complete")
            if not is_whole or len(media.segments) != len(rendition.segments):
                raise Unavailable(
                    "bad_playlist", f"the playlist of {rendition.name} does not list its segments"
                )


def summary_of(asset: Asset) -> TrackSummary:
    """What the list of tracks shows."""
    return TrackSummary(
        track_id=asset.track_id,
        title=asset.title,
        artist=asset.artist,
        duration_s=asset.duration_s,
        visibility=asset.visibility,
        user_id=asset.user_id,
        created_at=asset.created_at,
        renditions=tuple(rendition.name for rendition in asset.renditions),
        has_cover=asset.cover is not None,
        segment_format=asset.segment_format,
    )
