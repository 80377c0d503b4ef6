"""The whole ladder from one pass: equal cuts, order that does not depend on threads."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import signals

from pipeline.ladder import ladder_for
from pipeline.media import Block, Packet
from pipeline.normalize import Gain
from pipeline.transcode import encode_ladder


def blocks(pcm: np.ndarray, size: int = 16_384) -> list[Block]:
    return [Block(pts=s, pcm=pcm[:, s : s + size]) for s in range(0, pcm.shape[1], size)]


def test_every_rendition_of_a_codec_has_the_same_packets_on_the_same_clock() -> None:
    """hls.md 3: renditions cut at different frames are among what breaks players most."""
    pcm = signals.music(9.3, 48_000, 2)
    packets: dict[str, list[Packet]] = defaultdict(list)
    for encoder, some in encode_ladder(blocks(pcm), ladder_for(2), Gain(0.0)):
        packets[encoder.rendition.name] += some
    assert list(packets) == ["128k", "192k", "320k", "opus-128"]
    clocks = [[(p.pts, p.duration, p.trim_start, p.trim_end) for p in some] for some in packets.values()]
    assert clocks[0] == clocks[1] == clocks[2] != clocks[3]
    assert {sum(p.duration for p in some) for some in packets.values()} == {pcm.shape[1]}


def test_two_runs_give_the_same_bytes_in_the_same_order() -> None:
    pcm = signals.music(3.0, 48_000, 2)
    runs = [
        [
            (e.rendition.name, p.data)
            for e, some in encode_ladder(blocks(pcm), ladder_for(2), Gain(-3.0))
            for p in some
        ]
        for _ in range(2)
    ]
    assert runs[0] == runs[1]


def test_a_failing_source_ends_the_lanes() -> None:
    """The error comes through, and no encoder thread stays behind."""
    import threading

    def broken():  # type: ignore[no-untyped-def]
        yield from blocks(signals.music(1.0, 48_000, 2))
        raise OSError("gone")

    before = threading.active_count()
    try:
        list(encode_ladder(broken(), ladder_for(2), Gain(0.0)))
    except OSError as error:
        assert str(error) == "gone"
    assert threading.active_count() == before
