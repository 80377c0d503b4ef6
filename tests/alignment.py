"""Where one signal lies in another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def lag(a: NDArray[np.float32], b: NDArray[np.float32], reach: int = 3000) -> int:
    """How many samples later `b` has what `a` has, up to `reach` either way: where they correlate best."""
    n = min(len(a), len(b), 1 << 16)
    size = 1 << (n * 2 - 1).bit_length()
    correlation = np.fft.irfft(np.conj(np.fft.rfft(a[:n], size)) * np.fft.rfft(b[:n], size), size)
    shifts = np.concatenate([correlation[: reach + 1], correlation[-reach:]])
    best = int(np.argmax(shifts))
    return best if best <= reach else best - (2 * reach + 1)
