"""The nouns keep their promises."""

from __future__ import annotations

import numpy as np

from pipeline.media import Block, Packet


def test_a_block_ends_where_the_next_begins() -> None:
    block = Block(pts=10, pcm=np.zeros((2, 5), np.float32))
    assert (block.samples, block.end) == (5, 15)


def test_a_packet_is_its_trims_and_what_it_presents() -> None:
    """architecture.md: trim_start + duration + trim_end = the codec's frame size."""
    assert Packet(pts=0, duration=900, data=b"", trim_start=24, trim_end=100).frame_samples == 1024
