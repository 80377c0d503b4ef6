"""How chunks join: the coding error where one begins, for several lengths of pre-roll.

    .venv/bin/python benchmarks/bench_joins.py a.flac [b.wav ...]     # the first two minutes of each, stereo

The error is what is decoded less the source. What a join costs is its level over four frames there, less that
of one continuous encode at the same place: mean and worst, in dB; `overall` is that of everything. Chunks are
far shorter here than the product's, so that there are many joins.
"""

from __future__ import annotations

import sys
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.audit import DECODERS
from pipeline.chunk_encoder import ChunkEncoder
from pipeline.chunks import LOOKAHEAD_FRAMES, Chunk
from pipeline.decode import Reader
from pipeline.encode import Encoder
from pipeline.ladder import RUNGS, Rendition
from pipeline.media import Block, Packet
from pipeline.resample import Resampler

RUNG_NAMES = ("128k", "192k", "320k", "opus-128")
PREROLLS = (8, 24, 48, 96, 192)
CHUNK_FRAMES = 240
ERROR_FRAMES = 4
BLOCK_SAMPLES = 16_384
MUSIC_S = 120
RATE_HZ = 48_000

Pcm = NDArray[np.float32]


def main() -> None:
    for path in map(Path, sys.argv[1:]):
        pcm = _music(path)
        for name in RUNG_NAMES:
            rendition = RUNGS[name]
            one = _error(
                rendition,
                _packets(ChunkEncoder(rendition, Chunk(first=0, stop=None, fed_from=0, fed_to=None)), pcm),
                pcm,
            )
            for preroll in PREROLLS:
                packets, joins = _divided(rendition, pcm, preroll)
                error = _error(rendition, packets, pcm)
                cost_db = np.array(
                    [_level_db(error, rendition, join) - _level_db(one, rendition, join) for join in joins]
                )
                overall_db = 10 * np.log10(np.mean(error**2) / np.mean(one**2))
                print(
                    f"{path.name}: {name}, pre-roll {preroll}: {len(joins)} joins,"
                    f" mean {cost_db.mean():+.2f} dB, worst {cost_db.max():+.2f} dB,"
                    f" overall {overall_db:+.2f} dB",
                    flush=True,
                )


def _music(path: Path) -> Pcm:
    reader, resampler, blocks = Reader(path, 4 * 3600.0), None, []
    for block in reader:
        resampler = resampler or Resampler(reader.rate_hz, block.pcm.shape[0])
        blocks += resampler.push(block)
        if blocks and blocks[-1].end >= MUSIC_S * RATE_HZ:
            break
    return np.concatenate([block.pcm for block in blocks], axis=1)


def _divided(rendition: Rendition, pcm: Pcm, preroll: int) -> tuple[list[Packet], list[int]]:
    frame = rendition.frame_samples
    joins = list(range(CHUNK_FRAMES, pcm.shape[1] // frame - CHUNK_FRAMES, CHUNK_FRAMES))
    packets: list[Packet] = []
    for first, stop in zip([0, *joins], [*joins, None], strict=True):
        chunk = Chunk(
            first=first,
            stop=stop,
            fed_from=max(first - preroll, 0) * frame,
            fed_to=None if stop is None else (stop + LOOKAHEAD_FRAMES) * frame,
        )
        packets += _packets(ChunkEncoder(rendition, chunk), pcm)
    return packets, joins


def _packets(encoder: ChunkEncoder, pcm: Pcm) -> list[Packet]:
    starts = range(0, pcm.shape[1], BLOCK_SAMPLES)
    blocks = [Block(pts=start, pcm=pcm[:, start : start + BLOCK_SAMPLES]) for start in starts]
    return [packet for block in blocks for packet in encoder.push(block)] + encoder.flush()


def _error(rendition: Rendition, packets: list[Packet], pcm: Pcm) -> Pcm:
    decoder = av.CodecContext.create(DECODERS[rendition.codec], "r")
    decoder.extradata = Encoder(rendition).codec_config
    decoder.flags2 |= av.codec.context.Flags2.skip_manual
    frames = [
        frame.to_ndarray()[:, packet.trim_start : packet.trim_start + packet.duration]
        for packet in packets
        for frame in decoder.decode(av.Packet(packet.data))
    ]
    return np.concatenate(frames, axis=1) - pcm


def _level_db(error: Pcm, rendition: Rendition, join: int) -> float:
    """From one frame before the first packet of the chunk."""
    start = (join - 2) * rendition.frame_samples
    return float(
        10 * np.log10(np.mean(error[:, start : start + ERROR_FRAMES * rendition.frame_samples] ** 2) + 1e-20)
    )


if __name__ == "__main__":
    main()
