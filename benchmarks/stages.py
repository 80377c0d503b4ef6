"""Where a job's CPU time goes: every stage of the pipeline by itself, one after the other, in one process.

.venv/bin/python benchmarks/stages.py track.flac
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

import orjson

from hls.cmaf import Track
from hls.segmenter import Segmenter
from pipeline.audit import Audit
from pipeline.decode import Reader
from pipeline.encode import Encoder
from pipeline.ladder import ladder_for
from pipeline.loudness import LoudnessMeter
from pipeline.media import Block
from pipeline.normalize import Gain, plan_gain
from pipeline.power import PowerMeter
from pipeline.resample import Resampler
from pipeline.trial import LoudestExcerpt
from pipeline.truepeak import TruePeakMeter, dbtp
from pipeline.waveform import WaveformMeter

P = ParamSpec("P")
T = TypeVar("T")

CHANNELS = 2
LONGEST_S = 86_400.0


class Stopwatch:
    """CPU seconds by stage, of all threads that work in it."""

    def __init__(self) -> None:
        self.cpu_s: defaultdict[str, float] = defaultdict(float)

    def call(self, stage: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        began = time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            self.cpu_s[stage] += time.process_time() - began

    def each(self, stage: str, items: Iterable[T]) -> Iterator[T]:
        """Pass items on; what it takes to make them is the stage's."""
        iterator = iter(items)
        end = object()
        while (item := self.call(stage, next, iterator, end)) is not end:
            yield item  # type: ignore[misc]


def profile(song: Path) -> dict[str, float]:
    """CPU seconds of each stage over a stereo song, in the order of the work, from a process of their own."""
    # as the runner sets it for a job's child; numpy reads it once, when it is imported
    env = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    told = subprocess.run([sys.executable, __file__, str(song)], capture_output=True, env=env, check=True)
    stages: dict[str, float] = orjson.loads(told.stdout)
    return stages


def main() -> None:
    song, watch = Path(sys.argv[1]), Stopwatch()
    gain_db = _analyze(song, watch)
    _encode(song, gain_db, watch)
    print(orjson.dumps({stage: round(cpu_s, 3) for stage, cpu_s in watch.cpu_s.items()}).decode())


def _blocks(song: Path, prefix: str, watch: Stopwatch) -> Iterator[Block]:
    reader = Reader(song, LONGEST_S)
    resampler: Resampler | None = None
    for block in watch.each(f"{prefix}: decode", reader):
        resampler = resampler or Resampler(reader.rate_hz, CHANNELS)
        yield from watch.call(f"{prefix}: resample", resampler.push, block)
    assert resampler is not None
    yield from watch.call(f"{prefix}: resample", resampler.flush)


def _analyze(song: Path, watch: Stopwatch) -> float:
    loudness, peak, waveform = LoudnessMeter(CHANNELS), TruePeakMeter(CHANNELS), WaveformMeter(CHANNELS)
    levels, excerpt = PowerMeter(CHANNELS), LoudestExcerpt(CHANNELS)
    for block in _blocks(song, "analyze", watch):
        watch.call("analyze: loudness", loudness.push, block)
        watch.call("analyze: levels", levels.push, block)
        watch.call("analyze: true peak", peak.push, block)
        watch.call("analyze: waveform", waveform.push, block)
        watch.call("analyze: loudest excerpt", excerpt.push, block)
    return plan_gain(loudness.result(), dbtp(peak.result())).gain_db


def _encode(song: Path, gain_db: float, watch: Stopwatch) -> None:
    gain = Gain(gain_db)
    encoders = [Encoder(rendition) for rendition in ladder_for(CHANNELS)]
    audits = {e.rendition.name: Audit(e.rendition, e.codec_config) for e in encoders}
    segmenters: dict[str, Segmenter] = {}
    for block in _blocks(song, "encode", watch):
        for amplified in watch.call("encode: gain", gain.push, block):
            for encoder in encoders:
                name = encoder.rendition.name
                packets = watch.call(f"encode: {encoder.rendition.codec} {name}", encoder.push, amplified)
                watch.call("verify: decode and measure", audits[name].push, packets)
                for packet in packets:
                    if name not in segmenters:
                        segmenters[name] = Segmenter(_track(encoder, packet.trim_start))
                    for segment in watch.call("encode: segments", segmenters[name].push, packet):
                        watch.call("encode: segments", lambda s=segment: s.sha256)


def _track(encoder: Encoder, priming_samples: int) -> Track:
    rendition = encoder.rendition
    return Track(
        codec=rendition.codec,
        rate_hz=rendition.rate_hz,
        channels=rendition.channels,
        bitrate_bps=rendition.bitrate_bps,
        priming_samples=priming_samples,
        codec_config=encoder.codec_config,
    )


if __name__ == "__main__":
    main()
