"""Storage in memory: for tests, and for servers that keep nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

from media_server.storage.base import ANY_BYTES, Keys, key_parts, object_not_found, parts_of


class MemoryStorage:
    """Objects in a dict."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, ...], bytes] = {}

    async def put(self, key: str, data: bytes, *, media_type: str, cache_control: str = "") -> None:  # noqa: ARG002 - the port's
        self._objects[key_parts(key)] = bytes(data)

    async def put_file(
        self,
        key: str,
        path: Path,
        *,
        media_type: str = ANY_BYTES,  # noqa: ARG002 - the port's
        cache_control: str = "",  # noqa: ARG002 - the port's
    ) -> None:
        self._objects[key_parts(key)] = await asyncio.to_thread(path.read_bytes)

    async def get(self, key: str) -> bytes:
        try:
            return self._objects[key_parts(key)]
        except KeyError:
            raise object_not_found() from None

    async def read(self, key: str, start: int, stop: int) -> bytes:
        return (await self.get(key))[start:stop]

    async def get_file(self, key: str, path: Path) -> None:
        await asyncio.to_thread(_write_new, path, await self.get(key))

    async def move(self, key: str, to: str) -> None:
        data = await self.get(key)
        self._objects[key_parts(to)] = data
        if key != to:
            del self._objects[key_parts(key)]

    async def list(self, prefix: str) -> Keys:
        return sorted("/".join(key) for key in self._below(parts_of(prefix)))

    async def delete(self, prefix: str) -> int:
        parts = parts_of(prefix)
        if not prefix.endswith("/"):
            return 0 if self._objects.pop(parts, None) is None else 1
        keys = self._below(parts)
        for key in keys:
            del self._objects[key]
        return len(keys)

    async def check(self) -> None:
        return

    def _below(self, parts: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
        return tuple(key for key in self._objects if key[: len(parts)] == parts and len(key) > len(parts))


def _write_new(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
