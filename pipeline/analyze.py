"""One decode pass over a track, and everything that is measured in it."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.grid import RATE_HZ
from pipeline.loudness import Loudness, LoudnessMeter
from pipeline.media import Block, Pcm
from pipeline.power import Levels, PowerMeter
from pipeline.programme import Programme
from pipeline.trial import LoudestExcerpt
from pipeline.truepeak import TruePeakMeter, dbtp
from pipeline.waveform import Waveform, WaveformMeter


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Analysis:
    """What one pass at 48 kHz measured: `samples` is the track's exact length at that rate.

    The gain is planned from `loudness` and tried on `excerpt`, the loudest ten seconds (channels, samples);
    of `levels`, from another meter, the maxima are told, and `programme`, its gating blocks, is planned from
    where tracks have one gain together.
    """

    samples: int
    channels: int
    loudness: Loudness
    levels: Levels
    programme: Programme
    true_peak_dbtp: float | None
    waveform: Waveform
    excerpt: Pcm

    @property
    def duration_s(self) -> float:
        """Seconds of sound."""
        return self.samples / RATE_HZ


class Analyzer:
    """A meter of meters: feed it the 48 kHz Blocks of a track in order."""

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._samples = 0
        self._loudness = LoudnessMeter(channels)
        self._levels = PowerMeter(channels)
        self._true_peak = TruePeakMeter(channels)
        self._waveform = WaveformMeter(channels)
        self._excerpt = LoudestExcerpt(channels)

    def push(self, block: Block) -> None:
        self._samples += block.samples
        self._loudness.push(block)
        self._levels.push(block)
        self._true_peak.push(block)
        self._waveform.push(block)
        self._excerpt.push(block)

    def result(self) -> Analysis:
        return Analysis(
            samples=self._samples,
            channels=self._channels,
            loudness=self._loudness.result(),
            levels=self._levels.result(),
            programme=self._levels.programme,
            true_peak_dbtp=dbtp(self._true_peak.result()),
            waveform=self._waveform.result(),
            excerpt=self._excerpt.result(),
        )
