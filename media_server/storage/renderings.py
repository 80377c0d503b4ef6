"""Objects that are stored, and those that are made of a stored one when they are asked for.

Owns: that a segment in MPEG-TS is a rendering of the stored one beside it. Nothing is stored twice; the cache
above keeps what was made, so that a segment is rendered once for all who listen.
"""

from __future__ import annotations

from hls.mpegts import transport_segment
from hls.packets import read_packets
from hls.segment_format import TRANSPORT_EXTENSION, stored_name
from media_server.storage.base import Storage, object_not_found


class Renderings:
    """What may be read by key: everything stored, and `{number}-{hash8}.ts` for each such `.m4s` of AAC."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def get(self, key: str) -> bytes:
        """The object's bytes.

        Raises:
            NotFound: `object_not_found`, also where the stored segment is not of AAC.
            Unavailable: as the storage.
            ValueError: what is stored is no segment.
        """
        if not key.endswith(TRANSPORT_EXTENSION):
            return await self._storage.get(key)
        number = key.rpartition("/")[2].partition("-")[0]
        if not number.isdecimal():
            raise object_not_found()
        packets = read_packets(await self._storage.get(stored_name(key)))
        try:
            return transport_segment(int(number), packets)
        except ValueError as error:
            raise object_not_found() from error
