"""Whether a FLAC file decodes to what was encoded.

Owns: the MD5 of the samples that STREAMINFO carries (RFC 9639 8.2): interleaved, signed, little-endian, each
in as many whole bytes as it needs. FFmpeg does not look at it. It tells of damage, not of anybody's doing.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream

STREAMINFO_BYTES = 34
"""20 bits of rate, 3 of channels and 5 of bits less one follow its first ten bytes; the MD5 is its end."""

_MD5_AT = 18


def streaminfo_bits(streaminfo: bytes) -> int:
    """Bits of a sample, 4 to 32."""
    return ((streaminfo[12] & 1) << 4 | streaminfo[13] >> 4) + 1


class Checksum:
    """Feed it every frame as it was decoded; `is_wrong` at the end."""

    def __init__(self, streaminfo: bytes) -> None:
        self._stated = streaminfo[_MD5_AT:]
        self._bits = streaminfo_bits(streaminfo)
        self._digest = hashlib.md5(usedforsecurity=False)

    @classmethod
    def of(cls, stream: AudioStream) -> Checksum | None:
        """That of a FLAC file which states one; None for any other.

        In Ogg it is not believed: FFmpeg's muxer writes one there before it knows it.
        """
        streaminfo = stream.codec_context.extradata or b""
        stated = stream.container.format.name == "flac" and len(streaminfo) == STREAMINFO_BYTES
        return cls(streaminfo) if stated and any(streaminfo[_MD5_AT:]) else None

    @property
    def is_wrong(self) -> bool:
        return self._digest.digest() != self._stated

    def push(self, frame: AudioFrame) -> None:
        samples = cast("NDArray[np.int16] | NDArray[np.int32]", frame.to_ndarray())
        interleaved = samples.T if frame.format.is_planar else samples
        # FFmpeg gives them left-justified in 16 or 32 bits
        right = interleaved >> (samples.dtype.itemsize * 8 - self._bits)
        of_each = np.ascontiguousarray(right).reshape(-1, 1).view(np.uint8)
        self._digest.update(of_each[:, : -(-self._bits // 8)].tobytes())
