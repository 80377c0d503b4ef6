"""The waveform that players draw: the lowest and highest sample of each pixel, and coarser levels of it.

Source: the file formats of BBC audiowaveform, version 2, at 8 bits.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Malformed
from pipeline.grid import RATE_HZ
from pipeline.media import Block, Pcm

SAMPLES_PER_PIXEL = 256
VERSION = 2
FLAG_8_BIT = 1
FULL_SCALE = 127
_HEADER = struct.Struct("<iIiiIi")

Levels = NDArray[np.int8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Waveform:
    """One lane for all channels: `minimum` and `maximum` have the shape (pixels,), -127 to 127."""

    minimum: Levels
    maximum: Levels
    samples_per_pixel: int = SAMPLES_PER_PIXEL
    sample_rate_hz: int = RATE_HZ

    def coarser(self, max_points: int) -> Waveform:
        """This waveform with at most `max_points` pixels, by halving.

        Raises:
            ValueError: max_points is under 1.
        """
        if max_points < 1:
            raise ValueError(f"max_points is {max_points}, at least 1")
        factor = 1
        while -(-len(self.minimum) // factor) > max_points:
            factor *= 2
        starts = np.arange(0, len(self.minimum), factor)
        if factor == 1 or not len(starts):
            return self
        return Waveform(
            minimum=np.minimum.reduceat(self.minimum, starts),
            maximum=np.maximum.reduceat(self.maximum, starts),
            samples_per_pixel=self.samples_per_pixel * factor,
            sample_rate_hz=self.sample_rate_hz,
        )

    @property
    def pairs(self) -> Levels:
        """minimum, maximum, minimum, ... as the formats have them."""
        return np.column_stack([self.minimum, self.maximum]).reshape(-1)

    def to_dat(self) -> bytes:
        header = (VERSION, FLAG_8_BIT, self.sample_rate_hz, self.samples_per_pixel, len(self.minimum), 1)
        return _HEADER.pack(*header) + self.pairs.tobytes()

    @classmethod
    def from_dat(cls, data: bytes) -> Waveform:
        """Read what `to_dat` wrote.

        Raises:
            Malformed: `corrupt`, it is not an 8-bit version 2 waveform of one lane.
        """
        if len(data) < _HEADER.size:
            raise Malformed("corrupt", f"waveform has {len(data)} bytes, its header alone {_HEADER.size}")
        version, flags, rate_hz, per_pixel, length, lanes = _HEADER.unpack_from(data)
        if (version, flags, lanes) != (VERSION, FLAG_8_BIT, 1):
            raise Malformed("corrupt", "waveform is not an 8-bit version 2 file of one lane")
        if rate_hz < 1 or per_pixel < 1:
            raise Malformed(
                "corrupt", f"waveform has {per_pixel} samples a pixel at {rate_hz} Hz, at least 1"
            )
        if len(data) != _HEADER.size + 2 * length:
            expected = _HEADER.size + 2 * length
            raise Malformed(
                "corrupt", f"waveform of {length} pixels has {len(data)} bytes, expected {expected}"
            )
        pairs = np.frombuffer(data, np.int8, offset=_HEADER.size).reshape(-1, 2)
        return cls(
            minimum=pairs[:, 0], maximum=pairs[:, 1], samples_per_pixel=per_pixel, sample_rate_hz=rate_hz
        )

    def to_json_object(self) -> dict[str, Any]:
        """The JSON form as an object."""
        return {
            "version": VERSION,
            "channels": 1,
            "sample_rate": self.sample_rate_hz,
            "samples_per_pixel": self.samples_per_pixel,
            "bits": 8,
            "length": len(self.minimum),
            "data": self.pairs.tolist(),
        }


class WaveformMeter:
    """A meter over 48 kHz Blocks of `channels` channels; it keeps two bytes a pixel, 1.4 MB an hour."""

    def __init__(self, channels: int) -> None:
        self._rest: Pcm = np.zeros((channels, 0), np.float32)
        self._pairs = bytearray()

    def push(self, block: Block) -> None:
        pcm = np.concatenate([self._rest, block.pcm], axis=1) if self._rest.size else block.pcm
        whole = pcm.shape[1] - pcm.shape[1] % SAMPLES_PER_PIXEL
        self._rest = pcm[:, whole:].copy()
        if whole:
            self._pairs += _pairs_of(pcm[:, :whole].reshape(len(pcm), -1, SAMPLES_PER_PIXEL))

    def result(self) -> Waveform:
        """All pixels; the last is of the samples that are left, where they do not fill one."""
        last = _pairs_of(self._rest[:, None, :]) if self._rest.size else b""
        pairs = np.frombuffer(bytes(self._pairs) + last, np.int8).reshape(-1, 2)
        return Waveform(minimum=pairs[:, 0], maximum=pairs[:, 1])


def _pairs_of(pixels: Pcm) -> bytes:
    """The lowest and the highest sample of each pixel: shape (channels, pixels, samples of a pixel)."""
    extremes = np.stack([pixels.min(axis=2).min(axis=0), pixels.max(axis=2).max(axis=0)], axis=1)
    return np.clip(np.round(extremes * FULL_SCALE), -FULL_SCALE, FULL_SCALE).astype(np.int8).tobytes()
