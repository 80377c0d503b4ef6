"""A segment in MPEG-TS is read like a stored object, and is not stored."""

from __future__ import annotations

import pytest

from hls.cmaf import media_segment
from hls.mpegts import transport_segment
from hls.packets import read_packets
from media_server.errors import NotFound
from media_server.storage.memory import MemoryStorage
from media_server.storage.renderings import Renderings
from pipeline.ladder import Codec
from pipeline.media import Packet

FOLDER = "tracks/a/v1/128k"
AAC = media_segment(18, 17 * 184_320, [Packet(pts=0, duration=1024, data=b"\x21" + bytes(300))] * 40)
OPUS = media_segment(1, 0, [Packet(pts=0, duration=960, data=b"\x21" + bytes(300))] * 40, Codec.OPUS)


@pytest.fixture
async def storage() -> MemoryStorage:
    storage = MemoryStorage()
    for name, data in (("17-0a1b2c3d", AAC), ("0-0a1b2c3d", OPUS), ("1-0a1b2c3d", b"torn")):
        await storage.put(f"{FOLDER}/{name}.m4s", data, media_type="audio/mp4")
    return storage


async def test_a_transport_segment_is_made_of_the_stored_one_beside_it(storage: MemoryStorage) -> None:
    """Its number is that of its name; nothing new is stored."""
    made = await Renderings(storage).get(f"{FOLDER}/17-0a1b2c3d.ts")
    assert made == transport_segment(17, read_packets(AAC))
    assert len(await storage.list("tracks/")) == 3


async def test_everything_else_is_what_is_stored(storage: MemoryStorage) -> None:
    renderings = Renderings(storage)
    assert await renderings.get(f"{FOLDER}/17-0a1b2c3d.m4s") == AAC
    with pytest.raises(NotFound):
        await renderings.get(f"{FOLDER}/2-0a1b2c3d.m4s")


@pytest.mark.parametrize(
    "name", ["2-0a1b2c3d.ts", "17-ffffffff.ts", "init-0a1b2c3d.ts", "-1.ts", ".ts", "0-0a1b2c3d.ts"]
)
async def test_what_has_no_transport_stream_is_not_found(storage: MemoryStorage, name: str) -> None:
    """Not stored, no segment, or one of Opus: there is no such object, as the storage itself says it."""
    with pytest.raises(NotFound) as caught:
        await Renderings(storage).get(f"{FOLDER}/{name}")
    assert caught.value.code == "object_not_found"


async def test_a_torn_segment_is_an_error_of_ours(storage: MemoryStorage) -> None:
    """It is there and cannot be read: no answer may hide that."""
    with pytest.raises(ValueError, match="box"):
        await Renderings(storage).get(f"{FOLDER}/1-0a1b2c3d.ts")
