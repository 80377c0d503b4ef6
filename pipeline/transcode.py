"""The second pass: decode, bring to the planned level, encode every rendition side by side.

Each chunk of each rendition has a lane. Packets of a rendition come back in their order, whatever the threads
do.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from functools import partial

from pipeline.chunk_encoder import ChunkEncoder
from pipeline.chunks import CHUNK_SAMPLES, chunks_of
from pipeline.encode import Encoder
from pipeline.ladder import Ladder, Rendition
from pipeline.lanes import Lane, Lanes
from pipeline.media import Block, Packet
from pipeline.stage import Stage

MOST_THREADS = 8
"""Each takes memory and address space; a machine with more cores does more jobs at once."""

SPARE_CHUNKS = 1
"""Decoded ahead of those at work, so that a core that has finished one finds the next."""

MOST_CHUNKS = 4
"""In memory at most: 94 MB."""

Pushed = list[tuple[Encoder, Future[list[Packet]]]]


def encode_ladder(
    blocks: Iterable[Block],
    ladder: Ladder,
    level: Stage[Block, Block],
    samples: int,
    threads: int | None = None,
) -> Iterator[tuple[Encoder, list[Packet]]]:
    """Encode Blocks into every rendition of the ladder.

    Args:
        blocks: at the renditions' rate.
        level: what every Block passes first, one for all renditions.
        samples: of the whole track at 48 kHz, by which lossy renditions are divided.
        threads: that encode; by default one for each core that this process may use, up to MOST_THREADS.
    Yields:
        an encoder (its `rendition`, its `codec_config`) and packets of its rendition, in pts order, with the
        same bytes in every run, whatever the threads.
    """
    threads = threads or min(len(os.sched_getaffinity(0)), MOST_THREADS)
    rows = [_Row(place, rendition, samples) for place, rendition in enumerate(ladder)]
    at_work = math.ceil(threads / len(ladder)) if any(row.is_divided for row in rows) else 0
    most_samples = min(at_work + SPARE_CHUNKS, MOST_CHUNKS) * CHUNK_SAMPLES
    waiting: deque[tuple[int, Pushed]] = deque()
    in_flight = 0
    with Lanes(threads) as lanes:
        for block in _levelled(blocks, level):
            waiting.append((block.samples, [one for row in rows for one in row.push(lanes, block)]))
            in_flight += block.samples
            while in_flight > most_samples or all(future.done() for _, future in waiting[0][1]):
                taken, pushed = waiting.popleft()
                in_flight -= taken
                yield from _finished(pushed)
                if not waiting:
                    break
        waiting.append((0, [one for row in rows for one in row.flush(lanes)]))
        while waiting:
            yield from _finished(waiting.popleft()[1])


def _levelled(blocks: Iterable[Block], level: Stage[Block, Block]) -> Iterator[Block]:
    for block in blocks:
        yield from level.push(block)
    yield from level.flush()


def _finished(pushed: Pushed) -> Iterator[tuple[Encoder, list[Packet]]]:
    for encoder, future in pushed:
        packets = future.result()
        if packets:
            yield encoder, packets


class _Row:
    """The chunks of one rendition, each opened when its first sample comes and left behind its last."""

    def __init__(self, place: int, rendition: Rendition, samples: int) -> None:
        self._place = place
        self._rendition = rendition
        self._ahead = deque(enumerate(chunks_of(rendition, samples)))
        self._open: list[tuple[Lane, ChunkEncoder]] = []

    @property
    def is_divided(self) -> bool:
        """Asked before its first Block."""
        return len(self._ahead) > 1

    def push(self, lanes: Lanes, block: Block) -> Pushed:
        while self._ahead and self._ahead[0][1].fed_from < block.end:
            number, chunk = self._ahead.popleft()
            self._open.append((Lane(rank=number, place=self._place), ChunkEncoder(self._rendition, chunk)))
        self._open = [(lane, part) for lane, part in self._open if not part.has_passed(block)]
        return [(part.encoder, lanes.submit(lane, partial(part.push, block))) for lane, part in self._open]

    def flush(self, lanes: Lanes) -> Pushed:
        return [(part.encoder, lanes.submit(lane, part.flush)) for lane, part in self._open]
