"""Published tracks as listeners' requests find them: fresh within the bound, read once for all."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import pytest

from hls.asset import Asset, AssetLoudness
from media_server.errors import NotFound, Unavailable
from media_server.storage.assets import MAX_ASSETS, STALE_S, Assets, asset_key, track_prefix, version_prefix
from media_server.storage.cache import ByteCache
from media_server.storage.memory import MemoryStorage

TRACK = "11111111-1111-4111-8111-111111111111"

ASSET = Asset(
    track_id=TRACK,
    version="v1",
    state="complete",
    job_id="22222222-2222-4222-8222-222222222222",
    created_at="2026-01-01T00:00:00.000Z",
    order="2026-01-01T00:00:00.000Z",
    source_version=None,
    pipeline_version="1",
    source_sha256="0" * 64,
    source_bytes=1,
    duration_samples=48_000,
    visibility="public",
    user_id=None,
    title=None,
    artist=None,
    tags={},
    loudness=AssetLoudness(
        integrated_lufs=None, true_peak_dbtp=None, range_lu=None, gain_db=0.0, target_lufs=-14.0
    ),
    renditions=(),
    waveform=None,
    cover=None,
    warnings=(),
)


@dataclass(slots=True)
class Clock:
    """A monotonic clock, in seconds."""

    seconds: float = 100.0

    def __call__(self) -> float:
        return self.seconds


class CountingStorage(MemoryStorage):
    """A storage in memory that counts its reads and can hold them up."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def get(self, key: str) -> bytes:
        self.reads += 1
        self.begun.put_nowait(key)
        data = await super().get(key)
        await self.go_on.wait()
        return data


@pytest.fixture
def storage() -> CountingStorage:
    return CountingStorage()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def assets(storage: CountingStorage, clock: Clock) -> Assets:
    return Assets(storage, ByteCache(storage, 1000), ttl_s=2.0, now=clock)


async def point_to(storage: CountingStorage, asset: Asset) -> None:
    await storage.put(asset_key(asset.track_id), asset.to_json(), media_type="application/json")


def test_the_keys_are_those_of_the_storage_layout() -> None:
    """Contract, Storage layout."""
    assert track_prefix("t") == "tracks/t/"
    assert asset_key("t") == "tracks/t/asset.json"
    assert version_prefix("t", "v") == "tracks/t/v/"


async def test_the_asset_is_what_the_pointer_says(storage: CountingStorage, assets: Assets) -> None:
    await point_to(storage, ASSET)
    assert await assets.asset(TRACK) == ASSET


async def test_a_track_that_is_not_there_is_not_found(assets: Assets) -> None:
    with pytest.raises(NotFound) as caught:
        await assets.asset(TRACK)
    assert caught.value.code == "track_not_found"


async def test_an_asset_is_read_again_after_its_time(
    storage: CountingStorage, assets: Assets, clock: Clock
) -> None:
    """Contract: `track.updated` takes effect on every server within 5 s."""
    await point_to(storage, ASSET)
    await assets.asset(TRACK)
    changed = replace(ASSET, visibility="private")
    await point_to(storage, changed)
    clock.seconds += 1.9
    assert await assets.asset(TRACK) == ASSET
    assert storage.reads == 1
    clock.seconds += 0.1
    assert await assets.asset(TRACK) == changed


async def test_a_forgotten_asset_is_read_at_once(storage: CountingStorage, assets: Assets) -> None:
    await point_to(storage, ASSET)
    await assets.asset(TRACK)
    await point_to(storage, replace(ASSET, version="v2"))
    assets.forget(TRACK)
    assets.forget(TRACK)
    assert (await assets.asset(TRACK)).version == "v2"


async def test_a_track_that_was_taken_down_is_gone_after_its_time(
    storage: CountingStorage, assets: Assets, clock: Clock
) -> None:
    await point_to(storage, ASSET)
    await assets.asset(TRACK)
    await storage.delete(track_prefix(TRACK))
    clock.seconds += 2
    for _ in range(2):
        with pytest.raises(NotFound):
            await assets.asset(TRACK)
    await point_to(storage, ASSET)
    assert await assets.asset(TRACK) == ASSET


async def test_what_many_ask_for_at_once_is_read_once(storage: CountingStorage, assets: Assets) -> None:
    await point_to(storage, ASSET)
    assert await asyncio.gather(*(assets.asset(TRACK) for _ in range(20))) == [ASSET] * 20
    assert storage.reads == 1


async def test_a_read_under_way_does_not_bring_back_what_was_forgotten(
    storage: CountingStorage, assets: Assets
) -> None:
    await point_to(storage, ASSET)
    storage.go_on.clear()
    before = asyncio.create_task(assets.asset(TRACK))
    await asyncio.wait_for(storage.begun.get(), 5)
    await point_to(storage, replace(ASSET, version="v2"))
    assets.forget(TRACK)
    storage.go_on.set()
    assert (await before).version == "v1"
    assert (await assets.asset(TRACK)).version == "v2"


async def test_the_time_counts_from_the_begin_of_the_read(
    storage: CountingStorage, assets: Assets, clock: Clock
) -> None:
    """What is stored may have changed while the bytes were on their way."""
    await point_to(storage, ASSET)
    storage.go_on.clear()
    asking = asyncio.create_task(assets.asset(TRACK))
    await asyncio.wait_for(storage.begun.get(), 5)
    clock.seconds += 2
    storage.go_on.set()
    await asking
    await assets.asset(TRACK)
    assert storage.reads == 2


async def test_assets_in_memory_are_bounded(storage: CountingStorage, assets: Assets) -> None:
    tracks = [f"{number:08}-1111-4111-8111-111111111111" for number in range(MAX_ASSETS + 1)]
    for track_id in tracks:
        await point_to(storage, replace(ASSET, track_id=track_id))
        await assets.asset(track_id)
    storage.reads = 0
    await assets.asset(tracks[-1])
    await assets.asset(tracks[1])
    assert storage.reads == 0
    await assets.asset(tracks[0])
    assert storage.reads == 1


async def test_what_is_asked_for_stays_in_memory(
    storage: CountingStorage, assets: Assets, clock: Clock
) -> None:
    tracks = [f"{number:08}-1111-4111-8111-111111111111" for number in range(MAX_ASSETS + 1)]
    for track_id in tracks:
        await point_to(storage, replace(ASSET, track_id=track_id))
    for track_id in tracks[:-1]:
        await assets.asset(track_id)
    clock.seconds += 2
    await assets.asset(tracks[0])
    await assets.asset(tracks[-1])
    storage.reads = 0
    await assets.asset(tracks[0])
    assert storage.reads == 0


async def test_a_file_comes_through_the_cache(storage: CountingStorage, assets: Assets) -> None:
    await storage.put(f"{version_prefix(TRACK, 'v1')}128k/0.m4s", b"segment", media_type="video/mp4")
    assert await assets.file(TRACK, "v1", "128k", "0.m4s") == b"segment"
    assert await assets.file(TRACK, "v1", "128k", "0.m4s") == b"segment"
    assert storage.reads == 1
    with pytest.raises(NotFound) as caught:
        await assets.file(TRACK, "v1", "128k", "1.m4s")
    assert caught.value.code == "object_not_found"
    with pytest.raises(NotFound):
        await assets.file(TRACK, "v1", "..", "..", "asset.json")


class AwayStorage(MemoryStorage):
    """A storage that can be put out of reach."""

    error: Exception | None = None

    async def get(self, key: str) -> bytes:
        if self.error is not None:
            raise self.error
        return await super().get(key)


async def test_a_storage_that_is_away_stops_nobody_who_has_been_heard_lately() -> None:
    """What is in memory plays on; after a while, and for a track that nobody asked for, it is said."""
    storage, clock = AwayStorage(), Clock()
    assets = Assets(storage, ByteCache(storage, 0), now=clock)
    await storage.put(asset_key(TRACK), ASSET.to_json(), media_type="application/json")
    seen = await assets.asset(TRACK)
    storage.error = Unavailable("storage", "gone")
    clock.seconds += 10
    assert await assets.asset(TRACK) == seen
    clock.seconds += STALE_S
    with pytest.raises(Unavailable):
        await assets.asset(TRACK)


async def test_a_track_that_was_taken_down_does_not_come_back_when_the_storage_goes_away() -> None:
    storage, clock = AwayStorage(), Clock()
    assets = Assets(storage, ByteCache(storage, 0), now=clock)
    await storage.put(asset_key(TRACK), ASSET.to_json(), media_type="application/json")
    await assets.asset(TRACK)
    await storage.delete(asset_key(TRACK))
    clock.seconds += 10
    with pytest.raises(NotFound):
        await assets.asset(TRACK)
    storage.error = Unavailable("storage", "gone")
    with pytest.raises(Unavailable):
        await assets.asset(TRACK)
