"""Storage in a folder.

An object is written aside and renamed into its place, so a reader sees the old one or the new one; its bytes
and its name are on the disk before `put` returns. A deleted folder goes in one rename too. What is aside lies
in one hidden folder, so that sweeping after a crash costs what was left over, not what is stored.
Every path is walked from the root without following a link: a link in the folder leads nowhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

from media_server.errors import Unavailable
from media_server.storage.base import ANY_BYTES, Keys, key_parts, object_not_found, parts_of

P = ParamSpec("P")
Result = TypeVar("Result")

ASIDE = ".unfinished"
"""Holds what is being written or removed; no part of a key starts with a dot."""

WRITERS = 3
"""Writes at a time: they wait for the disk in the threads that listeners' reads need too."""

LEAST_FREE_BYTES = 64 * 2**20
"""Below this the storage says that it is full: a segment of every rendition, many times over."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# NONBLOCK: a pipe that somebody put there must not hold the thread
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

_NO_SUCH_PLACE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class LocalStorage:
    """Objects as files below `root`."""

    def __init__(self, root: Path) -> None:
        with _translated():
            (root / ASIDE).mkdir(parents=True, exist_ok=True)
        self._root = root.resolve()
        self._writing = asyncio.Semaphore(WRITERS)

    async def put(self, key: str, data: bytes, *, media_type: str, cache_control: str = "") -> None:  # noqa: ARG002 - the port's
        parts = key_parts(key)
        async with self._writing:
            await _to_the_end(self._put, parts, data)

    async def put_file(
        self,
        key: str,
        path: Path,
        *,
        media_type: str = ANY_BYTES,  # noqa: ARG002 - the port's
        cache_control: str = "",  # noqa: ARG002 - the port's
    ) -> None:
        parts = key_parts(key)
        async with self._writing:
            await _to_the_end(self._put_file, parts, path)

    async def get(self, key: str) -> bytes:
        return await asyncio.to_thread(self._get, key_parts(key))

    async def read(self, key: str, start: int, stop: int) -> bytes:
        return await asyncio.to_thread(self._get, key_parts(key), start, stop)

    async def get_file(self, key: str, path: Path) -> None:
        await asyncio.to_thread(self._get_file, key_parts(key), path)

    async def move(self, key: str, to: str) -> None:
        source, target = key_parts(key), key_parts(to)
        async with self._writing:
            await _to_the_end(self._move, source, target)

    async def list(self, prefix: str) -> Keys:
        return await asyncio.to_thread(self._list, parts_of(prefix))

    async def delete(self, prefix: str) -> int:
        remove = self._delete_folder if prefix.endswith("/") else self._delete_object
        parts = parts_of(prefix)
        async with self._writing:
            return await _to_the_end(remove, parts)

    async def check(self) -> None:
        await asyncio.to_thread(self._check)

    def sweep(self) -> int:
        """Remove what killed writers left; how many pieces they were. Only while nobody writes."""
        with _translated():
            left = list((self._root / ASIDE).iterdir())
            for path in left:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        return len(left)

    def _put(self, parts: tuple[str, ...], data: bytes) -> None:
        aside = f"{ASIDE}/{uuid.uuid4().hex}"
        with _translated(), self._folder(()) as root, self._folder(parts[:-1], make=True) as folder:
            try:
                with open(os.open(aside, _CREATE, 0o644, dir_fd=root), "wb") as file:  # noqa: PTH123 - a descriptor
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(aside, parts[-1], src_dir_fd=root, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(aside, dir_fd=root)
                raise
            os.fsync(folder)

    def _put_file(self, parts: tuple[str, ...], path: Path) -> None:
        """Rename where both lie on one disk, else copy; the bytes are on the disk before the name is."""
        with _translated(), self._folder(parts[:-1], make=True) as folder, path.open("rb") as file:
            os.fsync(file.fileno())
            try:
                os.rename(path, parts[-1], dst_dir_fd=folder)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                self._put(parts, file.read())
            os.fsync(folder)

    def _move(self, source: tuple[str, ...], target: tuple[str, ...]) -> None:
        with _translated(), _found(), self._folder(source[:-1]) as old:
            if not _is_file(old, source[-1]):
                raise object_not_found()
            with self._folder(target[:-1], make=True) as new:
                os.rename(source[-1], target[-1], src_dir_fd=old, dst_dir_fd=new)
                os.fsync(new)
            os.fsync(old)

    def _get(self, parts: tuple[str, ...], start: int = 0, stop: int | None = None) -> bytes:
        with _translated(), _found():
            with self._folder(parts[:-1]) as folder:
                descriptor = os.open(parts[-1], _READ, dir_fd=folder)
            return _read(descriptor, start, stop)

    def _get_file(self, parts: tuple[str, ...], path: Path) -> None:
        with _translated(), _found(), self._folder(parts[:-1]) as folder:
            if not _is_file(folder, parts[-1]):
                raise object_not_found()
            try:
                os.link(parts[-1], path, src_dir_fd=folder, follow_symlinks=False)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                with path.open("xb") as copy, open(os.open(parts[-1], _READ, dir_fd=folder), "rb") as file:  # noqa: PTH123 - a descriptor
                    shutil.copyfileobj(file, copy)

    def _list(self, parts: tuple[str, ...]) -> Keys:
        with _translated():
            return sorted(
                "/".join((*parts, *below, name)) for below, names in self._files(parts) for name in names
            )

    def _delete_object(self, parts: tuple[str, ...]) -> int:
        with _translated():
            try:
                with self._folder(parts[:-1]) as folder:
                    if not _is_file(folder, parts[-1]):
                        return 0
                    os.unlink(parts[-1], dir_fd=folder)
                    os.fsync(folder)
            except (FileNotFoundError, NotADirectoryError):
                return 0
        return 1

    def _delete_folder(self, parts: tuple[str, ...]) -> int:
        aside = f"{ASIDE}/{uuid.uuid4().hex}"
        with _translated(), self._folder(()) as root:
            count = sum(len(names) for _, names in self._files(parts))
            try:
                with self._folder(parts), self._folder(parts[:-1]) as above:
                    os.rename(parts[-1], aside, src_dir_fd=above, dst_dir_fd=root)
                    os.fsync(above)
            except (FileNotFoundError, NotADirectoryError):
                return 0
            # what a writer adds at this very moment stays aside until the next sweep
            shutil.rmtree(aside, ignore_errors=True, dir_fd=root)
        return count

    def _check(self) -> None:
        with _translated():
            room = os.statvfs(self._root)
        if room.f_flag & os.ST_RDONLY or not os.access(self._root / ASIDE, os.W_OK | os.X_OK):
            raise Unavailable("storage", "the storage folder cannot be written to")
        free_bytes = room.f_bavail * room.f_frsize
        if free_bytes < LEAST_FREE_BYTES:
            raise Unavailable(
                "storage_full", f"the storage has {free_bytes} bytes free, {LEAST_FREE_BYTES} are needed"
            )

    @contextlib.contextmanager
    def _folder(self, parts: tuple[str, ...], *, make: bool = False) -> Iterator[int]:
        """A descriptor of a folder below the root."""
        with contextlib.ExitStack() as opened:
            folder = os.open(self._root, _FOLDER)
            opened.callback(os.close, folder)
            for part in parts:
                folder = _make_and_open(folder, part) if make else os.open(part, _FOLDER, dir_fd=folder)
                opened.callback(os.close, folder)
            yield folder

    def _files(self, parts: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Keys]]:
        """Every folder below `parts`, as the parts that lead there, and its objects' names."""
        try:
            with self._folder(parts) as folder:
                for path, _, names, descriptor in os.fwalk(".", dir_fd=folder, follow_symlinks=False):
                    yield Path(path).parts, [name for name in names if _is_file(descriptor, name)]
        except (FileNotFoundError, NotADirectoryError):
            return


def _make_and_open(above: int, name: str) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=above)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, dir_fd=above)
        os.fsync(above)  # the new folder's name must last as long as what will lie in it
        return os.open(name, _FOLDER, dir_fd=above)


def _read(descriptor: int, start: int, stop: int | None) -> bytes:
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise object_not_found()
        with open(descriptor, "rb", closefd=False) as file:
            file.seek(start)
            return file.read(-1 if stop is None else stop - start)
    finally:
        os.close(descriptor)


def _is_file(folder: int, name: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


async def _to_the_end(work: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
    """In a thread. A thread cannot be stopped: a caller that is cancelled waits until it has ended."""
    working = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait({working})
        working.exception()
        raise


@contextlib.contextmanager
def _found() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SUCH_PLACE:
            raise object_not_found() from None
        raise


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        code = "storage_full" if error.errno in _FULL else "storage"
        raise Unavailable(code, f"the storage folder refuses: {error.strerror}") from error
