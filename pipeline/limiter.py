"""True-peak limiter.

Owns: a gain that follows the peaks between the samples (4x oversampled, as `truepeak` measures them) so that
none passes the ceiling; all channels share it, so the stereo image stays. It looks ahead, so nothing clips,
and what comes out is neither later nor longer than what went in. Where nothing exceeds, it is untouched.

How: what each peak asks for is held over the reach of the interpolator and of the smoothing (a running
minimum), recovers by a constant number of dB a second, and is smoothed by two running means, so the curve
has no corner. Up to the interpolation of an even gain this is exact; a gain that changes within the reach of
the interpolator's 32 taps leaves a residue, which a second pass of the same kind takes away.
Source: ITU-R BS.1770-5 Annex 2 (the peak); EBU R 128 (the ceiling).
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pipeline.grid import RATE_HZ
from pipeline.media import Block, Pcm
from pipeline.truepeak import FRAME_MATRIX, FRAME_SAMPLES, LARGEST_GAIN, OVERSAMPLING, TAPS

CHUNK_SAMPLES = 4_096
"""Worked on at once, counted from the start of the track: that the Blocks' sizes change nothing follows."""

SMOOTHING_SAMPLES = 240
"""5 ms, to either side: how early the gain starts to fall. Each of the two running means has as many taps."""

RELEASE_DB_PER_S = 30.0
"""3 dB are back after a tenth of a second: slower pumps less, faster distorts bass."""

RESIDUE_DB = 0.02
"""Aimed below the ceiling: what two passes may leave over their aim."""

REACH = TAPS // 2
"""Samples to either side that a point between two samples is made of."""

HOLD_SAMPLES = SMOOTHING_SAMPLES + REACH
PASSES = 2

Curve = NDArray[np.float64]
"""A gain in dB, one value a sample, 0 or below."""

Samples = TypeVar("Samples", Pcm, Curve)


class Limiter:
    """A stage: 48 kHz Blocks of `channels` channels in, the same length out, at most `ceiling_dbtp` loud."""

    def __init__(self, channels: int, ceiling_dbtp: float) -> None:
        self._passes = [_Pass(channels, ceiling_dbtp - RESIDUE_DB) for _ in range(PASSES)]
        self._channels = channels
        self._waiting: list[Pcm] = []
        self._waiting_samples = 0
        self._taken = 0
        self._given = 0
        self._lead = PASSES * _Pass.DELAY_SAMPLES

    def push(self, block: Block) -> list[Block]:
        self._taken += block.samples
        return self._feed(block.pcm)

    def flush(self) -> list[Block]:
        """What the look-ahead held back."""
        behind = PASSES * _Pass.DELAY_SAMPLES + CHUNK_SAMPLES
        out = self._feed(np.zeros((self._channels, behind), np.float32))
        excess = self._given - self._taken
        while excess > 0 and out:
            last = out.pop()
            kept = max(last.samples - excess, 0)
            excess -= last.samples - kept
            out += [Block(pts=last.pts, pcm=last.pcm[:, :kept])] if kept else []
        return out

    def _feed(self, pcm: Pcm) -> list[Block]:
        self._waiting.append(pcm)
        self._waiting_samples += pcm.shape[1]
        if self._waiting_samples < CHUNK_SAMPLES:
            return []
        ready = np.concatenate(self._waiting, axis=1)
        whole = ready.shape[1] // CHUNK_SAMPLES * CHUNK_SAMPLES
        self._waiting, self._waiting_samples = [ready[:, whole:]], ready.shape[1] - whole
        chunks = (ready[:, at : at + CHUNK_SAMPLES] for at in range(0, whole, CHUNK_SAMPLES))
        return [block for chunk in chunks for block in self._limit(chunk)]

    def _limit(self, chunk: Pcm) -> list[Block]:
        for each in self._passes:
            chunk = each.push(chunk)
        late = min(self._lead, CHUNK_SAMPLES)  # before the first sample the passes give their delay
        self._lead -= late
        block = Block(pts=self._given, pcm=chunk[:, late:])
        self._given += block.samples
        return [block] if block.samples else []


class _Pass:
    """One limiting of chunks of CHUNK_SAMPLES, DELAY_SAMPLES late."""

    DELAY_SAMPLES = REACH + HOLD_SAMPLES + SMOOTHING_SAMPLES

    def __init__(self, channels: int, ceiling_dbtp: float) -> None:
        self._ceiling = 10 ** (ceiling_dbtp / 20)
        self._ceiling_dbtp = ceiling_dbtp
        # what each step still needs of the past; before the track is silence, which asks for nothing
        self._heard: Pcm = np.zeros((channels, TAPS - 1), np.float32)
        self._asked: Curve = np.zeros(2 * HOLD_SAMPLES)
        self._recovered: Curve = np.zeros(2 * SMOOTHING_SAMPLES)
        self._delayed: Pcm = np.zeros((channels, self.DELAY_SAMPLES), np.float32)

    def push(self, chunk: Pcm) -> Pcm:
        """The next chunk as loud as it may be, DELAY_SAMPLES later."""
        self._heard, heard = _slide(self._heard, chunk)
        self._asked, asked = _slide(self._asked, self._asks(heard))
        self._delayed, delayed = _slide(self._delayed, chunk)
        delayed = delayed[:, :CHUNK_SAMPLES]
        if not asked.any() and not self._recovered.any():
            return delayed
        recovered = self._recover(_held(asked))
        self._recovered, recovered = _slide(self._recovered, recovered)
        curve = _mean(_mean(recovered))
        return np.asarray(delayed * (10 ** (curve / 20)).astype(np.float32))

    def _asks(self, heard: Pcm) -> Curve:
        """What each sample, and the points up to the next one, ask for: as long as the chunk."""
        magnitude = np.abs(heard).max(axis=0)
        at_samples = magnitude[REACH - 1 : REACH - 1 + CHUNK_SAMPLES]
        if magnitude.max() * LARGEST_GAIN <= self._ceiling:
            return np.zeros(CHUNK_SAMPLES)
        windows = sliding_window_view(heard, FRAME_SAMPLES + TAPS - 1, axis=1)[:, ::FRAME_SAMPLES]
        # copied first: a product of overlapping windows would not go through the matrix library
        between = np.abs(np.ascontiguousarray(windows) @ FRAME_MATRIX).max(axis=0)
        between = between.reshape(-1, OVERSAMPLING - 1, FRAME_SAMPLES).max(axis=1).reshape(-1)
        peaks = np.maximum(at_samples, between).astype(np.float64)
        asked = self._ceiling_dbtp - 20 * np.log10(np.maximum(peaks, self._ceiling))
        return np.asarray(np.minimum(asked, 0.0))

    def _recover(self, held: Curve) -> Curve:
        """Fall at once, rise by the release: a running minimum on a slope."""
        slope = np.arange(1, len(held) + 1) * (RELEASE_DB_PER_S / RATE_HZ)
        from_before = self._recovered[-1]
        risen = np.minimum(np.minimum.accumulate(held - slope), from_before) + slope
        return np.asarray(np.minimum(risen, 0.0))


def _slide(kept: Samples, new: Samples) -> tuple[Samples, Samples]:
    """What to keep for the next chunk, as much as was kept, and what was kept with the new behind it."""
    together = np.concatenate([kept, new], axis=-1)
    return together[..., -kept.shape[-1] :].copy(), together


def _held(asked: Curve) -> Curve:
    """The lowest of each 2 HOLD_SAMPLES + 1 values, by doubling."""
    lowest, width, whole = asked, 1, 2 * HOLD_SAMPLES + 1
    while width < whole:
        step = min(width, whole - width)
        lowest = np.minimum(lowest[:-step], lowest[step:])
        width += step
    return lowest


def _mean(curve: Curve) -> Curve:
    """The running mean of SMOOTHING_SAMPLES + 1 values."""
    summed = np.concatenate([[0.0], np.cumsum(curve)])
    taps = SMOOTHING_SAMPLES + 1
    return np.asarray((summed[taps:] - summed[:-taps]) / taps)
