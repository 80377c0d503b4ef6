"""An album as it is live: what its tracks bring to it, the gain they shall have, and who has another.

Owns: that every change of an album is answered. Whoever changed what is live of a track settles it
afterwards: each track of its albums that has another gain than the album is asked to be made again, itself as
well. Of two that go live at the same moment one sees both: the pointer is written before the album is read.
"""

from __future__ import annotations

import structlog

from hls.asset import Asset
from media_server.broker.base import Broker, Locks
from media_server.jobs.job import JobRequest
from media_server.jobs.loudness import share_in
from media_server.jobs.membership import album_key, album_of, albums_of, strike, tracks_of
from media_server.jobs.pointer import pointer_held
from media_server.jobs.publish import live_asset
from media_server.jobs.regain import Regain
from media_server.storage.base import Storage
from pipeline.album import Share, album_gain, merged

log = structlog.get_logger()


async def members(storage: Storage, album: str) -> tuple[Asset, ...]:
    """What is live of the album's tracks, by id; one that is still being made is none of them yet."""
    found = [await live_asset(storage, track_id) for track_id in await tracks_of(storage, album)]
    whole = [asset for asset in found if asset is not None and asset.state == "complete"]
    return tuple(asset for asset in whole if album_of(asset) == album)


async def others_of(storage: Storage, request: JobRequest) -> Share:
    """What the other tracks of the album bring that a job is to make a track for."""
    if request.options.loudness.mode != "album" or request.album_id is None:
        return Share()
    found = await members(storage, album_key(request.user_id, request.album_id))
    return merged(share_in(asset) for asset in found if asset.track_id != request.track_id)


async def gain_of(storage: Storage, album: str) -> float:
    """The gain in dB that all its tracks shall have."""
    return _gain_db(await members(storage, album))


async def settle(track_id: str, *, storage: Storage, broker: Broker, locks: Locks) -> None:
    """Answer a change of what is live of a track, its deletion too; the same once more changes nothing.

    Raises:
        Unavailable: ask again; `pointer_busy`.
    """
    for album in await albums_of(storage, track_id):
        found = await members(storage, album)
        gain_db = _gain_db(found)
        misfits = [asset for asset in found if asset.loudness.gain_db != gain_db]
        for asset in misfits:
            regain = Regain(track_id=asset.track_id, version=asset.version, gain_db=gain_db)
            await broker.publish(regain.job_id, regain.track_id, regain.to_json())
        if misfits:
            log.info("album.changed", gain_db=gain_db, tracks=len(found), to_make=len(misfits))
        if track_id not in [asset.track_id for asset in found]:
            await _leave(track_id, album, storage, locks)


async def _leave(track_id: str, album: str, storage: Storage, locks: Locks) -> None:
    """Not before its other tracks were asked for: until then the marks tell whoever comes next to do it."""
    async with pointer_held(locks, track_id):
        live = await live_asset(storage, track_id)
        if live is None or album_of(live) != album:
            await strike(storage, track_id, album)


def _gain_db(found: tuple[Asset, ...]) -> float:
    return album_gain(merged(map(share_in, found))).gain_db
