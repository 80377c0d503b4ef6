"""How audible an encoder's noise is: the noise-to-mask ratio of a coded signal beside its original.

A simple relative of ITU-R BS.1387's NMR, to compare encoders with each other, not to predict a listener: the
spectrum in half-Bark bands; each band masks its neighbours with slopes of 25 dB a Bark downwards and 10 dB
upwards; noise is inaudible 10 dB below that, or below the threshold of hearing with full scale at 96 dB.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pipeline.media import Pcm

RATE_HZ = 48_000
WINDOW = 2048
BAND_BARK = 0.5
DOWN_DB_A_BARK, UP_DB_A_BARK = 25.0, 10.0
OFFSET_DB = 10.0
FULL_SCALE_DB = 96.0
SILENCE = 1e-8

Bands = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """`mean_db`: a frame's noise over its mask, on average, 0 is just audible; `worst_db`: exceeded in one
    frame of twenty; `audible_share`: of all bands of all frames, those with more noise than their mask."""

    mean_db: float
    worst_db: float
    audible_share: float


def noise(original: Pcm, coded: Pcm) -> Noise:
    """Compare PCM of the shape (channels, samples), aligned to the sample."""
    samples = min(original.shape[1], coded.shape[1])
    ratios = []
    for before, after in zip(original[:, :samples], coded[:, :samples], strict=True):
        signal = _bands(before)
        ratio = _bands(before - after) / np.maximum(signal @ _SPREAD * 10 ** (-OFFSET_DB / 10), _HEARING)
        ratios.append(ratio[signal.sum(axis=1) > SILENCE])
    ratio = np.concatenate(ratios)
    frames = ratio.mean(axis=1)
    return Noise(
        mean_db=float(np.mean(10 * np.log10(frames))),
        worst_db=float(10 * np.log10(np.percentile(frames, 95))),
        audible_share=float((ratio > 1).mean()),
    )


def _bands(signal: NDArray[np.float32]) -> Bands:
    """Power in each band, shape (frames, bands)."""
    frames = sliding_window_view(signal, WINDOW)[:: WINDOW // 2]
    power = np.abs(np.fft.rfft(frames * _HANN, axis=1)) ** 2 / (_HANN.sum() / 2) ** 2
    bands = np.zeros((len(power), len(_CENTRES_BARK)))
    np.add.at(bands.T, _BAND_OF_BIN, power.T)
    return bands


def _bark(frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Zwicker and Terhardt's critical-band rate."""
    return 13 * np.arctan(0.00076 * frequency_hz) + 3.5 * np.arctan((frequency_hz / 7500) ** 2)


def _hearing(khz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Terhardt's threshold of hearing as power, full scale being `FULL_SCALE_DB`."""
    level_db = 3.64 * khz**-0.8 - 6.5 * np.exp(-0.6 * (khz - 3.3) ** 2) + 1e-3 * khz**4
    return np.asarray(10 ** ((level_db - FULL_SCALE_DB) / 10))


_HANN = np.hanning(WINDOW)
_BINS_HZ = np.fft.rfftfreq(WINDOW, 1 / RATE_HZ)
_BAND_OF_BIN = (_bark(_BINS_HZ) / BAND_BARK).astype(int)
_CENTRES_BARK = (np.arange(_BAND_OF_BIN.max() + 1) + 0.5) * BAND_BARK
_DISTANCE = _CENTRES_BARK[None, :] - _CENTRES_BARK[:, None]
_SPREAD = 10 ** (np.where(_DISTANCE >= 0, -UP_DB_A_BARK, DOWN_DB_A_BARK) * _DISTANCE / 10)
_HEARING = _hearing(np.interp(_CENTRES_BARK, _bark(_BINS_HZ), _BINS_HZ).clip(30) / 1000)
