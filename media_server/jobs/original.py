"""Brings the source of a track that is live once more: from where it was found, or as it was uploaded."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from hls.asset import Asset
from media_server.errors import Conflict, NotFound, Unavailable
from media_server.jobs.fetch import LOCAL_NAME, fetch, make_room
from media_server.jobs.job import JobRequest, Source
from media_server.jobs.submission import Submission
from media_server.settings import Settings
from media_server.storage.assets import original_key
from media_server.storage.base import Storage

if TYPE_CHECKING:
    from media_server.storage.sources import S3Sources


def place_of(asset: Asset) -> Source:
    """Where its source was found; of kind `none` if it was uploaded, and is kept."""
    if asset.source is None:
        return Source()
    return Source(bucket=asset.source.bucket, key=asset.source.key, path=asset.source.path)


async def bring(
    asset: Asset, into: Path, storage: Storage, settings: Settings, sources: S3Sources | None = None
) -> Path:
    """Put the source into the folder `into`, and make sure that it is still the one the track was made of.

    Raises:
        NotFound: `source_not_found`.
        Conflict: `source_changed`.
        Unavailable: `disk`; as `fetch`.
    """
    where = place_of(asset)
    if where.kind != "none":
        request = JobRequest(track_id=asset.track_id, source=where)
        submission = Submission(request=request, accepted_at=asset.order)
        fetched = await fetch(submission, into, storage, settings, sources)
        path, sha256 = fetched.path, fetched.sha256
    else:
        path = into / LOCAL_NAME
        try:
            await asyncio.to_thread(make_room, path)
            await storage.get_file(original_key(asset.track_id), path)
            sha256 = await asyncio.to_thread(_sha256, path)
        except NotFound:
            raise NotFound("source_not_found", "the track's original is not kept any more") from None
        except OSError as error:
            raise Unavailable("disk", f"the original cannot be brought here: {error.strerror}") from error
    if sha256 != asset.source_sha256:
        raise Conflict("source_changed", "the original is not the one that the track was made of")
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
