"""What a listener hears of a page: which tones, on which side, at which position.

Owns: the tap behind an audio element of a real browser, and a track whose two sides cannot be taken for one
another. A position says that media go on; only what the tap saw says that they sound.
Source: Web Audio API 1.1, 1.8 (AnalyserNode: Blackman window, full scale is 0 dB) and 1.30 (the splitter).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import signals
from playwright.sync_api import Locator

LEFT_HZ, RIGHT_HZ = 440.0, 880.0
"""An octave apart: no lossy coder takes one for the other, and a sum of both is neither."""

SILENCE_DBFS = -60.0

# the element's own stream where it has one: of that Chromium gives an element source nothing to hear
TAP = """async (audio, [left, right]) => {
  const context = new AudioContext({ sampleRate: 48000 });
  const source = audio.srcObject
    ? context.createMediaStreamSource(audio.srcObject)
    : context.createMediaElementSource(audio);
  const splitter = new ChannelSplitterNode(context, { numberOfOutputs: 2 });
  const sides = [0, 1].map((side) => {
    const analyser = new AnalyserNode(context, { fftSize: 8192, smoothingTimeConstant: 0 });
    splitter.connect(analyser, side);
    return analyser;
  });
  source.connect(splitter);
  if (!audio.srcObject) source.connect(context.destination);
  await context.resume();
  const moments = (audio.moments = []);
  const spectrum = new Float32Array(sides[0].frequencyBinCount);
  const samples = new Float32Array(sides[0].fftSize);
  const bin = (hertz) => Math.round((hertz * sides[0].fftSize) / context.sampleRate);
  const quiet = -200;
  setInterval(() => {
    const heard = sides.map((side) => {
      side.getFloatFrequencyData(spectrum);
      side.getFloatTimeDomainData(samples);
      const peak = samples.reduce((most, one) => Math.max(most, Math.abs(one)), 0);
      return [peak, Math.max(quiet, spectrum[bin(left)]), Math.max(quiet, spectrum[bin(right)])];
    });
    moments.push([audio.currentTime, ...heard]);
  }, 40);
}"""


@dataclass(frozen=True, slots=True)
class Side:
    """What one channel carried: its peak (full scale is 1) and the level of both tones, in dBFS."""

    peak: float
    left_dbfs: float
    right_dbfs: float


@dataclass(frozen=True, slots=True)
class Moment:
    """170 ms up to a look at the tap; `at_s` is the element's position then."""

    at_s: float
    left: Side
    right: Side

    @property
    def sounds(self) -> bool:
        return max(self.left.peak, self.right.peak) > 10 ** (SILENCE_DBFS / 20)


class Ears:
    """Listens to an audio element from now on, 25 times a second."""

    def __init__(self, audio: Locator, tones_hz: tuple[float, float] = (LEFT_HZ, RIGHT_HZ)) -> None:
        """Tap the element; it has its source by now if that is a MediaStream, and is tapped once."""
        self._audio = audio
        audio.evaluate(TAP, list(tones_hz))

    def moments(self, start_s: float = 0.0, end_s: float = float("inf")) -> list[Moment]:
        """What was heard while the position was between these, in the order it was heard."""
        found: Sequence[Any] = self._audio.evaluate("audio => audio.moments")
        return [Moment(at, Side(*left), Side(*right)) for at, left, right in found if start_s <= at <= end_s]

    def loudest(self, start_s: float, end_s: float) -> float:
        """The peak of both sides between these positions; full scale is 1, and 0 if nothing was heard."""
        return max((max(one.left.peak, one.right.peak) for one in self.moments(start_s, end_s)), default=0.0)

    def separation_db(self, start_s: float, end_s: float) -> tuple[float, float]:
        """By how much each side's own tone stood above the other one's there, median, left and right.

        Tens of dB where sides are kept, 0 where they are mixed, negative where they are swapped.

        Raises:
            AssertionError: nothing sounded between these positions.
        """
        heard = [one for one in self.moments(start_s, end_s) if one.sounds]
        assert heard, f"silence between {start_s:g} and {end_s:g} s"
        left = np.median([one.left.left_dbfs - one.left.right_dbfs for one in heard])
        right = np.median([one.right.right_dbfs - one.right.left_dbfs for one in heard])
        return float(left), float(right)


def sides(duration_s: float, rate_hz: int = 48_000) -> signals.Pcm:
    """A sine of LEFT_HZ on the left and one of RIGHT_HZ on the right."""
    return np.concatenate(
        [signals.sine(tone, duration_s, rate_hz, channels=1) for tone in (LEFT_HZ, RIGHT_HZ)]
    )
