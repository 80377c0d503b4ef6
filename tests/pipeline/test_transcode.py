"""The whole ladder from one pass: equal cuts, order that does not depend on threads."""

from __future__ import annotations

import os
import threading
from collections import defaultdict

import numpy as np
import pytest
import signals

from pipeline import chunks
from pipeline.grid import SEGMENT_SAMPLES
from pipeline.ladder import ladder_for
from pipeline.media import Block, Packet
from pipeline.normalize import Gain
from pipeline.transcode import MOST_THREADS, encode_ladder


def blocks(pcm: np.ndarray, size: int = 16_384) -> list[Block]:
    return [Block(pts=s, pcm=pcm[:, s : s + size]) for s in range(0, pcm.shape[1], size)]


def test_every_rendition_of_a_codec_has_the_same_packets_on_the_same_clock() -> None:
    """hls.md 3: renditions cut at different frames are among what breaks players most."""
    pcm = signals.music(9.3, 48_000, 2)
    packets: dict[str, list[Packet]] = defaultdict(list)
    for encoder, some in encode_ladder(blocks(pcm), ladder_for(2), Gain(0.0), pcm.shape[1]):
        packets[encoder.rendition.name] += some
    assert list(packets) == ["128k", "192k", "320k", "opus-128"]
    clocks = [[(p.pts, p.duration, p.trim_start, p.trim_end) for p in some] for some in packets.values()]
    assert clocks[0] == clocks[1] == clocks[2] != clocks[3]
    assert {sum(p.duration for p in some) for some in packets.values()} == {pcm.shape[1]}


def test_the_bytes_do_not_depend_on_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three chunks of each rendition, made by one thread and by three, which finish them in another order."""
    monkeypatch.setattr(chunks, "CHUNK_SAMPLES", SEGMENT_SAMPLES)
    pcm = signals.music(12.0, 48_000, 2)
    runs = []
    for threads in (1, 3):
        made: dict[str, list[Packet]] = defaultdict(list)
        passing = encode_ladder(
            blocks(pcm), ladder_for(2, ("128k", "opus-64")), Gain(-3.0), pcm.shape[1], threads
        )
        for encoder, some in passing:
            made[encoder.rendition.name] += some
        runs.append(made)
    assert runs[0] == runs[1]
    assert {sum(p.duration for p in some) for some in runs[0].values()} == {pcm.shape[1]}


def test_however_many_cores_there_are_the_threads_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each needs memory, of which a job may use so much and no more."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(256)))
    pcm = signals.music(6.0, 48_000, 2)
    before = threading.active_count()
    most = 0
    for _ in encode_ladder(blocks(pcm, 1_000), ladder_for(2), Gain(0.0), pcm.shape[1]):
        most = max(most, threading.active_count() - before)
    assert 1 < most <= MOST_THREADS


def test_a_failing_source_ends_the_lanes() -> None:
    """The error comes through, and no encoder thread stays behind."""

    def broken():  # type: ignore[no-untyped-def]
        yield from blocks(signals.music(1.0, 48_000, 2))
        raise OSError("gone")

    before = threading.active_count()
    try:
        list(encode_ladder(broken(), ladder_for(2), Gain(0.0), 96_000))
    except OSError as error:
        assert str(error) == "gone"
    assert threading.active_count() == before
