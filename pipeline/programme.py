"""Sound as its loudness counts it: gating blocks by their level, of a track or of several as one programme.

Owns: the histogram of blocks and the two gates over it. Histograms of several tracks add up in whole numbers,
in any order: the relative gate is drawn anew over all blocks, which no mean of the tracks' values would do.
Source: ITU-R BS.1770-5 Annex 1 (3) to (7).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

OFFSET_LU = -0.691
"""BS.1770-5 (2): takes back what the weighting adds at 1 kHz."""

ABSOLUTE_GATE_LUFS = -70.0
RELATIVE_GATE_LU = -10.0
BINS_PER_LU = 100
"""How finely the relative gate can be drawn: a block within 0.01 LU of it may count or not."""

BINS = 120 * BINS_PER_LU
"""From the absolute gate up to +50 LUFS; what is louder counts in the last."""

Counts = NDArray[np.int64]
Powers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Programme:
    """Pairs of a bin and how many blocks it has, at least one; lowest bin first, 0 is just above the gate."""

    blocks: tuple[tuple[int, int], ...] = ()

    @property
    def integrated_lufs(self) -> float | None:
        """Gated, within 0.005 LU: a block counts as the middle of its bin. None without a block."""
        if not self.blocks:
            return None
        bins, found = np.array(self.blocks, np.int64).T
        count = np.zeros(BINS, np.int64)
        count[bins] = found
        return gated_lufs(count, count * _POWER_OF_BIN)


def programme_of(count: Counts) -> Programme:
    """The programme of so many blocks in each bin, shape (BINS,)."""
    bins = np.flatnonzero(count)
    return Programme(tuple(zip(bins.tolist(), count[bins].tolist(), strict=True)))


def together(programmes: Iterable[Programme]) -> Programme:
    """One after the other, as one programme; without the few blocks that would lie across a joint."""
    found: Counter[int] = Counter()
    for programme in programmes:
        found.update(dict(programme.blocks))
    return Programme(tuple(sorted(found.items())))


def bins_of(lufs: Powers) -> NDArray[np.int64]:
    """The bins of blocks of these levels, all of them above the absolute gate."""
    return np.minimum(((lufs - ABSOLUTE_GATE_LUFS) * BINS_PER_LU).astype(np.int64), BINS - 1)


def gated_lufs(count: Counts, power: Powers) -> float | None:
    """BS.1770-5 (5) to (7): the mean of the blocks not more than 10 LU below the mean of all.

    Args:
        count: of blocks above the absolute gate, in each bin.
        power: of those blocks, summed in each bin.
    Returns:
        LUFS; None without a block.
    """
    if not count.any():
        return None
    gate_lufs = lufs_of(power.sum() / count.sum()) + RELATIVE_GATE_LU
    lowest = min(max(math.ceil((gate_lufs - ABSOLUTE_GATE_LUFS) * BINS_PER_LU), 0), BINS - 1)
    return lufs_of(power[lowest:].sum() / count[lowest:].sum())


def lufs_of(power: float) -> float:
    """The level of a weighted mean square above 0."""
    return OFFSET_LU + 10 * math.log10(power)


_POWER_OF_BIN: Powers = 10 ** ((ABSOLUTE_GATE_LUFS + (np.arange(BINS) + 0.5) / BINS_PER_LU - OFFSET_LU) / 10)
