"""The second pass: decode, bring to the planned level, encode every rendition side by side.

Each rendition has a lane, a thread of its own: FFmpeg's encoders release the interpreter. Packets come back
in the order of the Blocks and of the ladder, whatever the threads do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

from pipeline.encode import Encoder
from pipeline.ladder import Ladder
from pipeline.media import Block, Packet
from pipeline.stage import Stage

BLOCKS_IN_FLIGHT = 4
"""How far decoding may run ahead of the slowest encoder: bounds the memory, keeps the lanes busy."""


def encode_ladder(
    blocks: Iterable[Block], ladder: Ladder, level: Stage[Block, Block]
) -> Iterator[tuple[Encoder, list[Packet]]]:
    """Encode 48 kHz Blocks into every rendition of the ladder.

    Args:
        level: what every Block passes first, one for all renditions.
    Yields:
        an encoder (its `rendition`, its `codec_config`) and the packets it has finished, in pts order for
        each rendition and in the same order in every run.
    """
    encoders = [Encoder(rendition) for rendition in ladder]
    with ExitStack() as lanes:
        pools = [lanes.enter_context(ThreadPoolExecutor(1, f"encode-{e.rendition.name}")) for e in encoders]
        waiting: deque[list[Future[list[Packet]]]] = deque()
        for block in _levelled(blocks, level):
            waiting.append([p.submit(e.push, block) for p, e in zip(pools, encoders, strict=True)])
            while len(waiting) > BLOCKS_IN_FLIGHT:
                yield from _finished(encoders, waiting.popleft())
        waiting.append([p.submit(e.flush) for p, e in zip(pools, encoders, strict=True)])
        while waiting:
            yield from _finished(encoders, waiting.popleft())


def _levelled(blocks: Iterable[Block], level: Stage[Block, Block]) -> Iterator[Block]:
    for block in blocks:
        yield from level.push(block)
    yield from level.flush()


def _finished(
    encoders: list[Encoder], lane: list[Future[list[Packet]]]
) -> Iterator[tuple[Encoder, list[Packet]]]:
    for encoder, future in zip(encoders, lane, strict=True):
        packets = future.result()
        if packets:
            yield encoder, packets
