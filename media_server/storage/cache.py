"""Segments in memory: a byte-bounded cache over the storage, least recently used out first.

Owns ByteCache, and SharedReads: however many ask for a thing at once, it is read once.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

Value = TypeVar("Value")


class Readable(Protocol):
    """What the cache lies over: a storage, or what is made of its objects."""

    async def get(self, key: str) -> bytes: ...


class SharedReads(Generic[Value]):
    """Reads that are under way, by key. One who asks and goes away does not take it from the others."""

    def __init__(self, read: Callable[[str], Awaitable[Value]], keep: Callable[[str, Value], None]) -> None:
        self._read = read
        self._keep = keep
        self._under_way: dict[str, asyncio.Task[Value]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._under_way

    async def get(self, key: str) -> Value:
        """What the read gives or raises; it is kept once, unless the key was dropped meanwhile."""
        reading = self._under_way.get(key)
        if reading is None:
            reading = asyncio.create_task(self._read_and_keep(key))
            self._under_way[key] = reading
            reading.add_done_callback(_look_at)
        return await asyncio.shield(reading)

    def drop(self, prefix: str) -> None:
        """Keep nothing of the reads under way below `prefix`; who asks from now on starts a new one."""
        for key in [key for key in self._under_way if key.startswith(prefix)]:
            del self._under_way[key]

    async def _read_and_keep(self, key: str) -> Value:
        try:
            value = await self._read(key)
            if self._is_wanted(key):
                self._keep(key, value)
            return value
        finally:
            if self._is_wanted(key):
                del self._under_way[key]

    def _is_wanted(self, key: str) -> bool:
        return self._under_way.get(key) is asyncio.current_task()


def _look_at(reading: asyncio.Task[Value]) -> None:
    """Everybody who asked may be gone; an error that nobody looked at would be reported as ours."""
    if not reading.cancelled():
        reading.exception()


class ByteCache:
    """At most `max_bytes` of objects, the keys not counted; 0 bytes: no caching.

    `hits` and `misses` count requests; every miss is a read of the storage.
    """

    def __init__(self, storage: Readable, max_bytes: int) -> None:
        self.hits = 0
        self.misses = 0
        self.size_bytes = 0
        self._max_bytes = max_bytes
        self._objects: OrderedDict[str, bytes] = OrderedDict()
        self._reads = SharedReads(storage.get, self._keep)

    async def get(self, key: str) -> bytes:
        """The object's bytes.

        Raises:
            NotFound, Unavailable: as the storage.
        """
        data = self._objects.get(key)
        if data is not None:
            self.hits += 1
            self._objects.move_to_end(key)
            return data
        if key in self._reads:
            self.hits += 1
        else:
            self.misses += 1
        return await self._reads.get(key)

    def drop(self, prefix: str) -> None:
        """Forget every object below `prefix`, those that are being read too."""
        self._reads.drop(prefix)
        for key in [key for key in self._objects if key.startswith(prefix)]:
            self.size_bytes -= len(self._objects.pop(key))

    def _keep(self, key: str, data: bytes) -> None:
        # nothing is saved by keeping an empty object, and no bound would ever let it go
        if not 0 < len(data) <= self._max_bytes:
            return
        self._objects[key] = data
        self.size_bytes += len(data)
        while self.size_bytes > self._max_bytes:
            _, oldest = self._objects.popitem(last=False)
            self.size_bytes -= len(oldest)
