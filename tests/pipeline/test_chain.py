"""Stages in a row: what one gives, the next takes, to the last held sample."""

from __future__ import annotations

import numpy as np
import signals

from pipeline.chain import Chain
from pipeline.media import Block


class Late:
    """A stage that holds one Block back, and counts through its own pts what it was given."""

    def __init__(self, gain: float) -> None:
        self._gain = np.float32(gain)
        self._held: list[Block] = []

    def push(self, item: Block) -> list[Block]:
        given, self._held = self._held, [Block(pts=item.pts, pcm=item.pcm * self._gain)]
        return given

    def flush(self) -> list[Block]:
        return self._held


def test_every_block_comes_out_once_in_order_through_all_stages() -> None:
    pcm = signals.noise(0.01)
    chain = Chain(Late(2), Late(3), Late(5))
    out = [made for block in signals.blocks(pcm, 50) for made in chain.push(block)]
    assert len(out) == 10 - 3
    out += chain.flush()
    assert [block.pts for block in out] == list(range(0, 480, 50))
    assert np.allclose(np.concatenate([block.pcm for block in out], axis=1), pcm * 30)


def test_a_chain_without_stages_passes_blocks_through() -> None:
    (block,) = signals.blocks(signals.silence(0.01))
    assert Chain().push(block) == [block]
    assert Chain().flush() == []
