"""Reads published tracks for listeners: the asset for a moment from memory, its files through the cache.

Owns the keys of a track: the pointer `tracks/{track_id}/asset.json` and the immutable files below
`tracks/{track_id}/{version}/`.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

from hls.asset import Asset
from media_server.errors import NotFound, Unavailable
from media_server.storage.base import Storage
from media_server.storage.cache import ByteCache, SharedReads

TTL_S = 2.0
"""A change that another process makes is seen within this time; the contract allows 5 s."""

READ_WITHIN_S = 2.0
STALE_S = 300.0
"""How long a track is served as last seen while the storage is away: no change can be stored there either."""

MAX_ASSETS = 512
"""Assets in memory: some 100 kB each for a song."""


def track_prefix(track_id: str) -> str:
    """Below it lies everything of a track."""
    return f"tracks/{track_id}/"


def asset_key(track_id: str) -> str:
    """The pointer to the track's live version."""
    return f"{track_prefix(track_id)}asset.json"


def version_prefix(track_id: str, version: str) -> str:
    """Below it lie the files of one version, which never change."""
    return f"{track_prefix(track_id)}{version}/"


def downloads_prefix(track_id: str, version: str) -> str:
    """The folder of a version's whole files."""
    return f"{version_prefix(track_id, version)}downloads/"


def download_key(track_id: str, version: str, name: str) -> str:
    """A version as one file."""
    return downloads_prefix(track_id, version) + name


def upload_key(name: str) -> str:
    """A file that came with a job which has not ended."""
    return f"uploads/{name}"


def original_key(track_id: str) -> str:
    """The file that a track was made of, if it was uploaded here: the server may be its only keeper."""
    return f"sources/{track_id}"


class Assets:
    """The published tracks of one storage. Ids are validated by who asks."""

    def __init__(
        self,
        storage: Storage,
        cache: ByteCache,
        ttl_s: float = TTL_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._storage = storage
        self._cache = cache
        self._ttl_s = ttl_s
        self._now = now
        self._known: OrderedDict[str, tuple[float, Asset]] = OrderedDict()
        self._reads = SharedReads(self._read, self._keep)

    async def asset(self, track_id: str) -> Asset:
        """The live asset, as it was at most `ttl_s` ago, or STALE_S while the storage is out of reach.

        Raises:
            NotFound: `track_not_found`.
            Unavailable: the storage is out of reach, and the track was not seen lately.
        """
        known = self._known.get(track_id)
        if known is not None and self._now() - known[0] < self._ttl_s:
            return known[1]
        if known is None or self._now() - known[0] >= STALE_S:
            _, asset = await self._reads.get(track_id)
            return asset
        try:
            async with asyncio.timeout(READ_WITHIN_S):
                _, asset = await self._reads.get(track_id)
        except (TimeoutError, Unavailable):
            return known[1]
        except NotFound:
            self._known.pop(track_id, None)  # not to come back when the storage goes away
            raise
        return asset

    def forget(self, track_id: str) -> None:
        """Read the asset anew at the next request: this process has just changed it."""
        self._reads.drop(track_id)
        self._known.pop(track_id, None)

    def drop(self, track_id: str) -> None:
        """The track is gone: nothing of it stays in memory."""
        self.forget(track_id)
        self._cache.drop(track_prefix(track_id))

    async def file(self, track_id: str, version: str, *parts: str) -> bytes:
        """A file of a version.

        Raises:
            NotFound: `object_not_found`.
        """
        return await self._cache.get(version_prefix(track_id, version) + "/".join(parts))

    async def part(self, key: str, start: int, stop: int) -> bytes:
        """Bytes `start` up to but not including `stop` of a file too large for the cache.

        Raises:
            NotFound: `object_not_found`.
        """
        return await self._storage.read(key, start, stop)

    async def _read(self, track_id: str) -> tuple[float, Asset]:
        read_at = self._now()
        try:
            return read_at, Asset.from_json(await self._storage.get(asset_key(track_id)))
        except NotFound:
            raise NotFound("track_not_found", "there is no such track") from None

    def _keep(self, track_id: str, read: tuple[float, Asset]) -> None:
        self._known[track_id] = read
        self._known.move_to_end(track_id)
        while len(self._known) > MAX_ASSETS:
            self._known.popitem(last=False)
