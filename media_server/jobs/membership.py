"""Which tracks may be in an album, and which albums a track may be in: an index, never the truth.

The truth is `asset.json`: it alone says whether a track is in an album, and with which gain. Both marks are
written before a pointer that makes them true and removed after one that does not, so that whatever dies in
between leaves a mark too many, which costs a read, and never one too few.

An album is its owner's: the same `album_id` of another user is another album (reliability I6).
"""

from __future__ import annotations

import hashlib

import orjson

from hls.asset import Asset
from media_server.storage.base import Storage


def album_key(user_id: str | None, album_id: str) -> str:
    """The name of a user's album among all albums; tracks of nobody have one owner together."""
    return hashlib.sha256(orjson.dumps([user_id, album_id])).hexdigest()


def album_of(asset: Asset) -> str | None:
    """The album whose gain the track has; None for one that goes by itself."""
    if asset.album_id is None or asset.loudness.album is None:
        return None
    return album_key(asset.user_id, asset.album_id)


async def enrol(storage: Storage, asset: Asset) -> None:
    """Mark the track as one of its album; for whoever is about to write the pointer."""
    album = album_of(asset)
    if album is not None:
        for key in _marks(asset.track_id, album):
            await storage.put(key, b"{}", media_type="application/json", cache_control="no-store")


async def strike(storage: Storage, track_id: str, album: str) -> None:
    """Take the marks away; for whoever holds the track's pointer and saw that it is not in the album."""
    of_album, of_track = _marks(track_id, album)
    await storage.delete(of_album)
    await storage.delete(of_track)  # last: by it the other one is found


async def tracks_of(storage: Storage, album: str) -> tuple[str, ...]:
    """The tracks that may be in the album, by id."""
    return tuple(key.rpartition("/")[2] for key in await storage.list(f"albums/{album}/"))


async def albums_of(storage: Storage, track_id: str) -> tuple[str, ...]:
    """The albums that the track may be in."""
    return tuple(key.rpartition("/")[2] for key in await storage.list(f"memberships/{track_id}/"))


def _marks(track_id: str, album: str) -> tuple[str, str]:
    return f"albums/{album}/{track_id}", f"memberships/{track_id}/{album}"
