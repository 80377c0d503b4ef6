"""The storage in a folder, where it meets the disk: durability, crashes, links, a disk that is full."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import stat
import threading
from pathlib import Path

import pytest

from media_server.errors import NotFound, Unavailable
from media_server.storage.local import ASIDE, LocalStorage

KEY = "tracks/a/v1/128k/0-12345678.m4s"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "storage"


@pytest.fixture
def storage(root: Path) -> LocalStorage:
    return LocalStorage(root)


async def put(storage: LocalStorage, key: str, data: bytes = b"data") -> None:
    await storage.put(key, data, media_type="application/octet-stream")


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def pieces_aside(root: Path) -> int:
    return len(list((root / ASIDE).iterdir()))


async def test_an_object_is_a_file_under_its_key(storage: LocalStorage, root: Path) -> None:
    await put(storage, KEY, b"segment")
    assert (root / KEY).read_bytes() == b"segment"
    assert pieces_aside(root) == 0


async def test_what_was_stored_is_there_after_a_restart(storage: LocalStorage, root: Path) -> None:
    await put(storage, KEY)
    again = LocalStorage(root)
    assert again.sweep() == 0
    assert await again.get(KEY) == b"data"


@pytest.fixture
def steps(root: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was synced, by its path below the root, and what was renamed or removed, in order."""
    done: list[str] = []
    fsync, rename, unlink = os.fsync, os.rename, os.unlink

    def synced(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        kind = "file" if stat.S_ISREG(os.fstat(descriptor).st_mode) else path.relative_to(root).as_posix()
        done.append(f"sync {kind}")
        fsync(descriptor)

    def renamed(*args: str, **kwargs: int) -> None:
        done.append("rename")
        rename(*args, **kwargs)

    def unlinked(*args: str, **kwargs: int) -> None:
        done.append("unlink")
        unlink(*args, **kwargs)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    monkeypatch.setattr(os, "unlink", unlinked)
    return done


async def test_bytes_and_name_are_on_the_disk_before_put_returns(
    storage: LocalStorage, steps: list[str]
) -> None:
    """The file before the rename, its folder after it, and above it each folder that is new."""
    await put(storage, "tracks/a/asset.json")
    assert steps == ["sync .", "sync tracks", "sync file", "rename", "sync tracks/a"]
    steps.clear()
    await put(storage, "tracks/a/asset.json")
    assert steps == ["sync file", "rename", "sync tracks/a"]


async def test_what_was_deleted_does_not_come_back(storage: LocalStorage, steps: list[str]) -> None:
    """A take-down outlives a power cut."""
    await put(storage, "tracks/a/asset.json")
    await put(storage, "tracks/a/v1/0")
    steps.clear()
    await storage.delete("tracks/a/asset.json")
    assert steps == ["unlink", "sync tracks/a"]
    steps.clear()
    await storage.delete("tracks/a/")
    assert steps[:2] == ["rename", "sync tracks"]


async def test_what_a_killed_writer_left_is_no_object_and_is_swept(storage: LocalStorage, root: Path) -> None:
    """F1: temp files removed on next start."""
    await put(storage, KEY)
    (root / ASIDE / "half").write_bytes(b"half")
    (root / ASIDE / "removed" / "v1").mkdir(parents=True)
    (root / ASIDE / "removed" / "v1" / "0").write_bytes(b"removed")
    (root / ASIDE / "link").symlink_to(root / "tracks")
    for key in (f"{ASIDE}/half", f"{ASIDE}/removed/v1/0"):
        with pytest.raises(NotFound):
            await storage.get(key)
    assert storage.sweep() == 3
    assert pieces_aside(root) == 0
    assert await storage.get(KEY) == b"data"


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOSPC, "storage_full"), (errno.EDQUOT, "storage_full"), (errno.EIO, "storage")],
)
async def test_a_disk_that_refuses_leaves_what_was_there(
    storage: LocalStorage, root: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    """F16: no half manifest."""
    await put(storage, KEY, b"before")

    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as refusing:
        refusing.setattr(os, "fsync", refuse)
        with pytest.raises(Unavailable) as caught:
            await put(storage, KEY, b"after")
    assert caught.value.code == code
    assert await storage.get(KEY) == b"before"
    assert pieces_aside(root) == 0
    await put(storage, KEY, b"after")
    assert await storage.get(KEY) == b"after"


async def test_a_disk_that_cannot_be_read_is_a_service_that_is_down(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(storage, KEY)

    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as refusing:
        refusing.setattr(os, "open", refuse)
        with pytest.raises(Unavailable) as caught:
            await storage.get(KEY)
    assert caught.value.code == "storage"


async def test_a_cancelled_put_has_ended_when_it_raises(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that lost its lease must not replace the pointer later."""
    fsync, begun, go_on = os.fsync, threading.Event(), threading.Event()

    def slow(descriptor: int) -> None:
        begun.set()
        go_on.wait(10)
        fsync(descriptor)

    await put(storage, KEY, b"before")
    monkeypatch.setattr(os, "fsync", slow)
    putting = asyncio.create_task(put(storage, KEY, b"after"))
    await asyncio.to_thread(begun.wait, 10)
    putting.cancel()
    await asyncio.wait({putting}, timeout=0.02)
    assert not putting.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert await storage.get(KEY) == b"after"


async def test_writers_leave_threads_to_readers(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow disk holds as many threads as there may be writers, not those that listeners need."""
    fsync, go_on = os.fsync, threading.Event()
    await put(storage, KEY)

    def slow(descriptor: int) -> None:
        go_on.wait(10)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    writers = [asyncio.create_task(put(storage, f"a/{number}")) for number in range(100)]
    for _ in range(10):  # each writer goes as far as it may
        await asyncio.sleep(0)
    assert await asyncio.wait_for(storage.get(KEY), 5) == b"data"
    assert not any(writer.done() for writer in writers)
    go_on.set()
    await asyncio.gather(*writers)


async def test_a_folder_goes_at_once(
    storage: LocalStorage, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I3: there is no instant at which the pointer is there and a segment is not."""
    await put(storage, "tracks/a/asset.json")
    await put(storage, "tracks/a/v1/0")
    rmtree, there = shutil.rmtree, []

    def look_first(*args: object, **kwargs: object) -> None:
        there.append((root / "tracks/a").exists())
        rmtree(*args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(shutil, "rmtree", look_first)
    assert await storage.delete("tracks/a/") == 2
    assert there == [False]
    assert pieces_aside(root) == 0


async def test_a_link_leads_nowhere(storage: LocalStorage, root: Path, tmp_path: Path) -> None:
    """Resolved path must stay under root; a link inside would lead out of it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (root / "tracks").mkdir()
    (root / "tracks/folder").symlink_to(outside)
    (root / "tracks/file").symlink_to(outside / "secret")
    for key in ("tracks/folder/secret", "tracks/file"):
        with pytest.raises(NotFound):
            await storage.get(key)
    assert await storage.list("tracks/") == []
    assert await storage.list("tracks/folder/") == []
    assert await storage.delete("tracks/folder/") == 0
    assert await storage.delete("tracks/folder/secret") == 0
    assert await storage.delete("tracks/file") == 0
    with pytest.raises(Unavailable):
        await put(storage, "tracks/folder/new")
    await put(storage, "tracks/file", b"ours")  # takes the link's place
    assert await storage.delete("tracks/") == 1
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == {"secret": b"secret"}


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder"])
async def test_what_is_no_file_is_no_object(storage: LocalStorage, root: Path, kind: str) -> None:
    """Bad inputs 54: never blocks."""
    (root / "tracks").mkdir()
    if kind == "pipe":
        os.mkfifo(root / "tracks/odd")
    elif kind == "socket":
        os.mknod(root / "tracks/odd", stat.S_IFSOCK | 0o600)
    else:
        (root / "tracks/odd").mkdir()
    with pytest.raises(NotFound):
        await asyncio.wait_for(storage.get("tracks/odd"), 5)
    assert await storage.list("tracks/") == []
    assert await storage.delete("tracks/odd") == 0


async def test_no_call_leaves_a_descriptor_open(storage: LocalStorage, root: Path) -> None:
    async def every_call() -> None:
        await put(storage, KEY)
        await storage.get(KEY)
        for key in ("tracks/a", "tracks/nobody", f"{KEY}/below"):
            with pytest.raises(NotFound):
                await storage.get(key)
        with pytest.raises(Unavailable):
            await put(storage, f"{KEY}/below")
        await storage.list("tracks/")
        await storage.delete("tracks/a/")
        await storage.delete("tracks/a/")
        await storage.delete(KEY)

    await every_call()
    before = open_descriptors()
    for _ in range(5):
        await every_call()
    assert open_descriptors() == before


async def test_a_root_that_is_gone_is_a_service_that_is_down(storage: LocalStorage, root: Path) -> None:
    shutil.rmtree(root)
    with pytest.raises(Unavailable):
        await storage.check()
    with pytest.raises(Unavailable):
        await put(storage, KEY)


def test_a_root_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable):
        LocalStorage(tmp_path / "file")


async def test_a_disk_that_is_nearly_full_is_not_ready(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = os.statvfs("/")
    fields = list(room)
    fields[4] = 1  # f_bavail
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result(fields))
    with pytest.raises(Unavailable) as caught:
        await storage.check()
    assert caught.value.code == "storage_full"


async def test_a_read_only_disk_is_not_ready(storage: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = list(os.statvfs("/"))
    fields[8] |= os.ST_RDONLY  # f_flag
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result(fields))
    with pytest.raises(Unavailable) as caught:
        await storage.check()
    assert caught.value.code == "storage"
