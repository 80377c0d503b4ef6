"""Are the bytes that are stored the ones that a track's `asset.json` promises?

Every file of the live version is read whole and held to its size and its SHA-256.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from hls.asset import Asset
from hls.stored import StoredFile, StoredSegment
from media_server.errors import NotFound
from media_server.storage.assets import asset_key, download_key, version_prefix
from media_server.storage.base import Storage

READ_BYTES = 4 << 20
"""In memory of one file at a time: a lossless one has hundreds of megabytes."""

READ_AT_ONCE = 8
"""Files; a bucket answers each after milliseconds, and a long track has thousands."""

Flaw = Literal["missing", "size", "hash"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A file that was read, and what is wrong with it, None for nothing; `bytes` are those that are there."""

    key: str
    bytes: int
    flaw: Flaw | None = None
    detail: str = ""


async def verify(storage: Storage, track_id: str) -> AsyncIterator[Verified]:
    """Read the files of the live version, in the order of the manifest.

    Raises:
        NotFound: `track_not_found`.
        ValueError: the manifest itself cannot be read.
        Unavailable: the storage is out of reach.
    """
    try:
        asset = Asset.from_json(await storage.get(asset_key(track_id)))
    except NotFound:
        raise NotFound("track_not_found", "there is no such track") from None
    files = promised(asset)
    while batch := list(islice(files, READ_AT_ONCE)):
        for verified in await asyncio.gather(*(_read(storage, key, file) for key, file in batch)):
            yield verified


def promised(asset: Asset) -> Iterator[tuple[str, StoredFile | StoredSegment]]:
    """Every file that the manifest names, with its key."""
    prefix = version_prefix(asset.track_id, asset.version)
    for rendition in asset.renditions:
        folder = f"{prefix}{rendition.name}/"
        yield folder + rendition.init.name, rendition.init
        for segment in rendition.segments:
            yield folder + segment.name, segment
    for drawn in (asset.waveform, asset.cover):
        if drawn is not None:
            yield prefix + drawn.name, drawn
    for download in asset.downloads:
        yield download_key(asset.track_id, asset.version, download.file.name), download.file


async def _read(storage: Storage, key: str, file: StoredFile | StoredSegment) -> Verified:
    digest, there = hashlib.sha256(), 0
    try:
        while data := await storage.read(key, there, there + READ_BYTES):
            await asyncio.to_thread(digest.update, data)
            there += len(data)
            if len(data) < READ_BYTES:
                break
    except NotFound:
        return Verified(key=key, bytes=0, flaw="missing", detail="it is not stored")
    if there != file.bytes:
        detail = f"it has {there} bytes, the manifest says {file.bytes}"
        return Verified(key=key, bytes=there, flaw="size", detail=detail)
    if digest.hexdigest() != file.sha256:
        detail = f"its SHA-256 is {digest.hexdigest()}, the manifest says {file.sha256}"
        return Verified(key=key, bytes=there, flaw="hash", detail=detail)
    return Verified(key=key, bytes=there)
