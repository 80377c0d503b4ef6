"""The packets of chunks, one after another, are a track: the same clock, no join to be heard."""

from __future__ import annotations

from dataclasses import replace

import av
import numpy as np
import pytest
import signals

from pipeline.audit import DECODERS
from pipeline.chunk_encoder import ChunkEncoder
from pipeline.chunks import LOOKAHEAD_FRAMES, PREROLL_FRAMES, Chunk, chunks_of
from pipeline.encode import Encoder
from pipeline.ladder import RUNGS
from pipeline.media import Packet

Pcm = signals.Pcm


def divided(name: str, pcm: Pcm, frames: int) -> tuple[list[Packet], list[int]]:
    """The packets of chunks as long as that, and the places of the joins among them."""
    rendition = RUNGS[name]
    frame = rendition.frame_samples
    joins = list(range(frames, pcm.shape[1] // frame - frames, frames))
    packets: list[Packet] = []
    for first, stop in zip([0, *joins], [*joins, None], strict=True):
        chunk = Chunk(
            first=first,
            stop=stop,
            fed_from=max(first - PREROLL_FRAMES[rendition.codec], 0) * frame,
            fed_to=None if stop is None else (stop + LOOKAHEAD_FRAMES) * frame,
        )
        packets += made(ChunkEncoder(rendition, chunk), pcm)
    return packets, joins


def made(encoder: ChunkEncoder, pcm: Pcm, size: int = 16_384) -> list[Packet]:
    packets = [packet for block in signals.blocks(pcm, size) for packet in encoder.push(block)]
    return packets + encoder.flush()


def continuous(name: str, pcm: Pcm) -> list[Packet]:
    encoder = Encoder(RUNGS[name])
    return [
        packet for block in signals.blocks(pcm, 16_384) for packet in encoder.push(block)
    ] + encoder.flush()


def decoded(name: str, packets: list[Packet]) -> Pcm:
    """What is presented of the packets: (channels, samples)."""
    decoder = av.CodecContext.create(DECODERS[RUNGS[name].codec], "r")
    decoder.extradata = Encoder(RUNGS[name]).codec_config
    decoder.flags2 |= av.codec.context.Flags2.skip_manual
    frames = [
        frame.to_ndarray()[:, packet.trim_start : packet.trim_start + packet.duration]
        for packet in packets
        for frame in decoder.decode(av.Packet(packet.data))
    ]
    return np.concatenate(frames, axis=1)


@pytest.mark.parametrize("name", ["128k", "opus-128"])
@pytest.mark.parametrize("extra", [-1, 0, 1, 500])
def test_the_clock_of_the_chunks_is_that_of_one_encode(name: str, extra: int) -> None:
    """Times, trims and the number of packets, of tracks that end anywhere in a frame."""
    pcm = signals.music(6.0)[:, : 250 * 960 + extra]
    whole = continuous(name, pcm)
    packets, joins = divided(name, pcm, 60)
    assert len(joins) >= 2
    assert [replace(packet, data=b"") for packet in packets] == [
        replace(packet, data=b"") for packet in whole
    ]
    assert [packet.data for packet in packets[: joins[0]]] == [packet.data for packet in whole[: joins[0]]]


@pytest.mark.parametrize("name", ["192k", "opus-64"])
def test_what_comes_after_the_lookahead_changes_nothing(name: str) -> None:
    """No coder looks further ahead than it is fed."""
    pcm = signals.music(4.0)
    frame = RUNGS[name].frame_samples
    chunk = Chunk(first=50, stop=100, fed_from=2 * frame, fed_to=(100 + LOOKAHEAD_FRAMES) * frame)
    further = replace(chunk, fed_to=(100 + 10 * LOOKAHEAD_FRAMES) * frame)
    packets = made(ChunkEncoder(RUNGS[name], chunk), pcm)
    assert len(packets) == 50
    assert packets == made(ChunkEncoder(RUNGS[name], further), pcm)


@pytest.mark.parametrize("size", [1_000, 4_096, 200_000])
def test_blocks_of_any_size_give_the_same_packets(size: int) -> None:
    pcm = signals.music(4.0)
    chunk = Chunk(first=60, stop=120, fed_from=12 * 1024, fed_to=124 * 1024)
    packets = made(ChunkEncoder(RUNGS["128k"], chunk), pcm, size)
    assert packets == made(ChunkEncoder(RUNGS["128k"], chunk), pcm)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["128k", "192k", "320k", "opus-128"])
def test_no_join_can_be_told_from_the_middle_of_a_chunk(name: str) -> None:
    """On stationary noise, over 100 joins: 0.5 dB on average, 3 dB at most; over everything 0.5 dB."""
    frame, frames = RUNGS[name].frame_samples, 60
    pcm = (signals.noise(136.0, seed=3) * 0.1).astype(np.float32)
    packets, joins = divided(name, pcm, frames)
    assert len(joins) >= 100
    priming = packets[0].trim_start
    error = decoded(name, packets) - pcm
    one = decoded(name, continuous(name, pcm)) - pcm

    def level_db(start: int) -> float:
        return float(10 * np.log10(np.mean(error[:, start : start + 4 * frame] ** 2)))

    at_joins = np.array([level_db((join - 1) * frame - priming) for join in joins])
    between = np.array([level_db((join + frames // 2) * frame - priming) for join in joins])
    assert at_joins.mean() - between.mean() <= 0.5
    assert at_joins.max() - between.mean() <= 3.0
    assert 10 * np.log10(np.mean(error**2) / np.mean(one**2)) <= 0.5


def test_a_short_track_is_one_encode() -> None:
    pcm = signals.music(2.0)
    [chunk] = chunks_of(RUNGS["128k"], pcm.shape[1])
    assert made(ChunkEncoder(RUNGS["128k"], chunk), pcm) == continuous("128k", pcm)
