"""Coded packets of a published rendition, read back from any storage one segment at a time.

Owns StoredPackets: from a presented sample, or a packet's index, to the bytes that were encoded once. What
WebRTC and WebSocket send comes from here; segments come through the cache that HLS uses too.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from hls.asset import Asset
from hls.packets import CodedPacket, PacketMap, read_packets
from media_server.errors import NotFound, Unavailable
from media_server.storage.assets import Assets
from pipeline.ladder import Codec


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPacket:
    """One coded frame, as it was encoded.

    `index` counts from the first packet of the rendition. `pts` is the presented sample it starts at,
    negative in the encoder's priming; `duration` is in samples, the last one's may be under a frame.
    """

    index: int
    pts: int
    duration: int
    data: bytes


class StoredPackets:
    """The packets of one rendition of `asset`, whatever is published after it.

    Raises:
        NotFound: `rendition_not_found`.
        Unavailable: `bad_segment`, the asset's durations are not those of its codec's frames.
    """

    def __init__(self, assets: Assets, asset: Asset, rendition_name: str) -> None:
        try:
            self._rendition = asset.rendition(rendition_name)
        except KeyError:
            raise NotFound("rendition_not_found", "the track has no such rendition") from None
        self._assets = assets
        self._asset = asset
        durations = [segment.duration for segment in self._rendition.segments]
        try:
            codec = Codec.of_rfc6381(self._rendition.codec)
            frame_samples = codec.frame_samples_at(self._rendition.rate_hz)
            self._map = PacketMap(durations, frame_samples, self._rendition.priming_samples)
        except ValueError as error:
            raise self._bad(error) from error

    def __len__(self) -> int:
        """How many packets there are."""
        return self._map.packets

    async def from_sample(self, position: int) -> AsyncGenerator[StoredPacket, None]:
        """The packets from the one that holds the presented sample `position` to the last.

        A position before the first packet begins with it; one after the last sample gives none. A segment
        is read when its first packet is asked for, and let go when the next one is read.

        Raises:
            NotFound: `object_not_found`, the version is not stored any more.
            Unavailable: the storage is out of reach, or `bad_segment`.
        """
        index = self._map.index_at(position)
        while index < self._map.packets:
            place = self._map.place_of(index)
            for coded in (await self._segment(place.segment))[place.packet :]:
                yield self._stored(index, coded)
                index += 1

    async def packet(self, index: int) -> StoredPacket:
        """The packet `index`.

        Raises:
            ValueError: there is no such packet.
            NotFound, Unavailable: as `from_sample`.
        """
        place = self._map.place_of(index)
        return self._stored(index, (await self._segment(place.segment))[place.packet])

    async def _segment(self, number: int) -> list[CodedPacket]:
        """The packets of a segment, as many and as long as the asset says."""
        stored = self._rendition.segments[number]
        asset = self._asset
        data = await self._assets.file(asset.track_id, asset.version, self._rendition.name, stored.name)
        try:
            packets = read_packets(data)
            self._map.check(number, packets)
        except ValueError as error:
            raise self._bad(error) from error
        return packets

    def _stored(self, index: int, coded: CodedPacket) -> StoredPacket:
        return StoredPacket(
            index=index, pts=self._map.pts_of(index), duration=coded.duration, data=coded.data
        )

    def _bad(self, error: ValueError) -> Unavailable:
        where = f"rendition {self._rendition.name} of track {self._asset.track_id}"
        return Unavailable("bad_segment", f"{where} is not stored as it was made: {error}")
