"""Brings a job's source to the one local file that its child may open."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from media_server.errors import BadRequest, Denied, LimitExceeded, NotFound, Unavailable
from media_server.jobs.submission import Submission, Upload
from media_server.settings import Settings
from media_server.storage.assets import original_key, upload_key
from media_server.storage.base import Storage

if TYPE_CHECKING:
    from media_server.storage.sources import S3Sources

LOCAL_NAME = "src.bin"
"""Our own name, never the user's, alone in its folder."""

COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The local copy of a source; the hash is of exactly the bytes that are processed."""

    path: Path
    sha256: str
    size_bytes: int


async def fetch(
    submission: Submission,
    into: Path,
    storage: Storage,
    settings: Settings,
    sources: S3Sources | None = None,
) -> Fetched:
    """Put the source into the folder `into` as `src.bin`.

    Args:
        sources: the buckets that a source may lie in; None where SOURCE_BUCKETS names none.

    Raises:
        BadRequest: `bad_job`, no source that is understood.
        Denied: `source_forbidden`, not on an allow-list or outside UPLOAD_DIR.
        NotFound: `source_not_found`.
        LimitExceeded: `too_large`.
        Unavailable: `disk`, the local disk refuses; `storage`, S3 is out of reach.
    """
    if submission.upload:
        return await _bring_upload(submission.upload, into, storage)
    source = submission.request.source
    if source.kind == "path":
        assert source.path is not None
        return await asyncio.to_thread(_copy_path, source.path, into, settings)
    if source.kind == "none":
        raise BadRequest("bad_job", "source needs exactly one of bucket and key, path, or url")
    if source.kind == "object" and sources is not None:
        assert source.bucket is not None
        assert source.key is not None
        return await _download(sources, source.bucket, source.key, into, settings.max_source_bytes)
    setting = "SOURCE_BUCKETS" if source.kind == "object" else "SOURCE_URL_HOSTS"
    raise Denied("source_forbidden", f"the source is an {source.kind}, and {setting} allows none")


async def keep_source(upload: Upload | None, track_id: str, storage: Storage) -> None:
    """The original of an upload stays as the track's one source; the one it replaces goes."""
    if upload is not None:
        with contextlib.suppress(NotFound):  # it was kept before
            await storage.move(upload_key(upload.name), original_key(track_id))


async def _bring_upload(upload: Upload, into: Path, storage: Storage) -> Fetched:
    target = into / LOCAL_NAME
    try:
        await asyncio.to_thread(make_room, target)
        await storage.get_file(upload_key(upload.name), target)
    except NotFound:
        raise NotFound("source_not_found", "the uploaded file is gone") from None
    except OSError as error:
        raise Unavailable("disk", f"the upload cannot be brought here: {error.strerror}") from error
    return Fetched(path=target, sha256=upload.sha256, size_bytes=upload.size_bytes)


async def _download(sources: S3Sources, bucket: str, key: str, into: Path, limit: int) -> Fetched:
    target = into / LOCAL_NAME
    try:
        await asyncio.to_thread(make_room, target)
    except OSError as error:
        raise Unavailable("disk", f"the source cannot be brought here: {error.strerror}") from error
    sha256, size_bytes = await sources.download(bucket, key, target, limit)
    return Fetched(path=target, sha256=sha256, size_bytes=size_bytes)


def make_room(target: Path) -> None:
    """Nothing lies there, and something can."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)


def _copy_path(name: str, into: Path, settings: Settings) -> Fetched:
    """A copy, so that the file processed is the file hashed, whoever replaces the original meanwhile."""
    if settings.upload_dir is None:
        raise Denied("source_forbidden", "the source is a path, and UPLOAD_DIR allows none")
    root = settings.upload_dir.resolve()
    try:
        path = (root / name).resolve()
    except (ValueError, RuntimeError):  # a NUL in the name, links that lead in a circle
        raise BadRequest("bad_job", "the source's path leads nowhere") from None
    if not path.is_relative_to(root) or path == root:
        raise Denied("source_forbidden", "the source's path leads out of UPLOAD_DIR")
    try:
        # O_NONBLOCK: opening a pipe must not wait for its writer
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound("source_not_found", "there is no such file in UPLOAD_DIR") from None
    except OSError as error:
        raise Denied("source_forbidden", f"the source cannot be opened: {error.strerror}") from error
    try:
        return _copy(descriptor, into, settings.max_source_bytes)
    finally:
        os.close(descriptor)


def _copy(descriptor: int, into: Path, limit: int) -> Fetched:
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode):
        raise BadRequest("bad_job", "the source is not a regular file")
    if about.st_size > limit:
        limits = {"MAX_SOURCE_BYTES": float(limit)}
        raise LimitExceeded("too_large", f"the source has {about.st_size} bytes, at most {limit}", limits)
    target = into / LOCAL_NAME
    digest, size = hashlib.sha256(), 0
    try:
        into.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as out:
            # a file that grows while it is read ends where it was allowed to
            while size < about.st_size and (piece := os.read(descriptor, COPY_BYTES)):
                digest.update(piece)
                size += len(piece)
                out.write(piece)
    except OSError as error:
        raise Unavailable("disk", f"the source cannot be copied: {error.strerror}") from error
    return Fetched(path=target, sha256=digest.hexdigest(), size_bytes=size)
