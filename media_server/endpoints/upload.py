"""A file on its way in: from the body of a request to the storage.

Owns: the incoming file, how many arrive at once, and that one that does not arrive whole leaves nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from starlette.requests import Request

from media_server.endpoints.body import Body
from media_server.endpoints.multipart import MAX_FIELD_BYTES, FormReader, boundary_of
from media_server.endpoints.services import Services, services_of
from media_server.errors import BadRequest, Busy, LimitExceeded, Malformed, Unavailable
from media_server.jobs.submission import Upload
from media_server.storage.assets import upload_key
from media_server.storage.base import Storage
from pipeline.tags import clean

FIELDS: Final = ("track_id", "title", "artist", "album_id", "user_id", "visibility", "options")
FORM_BYTES: Final = (len(FIELDS) + 1) * MAX_FIELD_BYTES
"""What a form may be larger than its file."""

BATCH_BYTES: Final = 524_288
"""So much is gathered for one trip to a thread, which costs as much as writing 50 kB."""

BUSY_FOR_S: Final = 5.0

P = ParamSpec("P")
Result = TypeVar("Result")


class IncomingFile:
    """A file that is being received; synchronous, used by one thread at a time."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.size_bytes = 0
        self._path = path
        self._max_bytes = max_bytes
        self._digest = hashlib.sha256()
        with _disk_errors():
            self._file = path.open("xb", buffering=0)

    @property
    def sha256(self) -> str:
        """Of what came so far, in hex."""
        return self._digest.hexdigest()

    def write(self, data: memoryview) -> None:
        """Append.

        Raises:
            LimitExceeded: `too_large`.
            Unavailable: `disk`.
        """
        self.size_bytes += len(data)
        if self.size_bytes > self._max_bytes:
            raise too_large(self._max_bytes)
        self._digest.update(data)
        with _disk_errors():
            while data:
                data = data[self._file.write(data) :]

    @property
    def path(self) -> Path:
        """Where it lies until the request ends."""
        return self._path

    def discard(self) -> None:
        """Remove it, unless it was moved away."""
        self._file.close()
        self._path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedForm:
    """A form that arrived whole. Its file is gone with the request unless it is kept."""

    fields: Mapping[str, str]
    file_name: str
    sha256: str
    size_bytes: int
    _file: IncomingFile
    _storage: Storage

    async def keep(self, name: str) -> Upload:
        """Make the file durable, as the upload `name`."""
        await self._storage.put_file(upload_key(name), self._file.path)
        return self.upload(name)

    def upload(self, name: str) -> Upload:
        """What the job is told of the file."""
        title = title_of(self.file_name)
        return Upload(name=name, sha256=self.sha256, size_bytes=self.size_bytes, title=title)


def title_of(file_name: str) -> str | None:
    """What to call a track that nobody named: the sender's name of the file without folder and extension."""
    base = re.split(r"[/\\]", file_name)[-1]
    return clean(base.rpartition(".")[0] or base) or None


@asynccontextmanager
async def received(request: Request, body: Body) -> AsyncIterator[ReceivedForm]:
    """The form that is the request's body, for as long as the block lasts.

    Raises:
        Unsupported: `unsupported_media_type`, it is no form.
        BadRequest: `bad_form`, `no_file`, `upload_stalled`.
        Malformed: `empty`, the file has no bytes.
        LimitExceeded: `too_large`.
        Busy: `busy`, as many uploads as MAX_CONCURRENT_UPLOADS are being received.
        Unavailable: `disk`.
        ClientDisconnect: the sender has left.
    """
    services = services_of(request)
    boundary = boundary_of(request.headers.get("content-type", ""))
    max_bytes = services.settings.max_source_bytes
    if (body.length_bytes or 0) > max_bytes + FORM_BYTES:
        raise too_large(max_bytes)
    with _admitted(services):
        path = services.folders.incoming / f"{uuid.uuid4()}.part"
        file = await _in_thread(IncomingFile, path, max_bytes)
        try:
            reader = FormReader(boundary, file, FIELDS)
            await _read(body, reader, max_bytes)
            if not reader.has_file:
                raise BadRequest("no_file", "the form has no part named file")
            if not file.size_bytes:
                raise Malformed("empty", "the file is empty (0 bytes)")
            yield ReceivedForm(
                fields=reader.fields,
                file_name=reader.file_name,
                sha256=file.sha256,
                size_bytes=file.size_bytes,
                _file=file,
                _storage=services.storage,
            )
        finally:
            file.discard()


async def _read(body: Body, reader: FormReader, max_bytes: int) -> None:
    batch, read_bytes = bytearray(), 0
    async for piece in body.pieces():
        read_bytes += len(piece)
        if read_bytes > max_bytes + FORM_BYTES:
            raise too_large(max_bytes)
        batch += piece
        if len(batch) >= BATCH_BYTES:
            await _in_thread(reader.feed, bytes(batch))
            batch.clear()
    await _in_thread(reader.feed, bytes(batch))
    reader.end()


@contextmanager
def _admitted(services: Services) -> Iterator[None]:
    limit = services.settings.max_concurrent_uploads
    if services.uploads_running >= limit:
        raise Busy(
            "busy",
            f"{limit} uploads are being received already",
            limits={"MAX_CONCURRENT_UPLOADS": float(limit)},
            retry_after_s=BUSY_FOR_S,
        )
    services.uploads_running += 1
    try:
        yield
    finally:
        services.uploads_running -= 1


def too_large(max_bytes: int) -> LimitExceeded:
    """The refusal of a source over MAX_SOURCE_BYTES."""
    return LimitExceeded(
        "too_large",
        f"the file has more than {max_bytes} bytes (MAX_SOURCE_BYTES)",
        {"MAX_SOURCE_BYTES": float(max_bytes)},
    )


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable("disk", f"the file cannot be stored: {error.strerror}") from error


async def _in_thread(work: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
    """Do blocking work in a thread; whoever cancels this waits, for the thread goes on using the file."""
    working = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait({working})
        raise
