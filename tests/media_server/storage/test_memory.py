"""The storage in memory beyond the contract suite: each is its own."""

from __future__ import annotations

import pytest

from media_server.errors import NotFound
from media_server.storage.memory import MemoryStorage


async def test_two_storages_share_nothing() -> None:
    one, two = MemoryStorage(), MemoryStorage()
    await one.put("a/b", b"data", media_type="text/plain")
    with pytest.raises(NotFound):
        await two.get("a/b")
