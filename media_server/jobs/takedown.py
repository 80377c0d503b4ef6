"""Taking a track down.

Owns: that nothing of it is left: its place in the list, its pointer, its files, the original that was
uploaded, what is in memory; and that nothing older than the deletion comes back. Whoever holds the track's
lease is at work on it and removes its own files when it meets the tombstone.
"""

from __future__ import annotations

import contextlib
from typing import Final

import structlog

from media_server.broker.base import Broker
from media_server.errors import Unavailable
from media_server.jobs.albums import settle
from media_server.jobs.amendments import amendments_key
from media_server.jobs.job import now_rfc3339
from media_server.jobs.pointer import pointer_held
from media_server.jobs.publish import live_asset
from media_server.jobs.tombstone import bury_track
from media_server.state.base import State
from media_server.storage.assets import Assets, asset_key, original_key, track_prefix
from media_server.storage.base import Storage

log = structlog.get_logger()

LEASE_S: Final = 60.0
"""For the removal of some thousand objects."""


async def take_down(
    track_id: str,
    *,
    storage: Storage,
    state: State,
    broker: Broker,
    assets: Assets,
    deleted_at: str | None = None,
) -> bool:
    """Remove everything of a track; False if it stays, for its upload is newer than the deletion.

    One that is not there is as good as removed.

    Args:
        deleted_at: RFC 3339 in UTC; None is now, whatever clock the track's upload was told by.
    Raises:
        Unavailable: something could not be removed; ask again.
    """
    # what waits to be made of it must not bring it back
    await broker.withdraw(track_id)
    async with pointer_held(state, track_id):
        live = await live_asset(storage, track_id)
        at = deleted_at or max(now_rfc3339(), live.order if live else "")
        await bury_track(storage, track_id, at)
        if live is not None and live.order > at:
            return False
        # the list first: it must never name what cannot be played
        await state.forget_track(track_id)
        await storage.delete(asset_key(track_id))
    assets.drop(track_id)
    await settle(track_id, storage=storage, broker=broker, locks=state)
    removed = await _remove_files(track_id, storage, state)
    assets.drop(track_id)
    log.info("track.deleted", track_id=track_id, objects=removed)
    return True


async def remove_leftovers(storage: Storage, track_id: str) -> int:
    """Everything below the track's prefix, its original and what was changed of it.

    For whoever holds the track's lease.
    """
    removed = await storage.delete(track_prefix(track_id))
    removed += await storage.delete(original_key(track_id))
    return removed + await storage.delete(amendments_key(track_id))


async def _remove_files(track_id: str, storage: Storage, state: State) -> int:
    name = f"track:{track_id}"
    fence = await state.acquire(name, LEASE_S)
    if fence is None:
        return 0  # a job is at work on it
    try:
        return await remove_leftovers(storage, track_id)
    finally:
        with contextlib.suppress(Unavailable):  # it runs out
            await state.release(name, fence)
