"""Whether coding has cut what was loud, and the ladder that does not.

FFmpeg's fast AAC coder spends the bits that a lone tone leaves over on steps so fine that the largest number
AAC has is too small for the tone: a sine of amplitude 0.5 comes back 0.3 dB lower, one of 0.9 2.5 dB, at
every bit rate. Its two-loop coder does not (benchmarks/README.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pipeline.ladder import Codec, Ladder
from pipeline.normalize import CodedLoudness
from pipeline.programme import OFFSET_LU, Powers

LOUD_LUFS = -30.0
"""Below it a block says nothing: no coder cuts what is soft, but noise moves it."""

MOST_LOSS_LU = 0.3
"""Of a loud block in the highest rung. Music lost 0.15 at most there, by what the coder leaves out on top."""

MOST_LOSS_BELOW_LU = 1.0
"""The same where the highest rung has under AMPLE_BPS: there it leaves out the treble of drums, up to 0.8."""

AMPLE_BPS = 120_000
"""A channel's."""


def largest_loss_lu(given: Powers, coded: Powers) -> float:
    """By how much the loud block is lower that is lower most; 0 for what has none.

    Args:
        given: the power of each gating block that was encoded.
        coded: of each as it is decoded again; as many, or some fewer at the end.
    """
    blocks = min(len(given), len(coded))
    loud = given[:blocks] > 10 ** ((LOUD_LUFS - OFFSET_LU) / 10)
    if not loud.any():
        return 0.0
    lost = given[:blocks][loud] / np.maximum(coded[:blocks][loud], 1e-12)
    return max(float(10 * np.log10(lost.max())), 0.0)


def is_cut(ladder: Ladder, coded: Mapping[str, CodedLoudness]) -> bool:
    """True if the fast coder was the wrong one for this track: the highest rung of AAC has lost something.

    In lower ones it may be the treble, which they are too small for.
    """
    fast = [rung for rung in ladder if rung.codec is Codec.AAC and not rung.is_thorough]
    highest = max(fast, key=lambda rung: rung.bitrate_bps, default=None)
    if highest is None or highest.name not in coded:
        return False
    has_treble = highest.bitrate_bps >= AMPLE_BPS * highest.channels
    return coded[highest.name].loss_lu > (MOST_LOSS_LU if has_treble else MOST_LOSS_BELOW_LU)


def thorough(ladder: Ladder) -> Ladder:
    """The same renditions, by the coder that searches where there is one."""
    return tuple(replace(rung, is_thorough=rung.codec is Codec.AAC) for rung in ladder)
