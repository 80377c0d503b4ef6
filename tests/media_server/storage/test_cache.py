"""The cache of segments: bounded in bytes, one read for all who ask at once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_server.errors import NotFound, Unavailable
from media_server.storage.base import Keys
from media_server.storage.cache import ByteCache
from media_server.storage.memory import MemoryStorage


class SlowStorage:
    """A storage whose reads wait until the test lets them go on."""

    def __init__(self) -> None:
        self.objects = MemoryStorage()
        self.reads: list[str] = []
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.go_on = asyncio.Event()
        self.down = False

    async def put(self, key: str, data: bytes, *, media_type: str = "") -> None:
        await self.objects.put(key, data, media_type=media_type)

    async def get(self, key: str) -> bytes:
        self.reads.append(key)
        self.begun.put_nowait(key)
        await self.go_on.wait()
        if self.down:
            raise Unavailable("storage", "down")
        return await self.objects.get(key)

    async def list(self, prefix: str) -> Keys:
        return await self.objects.list(prefix)

    async def delete(self, prefix: str) -> int:
        return await self.objects.delete(prefix)

    async def check(self) -> None:
        await self.objects.check()


@pytest.fixture
async def storage() -> SlowStorage:
    slow = SlowStorage()
    for name in "abcd":
        await slow.put(f"t/{name}", name.encode() * 10)
    return slow


async def until_reading(storage: SlowStorage) -> None:
    await asyncio.wait_for(storage.begun.get(), 5)


async def test_a_second_request_is_answered_from_memory(storage: SlowStorage) -> None:
    cache = ByteCache(storage, 100)
    storage.go_on.set()
    assert await cache.get("t/a") == b"a" * 10
    assert await cache.get("t/a") == b"a" * 10
    assert storage.reads == ["t/a"]
    assert (cache.hits, cache.misses, cache.size_bytes) == (1, 1, 10)


async def test_what_many_ask_for_at_once_is_read_once(storage: SlowStorage) -> None:
    cache = ByteCache(storage, 100)
    asking = [asyncio.create_task(cache.get("t/a")) for _ in range(20)]
    await until_reading(storage)
    storage.go_on.set()
    assert await asyncio.gather(*asking) == [b"a" * 10] * 20
    assert storage.reads == ["t/a"]
    assert (cache.hits, cache.misses) == (19, 1)


async def test_one_who_goes_away_does_not_take_it_from_the_others(storage: SlowStorage) -> None:
    cache = ByteCache(storage, 100)
    first = asyncio.create_task(cache.get("t/a"))
    second = asyncio.create_task(cache.get("t/a"))
    await until_reading(storage)
    first.cancel()
    storage.go_on.set()
    assert await second == b"a" * 10
    assert first.cancelled()
    assert storage.reads == ["t/a"]


async def test_a_read_that_everybody_left_is_kept_for_the_next(storage: SlowStorage) -> None:
    cache = ByteCache(storage, 100)
    asking = asyncio.create_task(cache.get("t/a"))
    await until_reading(storage)
    asking.cancel()
    await asyncio.wait({asking})
    storage.go_on.set()
    assert await cache.get("t/a") == b"a" * 10
    assert storage.reads == ["t/a"]


async def test_an_error_reaches_everyone_and_is_not_kept(storage: SlowStorage) -> None:
    cache = ByteCache(storage, 100)
    storage.down = True
    asking = [asyncio.create_task(cache.get("t/a")) for _ in range(3)]
    await until_reading(storage)
    storage.go_on.set()
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable] * 3
    storage.down = False
    assert await cache.get("t/a") == b"a" * 10
    with pytest.raises(NotFound):
        await cache.get("t/nothing")


async def test_an_error_that_everybody_left_is_not_reported_as_forgotten(storage: SlowStorage) -> None:
    reported: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context))
    cache = ByteCache(storage, 100)
    storage.down = True
    asking = asyncio.create_task(cache.get("t/a"))
    await until_reading(storage)
    asking.cancel()
    await asyncio.wait({asking})
    storage.go_on.set()
    reads = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    await asyncio.wait(reads)
    del reads, asking
    await asyncio.sleep(0)
    assert reported == []


async def test_the_least_recently_used_goes_first(storage: SlowStorage) -> None:
    cache = ByteCache(storage, 30)
    storage.go_on.set()
    for name in "abc":
        await cache.get(f"t/{name}")
    await cache.get("t/a")
    await cache.get("t/d")  # b has not been used for longest
    storage.reads.clear()
    for name in "acd":
        await cache.get(f"t/{name}")
    assert storage.reads == []
    await cache.get("t/b")
    assert storage.reads == ["t/b"]


async def test_an_object_above_the_bound_passes_through(storage: SlowStorage) -> None:
    cache = ByteCache(storage, 10)
    storage.go_on.set()
    await storage.put("t/big", b"x" * 11)
    await cache.get("t/a")
    assert await cache.get("t/big") == b"x" * 11
    assert cache.size_bytes == 10
    await cache.get("t/a")
    assert storage.reads == ["t/a", "t/big"]


async def test_without_room_nothing_is_kept(storage: SlowStorage) -> None:
    cache = ByteCache(storage, 0)
    storage.go_on.set()
    await storage.put("t/empty", b"")
    for _ in range(2):
        await cache.get("t/a")
        assert await cache.get("t/empty") == b""
    assert storage.reads == ["t/a", "t/empty"] * 2
    assert (cache.hits, cache.size_bytes) == (0, 0)


async def test_what_is_dropped_is_read_again(storage: SlowStorage) -> None:
    cache = ByteCache(storage, 100)
    storage.go_on.set()
    await storage.put("tt/a", b"other")
    await cache.get("t/a")
    await cache.get("tt/a")
    cache.drop("t/")
    assert cache.size_bytes == 5
    await cache.get("t/a")
    await cache.get("tt/a")
    assert storage.reads == ["t/a", "tt/a", "t/a"]


async def test_a_read_under_way_does_not_bring_back_what_is_dropped(storage: SlowStorage) -> None:
    """A track that is taken down is gone at once."""
    cache = ByteCache(storage, 100)
    asking = asyncio.create_task(cache.get("t/a"))
    await until_reading(storage)
    cache.drop("t/")
    after = asyncio.create_task(cache.get("t/a"))
    await until_reading(storage)
    await storage.put("t/a", b"new")
    storage.go_on.set()
    await asking
    assert await after == b"new"
    assert cache.size_bytes == 3
    assert await cache.get("t/a") == b"new"
    assert storage.reads == ["t/a"] * 2


@given(
    max_bytes=st.integers(0, 40),
    asked=st.lists(st.sampled_from("abcdef"), max_size=40),
    dropped=st.sets(st.integers(0, 40), max_size=3),
)
def test_it_keeps_what_a_model_of_it_keeps(max_bytes: int, asked: list[str], dropped: set[int]) -> None:
    """Objects of 1, 7, 13, 19, 25 and 31 bytes."""

    async def check() -> None:
        storage = SlowStorage()
        storage.go_on.set()
        sizes = {name: 1 + 6 * number for number, name in enumerate("abcdef")}
        for name, size in sizes.items():
            await storage.put(name, name.encode() * size)
        cache, model, reads = ByteCache(storage, max_bytes), OrderedDict[str, int](), 0
        for number, name in enumerate(asked):
            if number in dropped:
                cache.drop(name)
                model.pop(name, None)
            assert await cache.get(name) == name.encode() * sizes[name]
            if name in model:
                model.move_to_end(name)
                continue
            reads += 1
            if sizes[name] <= max_bytes:
                model[name] = sizes[name]
            while sum(model.values()) > max_bytes:
                model.popitem(last=False)
            assert cache.size_bytes == sum(model.values()) <= max_bytes
        assert (len(storage.reads), cache.misses, cache.hits) == (reads, reads, len(asked) - reads)

    asyncio.run(check())
