"""The parent's part in making whole files of a track: pieces in, a file of the attempt's folder out.

The child that reads hostile sources writes none itself; what it says of places and sizes is checked here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from hls.asset import Asset, AssetDownload
from hls.stored import StoredFile
from media_server.errors import LimitExceeded, Unavailable
from media_server.jobs.events import FileMade, PieceMade


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFile:
    """A whole file that waits to be stored: where it lies, and what is known of its bytes."""

    path: Path
    size_bytes: int
    sha256: str


class Downloads:
    """The files of one attempt, one after the other. Its calls read and write the disk.

    Args:
        folder: the attempt's, which whoever made it removes.
        max_bytes: of one file.
    Raises:
        Unavailable: `child_protocol`, what the child says does not fit together; `disk`.
        LimitExceeded: `too_large`.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._sizes: dict[str, int] = {}

    def write(self, event: PieceMade, payload: bytes) -> None:
        """Put a piece where it belongs: inside what is there, or at its end."""
        size = self._sizes.get(event.output, 0)
        if event.offset > size:
            raise Unavailable(
                "child_protocol", f"a piece of {event.output} lies at {event.offset}, the file ends at {size}"
            )
        end = event.offset + len(payload)
        if end > self._max_bytes:
            limits = {"MAX_SOURCE_BYTES": float(self._max_bytes)}
            raise LimitExceeded(
                "too_large", f"{event.output} takes {end} bytes, at most {self._max_bytes}", limits
            )
        try:
            with self._path(event.output).open("r+b" if size else "wb") as file:
                file.seek(event.offset)
                file.write(payload)
        except OSError as error:
            raise Unavailable("disk", f"{event.output} cannot be written: {error.strerror}") from error
        self._sizes[event.output] = max(size, end)

    def finish(self, event: FileMade) -> LocalFile:
        """What became of a file's pieces."""
        size = self._sizes.pop(event.output, 0)
        if not size:
            raise Unavailable("child_protocol", f"{event.output} was made of no piece")
        path = self._path(event.output)
        try:
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise Unavailable("disk", f"{event.output} cannot be read: {error.strerror}") from error
        return LocalFile(path=path, size_bytes=size, sha256=sha256)

    def _path(self, output: str) -> Path:
        return self._folder / f"{output}.made"


def download_of(event: FileMade, made: LocalFile) -> AssetDownload:
    """How a whole file is listed; its name carries its content's hash."""
    return AssetDownload(
        name=event.output,
        format=event.format.value,
        bitrate_bps=event.bitrate_bps,
        rate_hz=event.rate_hz,
        channels=event.channels,
        file=StoredFile(
            name=f"{event.output}-{made.sha256[:8]}.{event.format}",
            bytes=made.size_bytes,
            sha256=made.sha256,
            media_type=event.format.media_type,
        ),
    )


def words_of(asset: Asset) -> dict[str, str]:
    """The tags of its files: the source's, with the title and the artist that it has now."""
    called = {"title": asset.title, "artist": asset.artist}
    kept = {name: text for name, text in asset.tags.items() if name not in called}
    return kept | {name: text for name, text in called.items() if text}
