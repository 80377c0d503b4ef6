"""Stored packets: what was encoded, from any sample on, one segment at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from contract.test_storage import adapter, storage

from hls.asset import Asset, AssetLoudness, AssetRendition, StoredFile, StoredSegment
from hls.cmaf import Track
from hls.segmenter import Segmenter
from media_server.errors import NotFound, Unavailable
from media_server.storage.assets import Assets, version_prefix
from media_server.storage.base import Storage
from media_server.storage.cache import ByteCache
from media_server.storage.memory import MemoryStorage
from media_server.storage.packets import StoredPacket, StoredPackets
from pipeline.encode import Encoder
from pipeline.ladder import ladder_for
from pipeline.media import Block, Packet

__all__ = ["adapter", "storage"]
"""The fixtures of the contract suite: any storage, empty."""

SAMPLES = 400_000
"""Two segments of 3.84 s and a shorter one; the last packet is cut."""

MINUTE = 60 * 48_000
SEGMENT_BYTES = 64 * 1024
"""3.84 s of 128 kbit/s are 61 440 bytes; the boxes and what constrained VBR borrows come on top."""

CACHE_BYTES = 1 << 20

ASSET = Asset(
    track_id="11111111-1111-4111-8111-111111111111",
    version="v1",
    state="complete",
    job_id="22222222-2222-4222-8222-222222222222",
    created_at="2026-01-01T00:00:00.000Z",
    order="2026-01-01T00:00:00.000Z",
    source_version=None,
    pipeline_version="1",
    source_sha256="0" * 64,
    source_bytes=1,
    duration_samples=SAMPLES,
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


class Metered:
    """A storage, and what was read of it: the objects' names and their bytes together."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.read_keys: list[str] = []
        self.read_bytes = 0
        self.put = storage.put

    async def get(self, key: str) -> bytes:
        return self._metered(key, await self._storage.get(key))

    async def read(self, key: str, start: int, stop: int) -> bytes:
        return self._metered(key, await self._storage.read(key, start, stop))

    def _metered(self, key: str, data: bytes) -> bytes:
        self.read_keys.append(key.rpartition("/")[2])
        self.read_bytes += len(data)
        return data


class Published:
    """A rendition in a storage, and the packets it was made of."""

    def __init__(
        self, name: str, channels: int, samples: int = SAMPLES, storage: Storage | None = None
    ) -> None:
        [rung] = ladder_for(channels, (name,))
        pcm = np.random.default_rng(5).normal(0, 0.1, (channels, samples)).astype(np.float32)
        encoder = Encoder(rung)
        self.packets: list[Packet] = [*encoder.push(Block(pts=0, pcm=pcm)), *encoder.flush()]
        track = Track(
            codec=rung.codec,
            rate_hz=rung.rate_hz,
            channels=channels,
            bitrate_bps=rung.bitrate_bps,
            priming_samples=self.packets[0].trim_start,
            codec_config=encoder.codec_config,
        )
        segmenter = Segmenter(track)
        self.segments = [s for p in self.packets for s in segmenter.push(p)] + segmenter.flush()
        rendition = AssetRendition(
            name=name,
            codec=rung.codec.rfc6381,
            bitrate_bps=rung.bitrate_bps,
            rate_hz=rung.rate_hz,
            channels=channels,
            priming_samples=track.priming_samples,
            init=StoredFile(name="init", bytes=1, sha256="0" * 64, media_type="audio/mp4"),
            segments=tuple(
                StoredSegment(name=s.name, duration=s.duration, bytes=len(s.data), sha256=s.sha256)
                for s in self.segments
            ),
        )
        self.asset: Asset = replace(ASSET, duration_samples=samples, renditions=(rendition,))
        self.storage = Metered(storage or MemoryStorage())

    async def store(self) -> Published:
        for segment in self.segments:
            await self.put(segment.name, segment.data)
        return self

    async def put(self, name: str, data: bytes) -> None:
        folder = version_prefix(self.asset.track_id, self.asset.version) + self.asset.renditions[0].name
        await self.storage.put(f"{folder}/{name}", data, media_type="audio/mp4")

    def reader(self) -> StoredPackets:
        assets = Assets(self.storage, ByteCache(self.storage, CACHE_BYTES))
        return StoredPackets(assets, self.asset, self.asset.renditions[0].name)

    def expected(self) -> list[StoredPacket]:
        frame, priming = self.packets[0].frame_samples, self.packets[0].trim_start
        return [
            StoredPacket(
                index=index,
                pts=index * frame - priming,
                duration=packet.trim_start + packet.duration,
                data=packet.data,
            )
            for index, packet in enumerate(self.packets)
        ]


async def test_a_packet_of_any_storage_costs_the_segment_it_lies_in(storage: Storage) -> None:
    """By its index and by its time; the rest of a song, however long, is left where it is."""
    published = await Published("opus-128", 2, MINUTE, storage).store()
    expected, meter = published.expected(), published.storage
    for index in (0, 191, 192, 1500, len(expected) - 1):
        for by_time in (False, True):
            meter.read_keys, meter.read_bytes = [], 0
            reader = published.reader()  # its cache is empty
            if by_time:
                packets = reader.from_sample(expected[index].pts)
                found = await anext(packets)
                await packets.aclose()
            else:
                found = await reader.packet(index)
            assert found == expected[index]
            lies_in = published.segments[index // 192]
            assert (meter.read_keys, meter.read_bytes) == ([lies_in.name], len(lies_in.data))
            assert meter.read_bytes <= SEGMENT_BYTES < sum(len(s.data) for s in published.segments) / 14


async def test_all_packets_of_any_storage_cost_every_segment_once(storage: Storage) -> None:
    published = await Published("opus-128", 2, storage=storage).store()
    assert [packet async for packet in published.reader().from_sample(0)] == published.expected()
    assert published.storage.read_keys == [segment.name for segment in published.segments]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("name", ["opus-128", "128k"])
async def test_packets_are_what_was_encoded(name: str, channels: int) -> None:
    """The same bytes that HLS carries, priming included, on the clock of the presented samples."""
    published = await Published(name, channels).store()
    reader = published.reader()
    read = [packet async for packet in reader.from_sample(-(10**9))]
    assert read == published.expected()
    assert len(reader) == len(read)


@pytest.mark.parametrize("samples", [1, 648, 649, 23_000, 184_008, 184_009, 208_007, 208_008])
async def test_any_length_is_read_to_its_end(samples: int) -> None:
    """Under one packet, to the end of a packet and of a segment, and over each."""
    published = await Published("opus-128", 2, samples).store()
    read = [packet async for packet in published.reader().from_sample(0)]
    assert read == published.expected()
    assert read[-1].pts + read[-1].duration == published.asset.duration_samples


@pytest.mark.parametrize("position", [0, 1, 647, 648, 184_007, 184_008, 300_000, SAMPLES - 1])
async def test_reading_starts_at_the_packet_that_holds_a_sample(position: int) -> None:
    published = await Published("opus-128", 2).store()
    read = [packet async for packet in published.reader().from_sample(position)]
    assert read[0].pts <= position < read[0].pts + read[0].duration
    assert read == published.expected()[read[0].index :]


async def test_after_the_last_sample_there_is_nothing() -> None:
    published = await Published("opus-128", 2).store()
    assert [packet async for packet in published.reader().from_sample(SAMPLES)] == []
    assert published.storage.read_keys == []


async def test_one_segment_is_read_at_a_time_and_only_when_it_is_asked_for() -> None:
    """Not the whole rendition, nor what lies before the position."""
    published = await Published("opus-128", 2).store()
    names = [segment.name for segment in published.segments]
    packets = published.reader().from_sample(184_200)
    first = await anext(packets)
    assert (first.index, published.storage.read_keys) == (192, [names[1]])
    for _ in range(191):
        last = await anext(packets)
    assert (last.index, published.storage.read_keys) == (383, [names[1]])
    assert (await anext(packets)).index == 384
    assert published.storage.read_keys == [names[1], names[2]]
    await packets.aclose()


async def test_listeners_share_what_was_read() -> None:
    """Through the cache: a second listener costs the storage nothing."""
    published = await Published("opus-128", 2).store()
    reader = published.reader()
    for _ in range(2):
        assert [packet async for packet in reader.from_sample(0)] == published.expected()
    assert published.storage.read_keys == [segment.name for segment in published.segments]


async def test_a_packet_is_found_by_its_index() -> None:
    published = await Published("opus-128", 2).store()
    reader, expected = published.reader(), published.expected()
    for index in (0, 1, 191, 192, 383, 384, len(expected) - 1):
        assert await reader.packet(index) == expected[index]
    for index in (-1, len(expected)):
        with pytest.raises(ValueError, match=f"packet is {index}, there are {len(expected)}"):
            await reader.packet(index)


async def test_a_rendition_that_is_not_there_is_told() -> None:
    published = Published("opus-128", 2)
    with pytest.raises(NotFound) as caught:
        StoredPackets(published.reader()._assets, published.asset, "320k")
    assert caught.value.code == "rendition_not_found"


@pytest.mark.parametrize("change", [{"codec": "alac"}, {"segments": "short"}])
async def test_a_rendition_that_cannot_be_ours_is_told(change: dict[str, str]) -> None:
    """A codec of a newer server; durations that are no frames."""
    published = Published("opus-128", 2)
    [rendition] = published.asset.renditions
    if "segments" in change:
        first = replace(rendition.segments[0], duration=5)
        rendition = replace(rendition, segments=(first, *rendition.segments[1:]))
    else:
        rendition = replace(rendition, codec=change["codec"])
    published.asset = replace(published.asset, renditions=(rendition,))
    with pytest.raises(Unavailable) as caught:
        published.reader()
    assert caught.value.code == "bad_segment"


@pytest.mark.parametrize("stored", [b"", b"junk" * 9, 1], ids=["empty", "junk", "another segment"])
async def test_a_segment_that_is_not_what_was_stored_is_told(stored: bytes | int) -> None:
    published = await Published("opus-128", 2).store()
    data = published.segments[stored].data if isinstance(stored, int) else stored
    await published.put(published.segments[0].name, data)
    packets = published.reader().from_sample(0)
    with pytest.raises(Unavailable) as caught:
        await anext(packets)
    assert caught.value.code == "bad_segment"


async def test_a_version_that_is_gone_is_told() -> None:
    """The track was taken down while it played."""
    published = Published("opus-128", 2)
    packets = published.reader().from_sample(0)
    with pytest.raises(NotFound):
        await anext(packets)
