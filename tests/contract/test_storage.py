"""The storage port: one suite over every adapter."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from servers.buckets import emptied, shared_client
from servers.s3 import NotInstalledError, shared_s3

from media_server.errors import NotFound
from media_server.storage.base import Storage
from media_server.storage.local import LocalStorage
from media_server.storage.memory import MemoryStorage
from media_server.storage.s3 import S3Storage

BUCKET = "contract"


@asynccontextmanager
async def memory() -> AsyncIterator[Storage]:
    yield MemoryStorage()


@asynccontextmanager
async def local() -> AsyncIterator[Storage]:
    with tempfile.TemporaryDirectory() as folder:
        yield LocalStorage(Path(folder) / "storage")


@asynccontextmanager
async def s3() -> AsyncIterator[Storage]:
    """A bucket of this suite, empty."""
    yield S3Storage(shared_client(), await asyncio.to_thread(emptied, BUCKET))


ADAPTERS: dict[str, Callable[[], AbstractAsyncContextManager[Storage]]] = {
    "memory": memory,
    "local": local,
    "s3": s3,
}

NO_KEYS = (
    *["", "/", "//", ".", "..", "/a", "a//b", "a/./b", "a/../b", "../a", "a/..", "./a", "a/.", "..a", ".a"],
    *["a/.hidden", ".unfinished/x", "a b", "a\n", "a\nb", "\na", "a\x00", "a\x00/b", "a\tb", "\x7f"],
    *["a\\b", "..\\a", "a:b", "%2e%2e/a", "a%2fb", "%252e", "a?b", "a#b", "a*", "~a", "$a", "a;b", "a'b"],
    *['a"b', "a<b", "a|b", "a&b", "/etc/passwd", "tracks/../../etc/passwd", "t/x/../../../etc/passwd"],
    *["C:/a", "//host/a", "ä", "\udcff", "a\u0301", "\N{ARABIC-INDIC DIGIT ONE}", "\N{SOFT HYPHEN}"],
    *[
        "\N{ONE DOT LEADER}",
        "\N{TWO DOT LEADER}/a",
        "\N{FULLWIDTH FULL STOP}a",
        "\N{RIGHT-TO-LEFT OVERRIDE}a",
    ],
    *["a\N{FRACTION SLASH}b", "a\N{FULLWIDTH SOLIDUS}b", "a" * 201, f"a/{'b' * 4096}", "a/" * 512 + "a"],
)
"""Reliability, security: path traversal in track ids and segment names."""


@pytest.fixture(scope="session", params=ADAPTERS)
def adapter(request: pytest.FixtureRequest) -> str:
    if request.param == "s3":
        try:
            shared_s3()
        except NotInstalledError as error:
            pytest.skip(str(error))
    return str(request.param)


@pytest.fixture
async def storage(adapter: str) -> AsyncIterator[Storage]:
    async with ADAPTERS[adapter]() as storage:
        yield storage


async def put(storage: Storage, key: str, data: bytes = b"data") -> None:
    await storage.put(key, data, media_type="application/octet-stream")


async def is_refused(call: Awaitable[object]) -> bool:
    try:
        await call
    except NotFound as error:
        return error.code == "object_not_found"
    return False


@pytest.mark.parametrize("data", [b"", b"\x00\xff" * 3, bytes(1_000_000)], ids=["empty", "binary", "1 MB"])
async def test_an_object_is_read_as_it_was_put(storage: Storage, data: bytes) -> None:
    await put(storage, "tracks/a/v1/128k/0-12345678.m4s", data)
    assert await storage.get("tracks/a/v1/128k/0-12345678.m4s") == data


async def test_what_is_put_is_a_copy(storage: Storage) -> None:
    data = bytearray(b"before")
    await put(storage, "a/b", data)  # type: ignore[arg-type]  # what a caller may hold
    data[:] = b"after!"
    assert await storage.get("a/b") == b"before"


async def test_an_object_replaces_the_one_before_it_whole(storage: Storage) -> None:
    await put(storage, "a/asset.json", b"a longer first version")
    await put(storage, "a/asset.json", b"second")
    assert await storage.get("a/asset.json") == b"second"
    assert await storage.list("a/") == ["a/asset.json"]


async def test_a_reader_never_sees_half_an_object(storage: Storage) -> None:
    """The pointer is replaced atomically."""
    versions = [bytes([number]) * 300_000 for number in range(4)]
    await put(storage, "a/asset.json", versions[0])
    writers = [asyncio.create_task(put(storage, "a/asset.json", data)) for data in versions]
    while not all(writer.done() for writer in writers):
        assert await storage.get("a/asset.json") in versions
        await asyncio.sleep(0)
    await asyncio.gather(*writers)
    assert await storage.get("a/asset.json") in versions


@pytest.mark.parametrize("key", ["nothing", "a/nothing", "a/b/c", "a", "nowhere/at/all"])
async def test_what_is_not_there_is_not_found(storage: Storage, key: str) -> None:
    await put(storage, "a/b")
    with pytest.raises(NotFound) as caught:
        await storage.get(key)
    assert caught.value.code == "object_not_found"


async def test_a_text_that_is_no_key_names_nothing(storage: Storage) -> None:
    taken = [
        (key, call.__name__)
        for key in NO_KEYS
        for call in (storage.get, storage.list, storage.delete, lambda key: put(storage, key))
        for text in (key, f"{key}/")
        if not await is_refused(call(text))
    ]
    assert taken == []


async def test_a_prefix_is_no_key(storage: Storage) -> None:
    assert await is_refused(storage.get("a/"))
    assert await is_refused(put(storage, "a/"))


async def test_a_list_is_sorted_and_ends_at_the_slash(storage: Storage) -> None:
    for key in [
        "tracks/a/v1/192k/1",
        "tracks/a/asset.json",
        "tracks/a/v1/128k/2",
        "tracks/ab/asset.json",
        "x",
    ]:
        await put(storage, key)
    assert await storage.list("tracks/a/") == [
        "tracks/a/asset.json",
        "tracks/a/v1/128k/2",
        "tracks/a/v1/192k/1",
    ]
    assert await storage.list("tracks/a/v1/128k/") == ["tracks/a/v1/128k/2"]
    assert await storage.list("tracks/c/") == []
    assert await storage.list("tracks/a/asset.json/") == []


async def test_deleting_a_prefix_takes_what_is_below_it_and_nothing_else(storage: Storage) -> None:
    for key in ["tracks/a/asset.json", "tracks/a/v1/128k/1", "tracks/ab/asset.json"]:
        await put(storage, key)
    assert await storage.delete("tracks/a/") == 2
    assert await storage.list("tracks/") == ["tracks/ab/asset.json"]
    assert await storage.delete("tracks/a/") == 0
    assert await storage.delete("tracks/ab/asset.json/") == 0
    await put(storage, "tracks/a/asset.json", b"again")
    assert await storage.list("tracks/a/") == ["tracks/a/asset.json"]


async def test_deleting_a_key_takes_that_object(storage: Storage) -> None:
    """A growing asset is withdrawn: its pointer goes, its files stay."""
    for key in ["a/asset.json", "a/v1/1"]:
        await put(storage, key)
    assert await storage.delete("a/asset.json") == 1
    assert await storage.delete("a/asset.json") == 0
    assert await storage.delete("a/v1") == 0
    assert await storage.delete("a/v1/1/2") == 0
    assert await storage.delete("b/c") == 0
    assert await storage.list("a/") == ["a/v1/1"]


async def test_a_range_is_cut_where_the_object_ends(storage: Storage) -> None:
    """Segments are read in packets: `stop` is not of the range."""
    await put(storage, "a/b", b"0123456789")
    await put(storage, "a/empty", b"")
    assert await storage.read("a/b", 2, 5) == b"234"
    assert await storage.read("a/b", 0, 1) == b"0"
    assert await storage.read("a/b", 8, 50) == b"89"
    assert await storage.read("a/b", 10, 50) == b""
    assert await storage.read("a/b", 20, 50) == b""
    assert await storage.read("a/b", 3, 3) == b""
    assert await storage.read("a/empty", 0, 4) == b""
    for start, stop in [(0, 4), (3, 3)]:
        assert await is_refused(storage.read("a/nothing", start, stop))


async def test_a_large_file_is_stored_and_brought_back_as_it_was(storage: Storage, tmp_path: Path) -> None:
    """An original: put in parts where the storage takes parts."""
    data = os.urandom(20 * 2**20 + 1)
    (tmp_path / "arrived").write_bytes(data)
    await storage.put_file("uploads/original", tmp_path / "arrived")
    await storage.move("uploads/original", "sources/original")
    assert await is_refused(storage.get("uploads/original"))
    await storage.get_file("sources/original", tmp_path / "brought")
    assert (tmp_path / "brought").read_bytes() == data
    assert await storage.list("sources/") == ["sources/original"]


async def test_a_missing_object_is_brought_nowhere(storage: Storage, tmp_path: Path) -> None:
    assert await is_refused(storage.get_file("a/nothing", tmp_path / "brought"))
    assert await is_refused(storage.move("a/nothing", "a/else"))
    assert await is_refused(storage.move("a/nothing", "a/nothing"))
    assert list(tmp_path.iterdir()) == []


async def test_a_moved_object_replaces_what_was_there(storage: Storage) -> None:
    """A new original of a track takes the place of the one before it."""
    await put(storage, "uploads/a", b"new")
    await put(storage, "sources/a", b"old")
    await storage.move("uploads/a", "sources/a")
    assert await storage.get("sources/a") == b"new"
    assert await storage.list("uploads/") == []
    await storage.move("sources/a", "sources/a")
    assert await storage.get("sources/a") == b"new"


async def test_readers_see_whole_objects_while_it_is_replaced(storage: Storage) -> None:
    """I3: `asset.json` is replaced atomically; eight read while it is replaced twelve times."""
    versions = [bytes([number]) * 200_000 for number in range(12)]
    await put(storage, "a/asset.json", versions[0])
    replaced = asyncio.Event()

    async def look() -> int:
        looks = 0
        while not replaced.is_set():
            assert await storage.get("a/asset.json") in versions
            looks += 1
            await asyncio.sleep(0)
        return looks

    async with asyncio.TaskGroup() as looking:
        lookers = [looking.create_task(look()) for _ in range(8)]
        for data in versions:
            await put(storage, "a/asset.json", data)
            await asyncio.sleep(0)
        replaced.set()
    assert all(looker.result() for looker in lookers)
    assert await storage.get("a/asset.json") == versions[-1]


@pytest.mark.parametrize("key", ["A-_.z/0", "a/b.c.d-", "-/_", "a" * 200, "0/" * 60 + "end", "a/b..c"])
async def test_odd_keys_are_names_like_others(storage: Storage, key: str) -> None:
    await put(storage, key, b"odd")
    assert await storage.get(key) == b"odd"
    assert await storage.delete(key) == 1
    assert await is_refused(storage.get(key))


async def test_more_objects_than_a_page_holds_are_listed_and_deleted(storage: Storage) -> None:
    """S3 gives and deletes a thousand keys at a time."""
    keys = [f"a/v1/{number:04d}" for number in range(1003)]
    for first in range(0, len(keys), 100):
        await asyncio.gather(*(put(storage, key, b"x") for key in keys[first : first + 100]))
    assert await storage.list("a/") == keys
    assert await storage.delete("a/") == 1003
    assert await storage.list("a/") == []


async def test_a_storage_in_order_is_ready(storage: Storage) -> None:
    await storage.check()


KEYS = st.lists(st.sampled_from(["a", "b", "ab", "a.b"]), min_size=3, max_size=3).map("/".join)
PREFIXES = st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=2).map("/".join).map("{}/".format)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.binary(max_size=4)),
        st.tuples(st.just("delete"), KEYS | PREFIXES, st.just(b"")),
    ),
    max_size=12,
)


@settings(max_examples=40)
@given(steps=STEPS)
def test_any_history_leaves_what_a_dict_would_hold(adapter: str, steps: list[tuple[str, str, bytes]]) -> None:
    async def check(storage: Storage) -> None:
        model = dict[str, bytes]()
        for step, key, data in steps:
            if step == "put":
                await put(storage, key, data)
                model[key] = data
                continue
            gone = [k for k in model if k == key or (key.endswith("/") and k.startswith(key))]
            assert await storage.delete(key) == len(gone)
            for k in gone:
                del model[k]
        for top in ("a", "b", "ab", "a.b"):
            assert await storage.list(f"{top}/") == sorted(k for k in model if k.startswith(f"{top}/"))
        for key, data in model.items():
            assert await storage.get(key) == data

    async def checked() -> None:
        async with ADAPTERS[adapter]() as storage:
            await check(storage)

    asyncio.run(checked())
