"""The waveform that players draw: the lowest and highest sample of each pixel, and coarser zooms of it.

Owns: the numbers and the bytes, which are those of BBC audiowaveform 1.10 for the same 16-bit PCM.
The 16-bit PCM of a float Block is x * 32768, rounded half to even and kept within -32768..32767: that gives
back every 16-bit source at 48 kHz as it was, and is what FFmpeg makes of float for its `s16`.
Source: audiowaveform(5) for the formats (version 1: one lane, version 2: several); the program for the rest:
the mix is the mean of the channels, and it and 8 bits are divided toward zero.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import Malformed
from pipeline.grid import RATE_HZ
from pipeline.media import Block, Pcm

SAMPLES_PER_PIXEL = 256
FLAG_8_BIT = 1
MAX_LANES = 24
"""audiowaveform's own bound."""

_HEADER = struct.Struct("<iIiiI")
_LANES = struct.Struct("<i")
"""What version 2 has behind the header of version 1."""

Bits = Literal[8, 16]
Levels = NDArray[np.int16]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Waveform:
    """`levels` has the shape (pixels, lanes, 2): the lowest and the highest sample, -32768 to 32767.

    The meter makes one lane of a mono track, and three of a stereo track: the mix, left, right. An extreme of
    the mix does not follow from those of the channels.
    """

    levels: Levels
    samples_per_pixel: int = SAMPLES_PER_PIXEL
    sample_rate_hz: int = RATE_HZ

    @property
    def lanes(self) -> int:
        return int(self.levels.shape[1])

    def __len__(self) -> int:
        """How many pixels."""
        return len(self.levels)

    def mix(self) -> Waveform:
        """The one lane that audiowaveform makes of all channels."""
        return replace(self, levels=self.levels[:, :1])

    def split(self) -> Waveform:
        """A lane for each channel, as audiowaveform makes them with `--split-channels`."""
        return self if self.lanes == 1 else replace(self, levels=self.levels[:, 1:])

    def rescaled(self, samples_per_pixel: int) -> Waveform:
        """This waveform at a zoom as fine as its own or coarser.

        At a multiple of its own zoom it is what the PCM itself would give; at any other, a pixel across a
        border belongs to the later of the two, as where audiowaveform rescales a .dat for an image.

        Raises:
            ValueError: samples_per_pixel is under the waveform's own.
        """
        own = self.samples_per_pixel
        if samples_per_pixel < own:
            raise ValueError(f"samples_per_pixel is {samples_per_pixel}, at least {own}")
        if samples_per_pixel == own or not len(self):
            return replace(self, samples_per_pixel=samples_per_pixel)
        starts = np.arange(0, len(self) * own, samples_per_pixel, dtype=np.int64) // own
        return replace(self, levels=_extremes(self.levels, starts), samples_per_pixel=samples_per_pixel)

    def coarser(self, max_points: int) -> Waveform:
        """This waveform with at most `max_points` pixels, by halving.

        Raises:
            ValueError: max_points is under 1.
        """
        if max_points < 1:
            raise ValueError(f"max_points is {max_points}, at least 1")
        factor = 1
        while -(-len(self) // factor) > max_points:
            factor *= 2
        return self.rescaled(self.samples_per_pixel * factor)

    def across(self, columns: int) -> Levels:
        """The levels of `columns` equal parts of the whole, shape (columns, lanes, 2); pixels are repeated
        where there are fewer of them.

        Raises:
            ValueError: there is no pixel, or no column.
        """
        if columns < 1 or not len(self):
            raise ValueError(f"{len(self)} pixels cannot be drawn across {columns} columns")
        return _extremes(self.levels, np.arange(columns, dtype=np.int64) * len(self) // columns)

    def to_dat(self, bits: Bits) -> bytes:
        """The binary format: version 1 of one lane, version 2 of several."""
        flags = FLAG_8_BIT if bits == 8 else 0
        version = 1 if self.lanes == 1 else 2
        header = _HEADER.pack(version, flags, self.sample_rate_hz, self.samples_per_pixel, len(self))
        return header + (_LANES.pack(self.lanes) if version == 2 else b"") + self._in(bits).tobytes()

    def to_json_object(self, bits: Bits) -> dict[str, Any]:
        """The JSON format, its keys in order; `data` is a flat array of numpy. audiowaveform says version 2
        here whatever the lanes, leaves no space and ends with a newline."""
        return {
            "version": 2,
            "channels": self.lanes,
            "sample_rate": self.sample_rate_hz,
            "samples_per_pixel": self.samples_per_pixel,
            "bits": bits,
            "length": len(self),
            "data": self._in(bits).reshape(-1),
        }

    def _in(self, bits: Bits) -> NDArray[np.int8] | Levels:
        if bits == 16:
            return np.ascontiguousarray(self.levels, "<i2")
        # a shift rounds down; toward zero is wanted
        return ((self.levels + np.int16(255) * (self.levels < 0)) >> 8).astype(np.int8)

    @classmethod
    def from_dat(cls, data: bytes) -> Waveform:
        """Read either version; 8-bit levels come back times 256, as audiowaveform reads them.

        Raises:
            Malformed: `corrupt`, it is no such file, or not as long as it says.
        """
        if len(data) < _HEADER.size:
            raise Malformed("corrupt", f"waveform has {len(data)} bytes, its header alone {_HEADER.size}")
        version, flags, rate_hz, per_pixel, length = _HEADER.unpack_from(data)
        lanes, start = 1, _HEADER.size
        if version == 2 and len(data) >= start + _LANES.size:
            (lanes,), start = _LANES.unpack_from(data, start), start + _LANES.size
        elif version != 1:
            raise Malformed("corrupt", f"waveform has version {version}, known are 1 and 2, in their length")
        if flags not in (0, FLAG_8_BIT) or not 1 <= lanes <= MAX_LANES:
            raise Malformed("corrupt", f"waveform has flags {flags} and {lanes} lanes, 0 or 1 and 1 to 24")
        if rate_hz < 1 or per_pixel < 1:
            raise Malformed(
                "corrupt", f"waveform has {per_pixel} samples a pixel at {rate_hz} Hz, at least 1"
            )
        expected = start + length * lanes * 2 * (1 if flags else 2)
        if len(data) != expected:
            raise Malformed(
                "corrupt", f"waveform of {length} pixels has {len(data)} bytes, expected {expected}"
            )
        read = np.frombuffer(data, np.int8 if flags else "<i2", offset=start).reshape(length, lanes, 2)
        levels = read.astype(np.int16) * 256 if flags else read.astype(np.int16, copy=False)
        return cls(levels=levels, samples_per_pixel=per_pixel, sample_rate_hz=rate_hz)


class WaveformMeter:
    """A meter over 48 kHz Blocks of one or two channels.

    It keeps 4 bytes a pixel and lane: 8.1 MB for an hour of stereo.
    """

    def __init__(self, channels: int) -> None:
        self._lanes = 1 if channels == 1 else 1 + channels
        self._rest: Pcm = np.zeros((channels, 0), np.float32)
        self._levels = bytearray()

    def push(self, block: Block) -> None:
        pcm = np.concatenate([self._rest, block.pcm], axis=1) if self._rest.size else block.pcm
        whole = pcm.shape[1] - pcm.shape[1] % SAMPLES_PER_PIXEL
        self._rest = pcm[:, whole:].copy()
        if whole:
            self._levels += _levels_of(pcm[:, :whole].reshape(len(pcm), -1, SAMPLES_PER_PIXEL))

    def result(self) -> Waveform:
        """All pixels; the last is of the samples that are left, where they do not fill one."""
        last = _levels_of(self._rest[:, None, :]) if self._rest.size else b""
        levels = np.frombuffer(bytes(self._levels) + last, np.int16).reshape(-1, self._lanes, 2)
        return Waveform(levels=levels)


def _extremes(levels: Levels, starts: NDArray[np.int64]) -> Levels:
    """The lowest and the highest from each start to the next, and from the last to the end."""
    lowest = np.minimum.reduceat(levels[:, :, 0], starts)
    highest = np.maximum.reduceat(levels[:, :, 1], starts)
    return np.stack([lowest, highest], axis=2)


def _levels_of(pixels: Pcm) -> bytes:
    """The levels of each lane, pixel by pixel: shape (channels, pixels, samples of a pixel)."""
    # whole numbers under 2**24: exact in float32, which numpy compares faster than it converts
    whole = np.clip(np.rint(pixels * np.float32(32_768)), -32_768, 32_767)
    lanes = [whole] if len(whole) == 1 else [np.trunc(whole.sum(axis=0) / len(whole))[None], whole]
    extremes = [np.stack([lane.min(axis=2), lane.max(axis=2)], axis=-1) for lane in lanes]
    return np.concatenate(extremes).transpose(1, 0, 2).astype("<i2").tobytes()
