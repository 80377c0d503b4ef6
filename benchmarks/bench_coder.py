"""Coders of AAC and of Opus, with their options: speed, bit rate reached and audible noise, on given music.

    .venv/bin/python benchmarks/bench_coder.py track.flac other.wav

README.md beside this file says what came out and why the ladder uses what it uses.
"""

from __future__ import annotations

import argparse
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from noise import RATE_HZ, Noise, noise

from pipeline.decode import Reader
from pipeline.encode import CODER_OPTIONS, SAMPLE_FORMATS
from pipeline.ladder import DEFAULT_LADDER, RUNGS, Codec, Rendition
from pipeline.media import Pcm
from pipeline.resample import Resampler

LONGEST_S = 86_400.0
BLOCK_SAMPLES = 16_384
PRIMING_SAMPLES = {Codec.AAC: 1024, Codec.OPUS: 0}
"""What the decoder leaves in front: Opus's skips it by itself."""

CODERS = {
    Codec.AAC: {
        "FFmpeg's default": {},
        "two-loop, plain": {"aac_coder": "twoloop", "aac_pns": "0", "aac_is": "0"},
        "fast": {"aac_coder": "fast"},
        "ours": CODER_OPTIONS[Codec.AAC],
    },
    Codec.OPUS: {
        "FFmpeg's default": {},
        "constrained, 10": {"vbr": "constrained", "compression_level": "10"},
        "constrained, 5": {"vbr": "constrained", "compression_level": "5"},
        "ours": CODER_OPTIONS[Codec.OPUS],
    },
}
"""Plain: without noise substitution and intensity stereo, which this measure cannot judge: it takes a band
that sounds alike for one that is wrong."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Coders of AAC and Opus on given music.")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0, help="how much of each (20)")
    asked = parser.parse_args()
    heads = ("kbit/s", "x real", "NMR dB", "p95 dB", "audible")
    print(f"{'file':18}{'rung':>9}  {'coder':18}" + "".join(f"{head:>8}" for head in heads))
    for file in asked.files:
        pcm = grid(file)[:, : round(asked.seconds * RATE_HZ)]
        seconds = pcm.shape[1] / RATE_HZ
        for rung in map(RUNGS.__getitem__, DEFAULT_LADDER):
            for name, options in CODERS[rung.codec].items():
                coded_bytes, cpu_s, heard = code(pcm, rung, options)
                reached = f"{coded_bytes / seconds / 125:8.1f}{seconds / cpu_s:8.1f}"
                sounds = f"{heard.mean_db:8.1f}{heard.worst_db:8.1f}{heard.audible_share:8.1%}"
                print(f"{file.name[:17]:18}{rung.name:>9}  {name:18}{reached}{sounds}", flush=True)


def grid(file: Path) -> Pcm:
    """A file as the encoders get it: 48 kHz stereo, without a gain."""
    reader = Reader(file, LONGEST_S)
    resampler: Resampler | None = None
    pcm: list[Pcm] = []
    for block in reader:
        resampler = resampler or Resampler(reader.rate_hz, block.pcm.shape[0])
        pcm += [out.pcm for out in resampler.push(block)]
    assert resampler is not None
    whole = np.concatenate([*pcm, *(out.pcm for out in resampler.flush())], axis=1)
    return np.repeat(whole, 2, axis=0) if whole.shape[0] == 1 else whole


def code(pcm: Pcm, rung: Rendition, options: dict[str, str]) -> tuple[int, float, Noise]:
    """Encode and decode; the coded bytes, the encoder's CPU seconds and what is heard of it."""
    encoder = _encoder(rung, options)
    packets: list[bytes] = []
    began = time.process_time()
    for start in range(0, pcm.shape[1], BLOCK_SAMPLES):
        block = np.ascontiguousarray(pcm[:, start : start + BLOCK_SAMPLES])
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, start, Fraction(1, RATE_HZ)
        packets += map(bytes, encoder.encode(frame))
    packets += map(bytes, encoder.encode(None))
    cpu_s = time.process_time() - began
    decoded = _decoded(rung.codec, packets, bytes(encoder.extradata or b""))
    return sum(map(len, packets)), cpu_s, noise(pcm, decoded[:, PRIMING_SAMPLES[rung.codec] :])


def _encoder(rung: Rendition, options: dict[str, str]) -> av.AudioCodecContext:
    encoder = av.CodecContext.create(rung.codec, "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.bit_rate, encoder.sample_rate = rung.bitrate_bps, RATE_HZ
    encoder.layout, encoder.format = "stereo", SAMPLE_FORMATS[rung.codec]
    encoder.time_base, encoder.options = Fraction(1, RATE_HZ), dict(options)
    encoder.flags |= av.codec.context.Flags.global_header
    encoder.open()
    return encoder


def _decoded(codec: Codec, packets: list[bytes], config: bytes) -> Pcm:
    decoder = av.CodecContext.create({Codec.AAC: "aac", Codec.OPUS: "opus"}[codec], "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.extradata = config
    frames = [frame for packet in packets for frame in decoder.decode(av.Packet(packet))]
    return np.concatenate([frame.to_ndarray() for frame in [*frames, *decoder.decode(None)]], axis=1)


if __name__ == "__main__":
    main()
