"""One chunk of one rendition, as a stage: Blocks of the whole track in, the chunk's Packets out."""

from __future__ import annotations

from pipeline.chunks import Chunk
from pipeline.encode import Encoder
from pipeline.ladder import Rendition
from pipeline.media import Block, Packet


class ChunkEncoder:
    """Takes of the Blocks, which come in order, what its chunk needs; times are the whole track's."""

    def __init__(self, rendition: Rendition, chunk: Chunk) -> None:
        self.encoder = Encoder(rendition)
        self._chunk = chunk
        # the first packet of an encoder lies as far before its first sample as the track's before the track's
        self._number = chunk.fed_from // rendition.frame_samples

    def has_passed(self, block: Block) -> bool:
        """Whether this Block and all after it lie behind the chunk."""
        return self._chunk.fed_to is not None and block.pts >= self._chunk.fed_to

    def push(self, block: Block) -> list[Packet]:
        start = max(self._chunk.fed_from, block.pts)
        stop = block.end if self._chunk.fed_to is None else min(self._chunk.fed_to, block.end)
        if start >= stop:
            return []
        pcm = block.pcm[:, start - block.pts : stop - block.pts]
        return self._kept(self.encoder.push(Block(pts=start - self._chunk.fed_from, pcm=pcm)))

    def flush(self) -> list[Packet]:
        return self._kept(self.encoder.flush()) if self._chunk.stop is None else []

    def _kept(self, packets: list[Packet]) -> list[Packet]:
        first, stop = self._chunk.first - self._number, self._chunk.stop
        self._number += len(packets)
        kept = packets[max(first, 0) : None if stop is None else max(stop - self._number + len(packets), 0)]
        return [packet.later(self._chunk.fed_from) for packet in kept] if self._chunk.fed_from else kept
