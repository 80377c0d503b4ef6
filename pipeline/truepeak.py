"""True-peak meter.

Owns: the highest inter-sample peak of a stream, over all its channels. Pure; feed 48 kHz Blocks in order.
Source: ITU-R BS.1770-5 Annex 2 (4x oversampling), with an interpolator of our own in place of the Annex's 48
taps: a sinc under a Kaiser window, 32 taps a phase.

How far it can be off (`test_truepeak.py` holds it to these figures): the interpolator is flat within 0.002 dB
up to 20 kHz and within 0.14 dB up to 21 kHz; a crest may lie between two of the four points, an eighth of a
sample away at most, where a sine of 12 kHz reads 0.17 dB low and one of 20 kHz 0.48 dB.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pipeline.media import Block, Pcm

OVERSAMPLING = 4
"""Annex 2 asks for at least 192 kHz."""

TAPS = 32
KAISER_BETA = 8.0
FRAME_SAMPLES = TAPS
"""Interpolated or skipped at once; as long as the filter, so that it reaches into one neighbour only."""

REPORTED_STEPS_PER_DB = 1000
"""What processors differ by in a float's last bits must not reach the gain, which names a track's version."""


def _interpolator() -> NDArray[np.float32]:
    """The points between two samples: shape (OVERSAMPLING - 1, TAPS), each phase sums to 1."""
    positions = np.arange(TAPS) - (TAPS / 2 - 1)
    phases = []
    for k in range(1, OVERSAMPLING):
        at = positions - k / OVERSAMPLING
        window = np.i0(KAISER_BETA * np.sqrt(np.maximum(0, 1 - (2 * at / TAPS) ** 2))) / np.i0(KAISER_BETA)
        phase = np.sinc(at) * window
        phases.append(phase / phase.sum())
    return np.array(phases, np.float32)


def _frame_matrix(phases: NDArray[np.float32]) -> NDArray[np.float32]:
    """All points of a frame as one product: shape (FRAME_SAMPLES + TAPS - 1, points of a frame).

    Half of it is zeros; one large product is still faster than 32 passes over the samples.
    """
    matrix = np.zeros((FRAME_SAMPLES + TAPS - 1, len(phases), FRAME_SAMPLES), np.float32)
    for start in range(FRAME_SAMPLES):
        matrix[start : start + TAPS, :, start] = phases.T
    return matrix.reshape(len(matrix), -1)


PHASES = _interpolator()
FRAME_MATRIX = _frame_matrix(PHASES)
LARGEST_GAIN = float(np.abs(PHASES).sum(axis=1).max())
"""No interpolated value exceeds the largest of its samples by more than this factor."""


def _largest_bend(phases: NDArray[np.float32]) -> float:
    """How far an interpolated value may lie outside its two neighbours, in units of the second difference.

    A phase less the straight line with the same centre of gravity has no sum and no first moment, so it is a
    filter behind second differences; the sum of that one's taps bounds what it adds.
    """
    at = np.arange(TAPS) - (TAPS / 2 - 1)
    most = 0.0
    for phase in phases.astype(np.float64):
        centre = float(phase @ at)
        line = np.maximum(0.0, 1 - np.abs(at - centre))
        most = max(most, float(np.abs(np.cumsum(np.cumsum(phase - line))).sum()))
    return most


LARGEST_BEND = _largest_bend(PHASES)
"""Under 0.44: music is mostly so smooth at 48 kHz that this bound leaves few frames to interpolate."""


class TruePeakMeter:
    """A meter over 48 kHz Blocks of `channels` channels, of any size; their samples are finite."""

    def __init__(self, channels: int) -> None:
        self._peak = 0.0
        # what the filter still needs: it starts on silence, and waits until a frame is whole
        self._held: Pcm = np.zeros((channels, TAPS - 1), np.float32)

    def push(self, block: Block) -> None:
        pcm = np.concatenate([self._held, block.pcm], axis=1)
        measured = (pcm.shape[1] - (TAPS - 1)) // FRAME_SAMPLES * FRAME_SAMPLES
        self._held = pcm[:, measured:].copy()
        self._peak = self._highest(pcm[:, : measured + TAPS - 1])

    def result(self) -> float:
        """The highest inter-sample peak, linear, 1.0 is full scale; never below the sample peak."""
        silence = np.zeros((len(self._held), 2 * FRAME_SAMPLES), np.float32)
        pcm = np.concatenate([self._held, silence], axis=1)
        measured = (pcm.shape[1] - (TAPS - 1)) // FRAME_SAMPLES * FRAME_SAMPLES
        return self._highest(pcm[:, : measured + TAPS - 1])

    def _highest(self, pcm: Pcm) -> float:
        """The peak so far, or that of whole frames and the TAPS - 1 samples after them."""
        magnitude = np.abs(pcm)
        largest = float(magnitude.max(initial=0.0))
        peak = max(self._peak, largest)
        if largest * LARGEST_GAIN <= peak or pcm.shape[1] < FRAME_SAMPLES + TAPS - 1:
            return peak
        windows = sliding_window_view(pcm, FRAME_SAMPLES + TAPS - 1, axis=1)[:, ::FRAME_SAMPLES]
        candidates = windows[self._window_peaks(magnitude) * LARGEST_GAIN > peak]
        between = candidates[_bounds(candidates) > peak] @ FRAME_MATRIX
        return max(peak, float(between.max(initial=0.0)), -float(between.min(initial=0.0)))

    @staticmethod
    def _window_peaks(magnitude: Pcm) -> Pcm:
        """The largest sample within the filters' reach, its own or the next one's: (channels, frames)."""
        padded = np.pad(magnitude, ((0, 0), (0, 1)))  # the last window ends one sample short of a frame
        peaks = padded.reshape(len(padded), -1, FRAME_SAMPLES).max(axis=2)
        return np.asarray(np.maximum(peaks[:, :-1], peaks[:, 1:]))


def _bounds(windows: Pcm) -> Pcm:
    """What no interpolated value in these windows exceeds: shape (windows, samples) in, (windows,) out."""
    bend = np.diff(windows, 2, axis=1)
    np.abs(bend, out=bend)
    near = np.abs(windows[:, TAPS // 2 - 1 : TAPS // 2 + FRAME_SAMPLES])
    return np.asarray(near.max(axis=1, initial=0.0) + LARGEST_BEND * bend.max(axis=1, initial=0.0))


def dbtp(linear: float) -> float | None:
    """A linear peak in dBTP, rounded up to 0.001 dB; None for no peak at all."""
    if linear <= 0:
        return None
    return math.ceil(20 * math.log10(linear) * REPORTED_STEPS_PER_DB) / REPORTED_STEPS_PER_DB
