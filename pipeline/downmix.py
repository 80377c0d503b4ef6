"""Surround to stereo.

Owns: what each loudspeaker gives to the two of stereo. The front channels keep their level and nothing is
lowered to make room: samples are float, and the gain is planned on what comes out.
Source: ITU-R BS.775-3 Annex 4 Table 2, 3/2 and 3/1 to 2/0: L' = L + 0.7071 C + 0.7071 Ls, a single
surround 0.5 to each side; the low-frequency effects channel is left out. Loudspeakers it does not know are
treated as their neighbours: a second pair behind as the first, front ones beside the centre as the front
pair, ceiling ones as surrounds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

CENTRE = SURROUND = 0.5**0.5
SINGLE_SURROUND = 0.5

_LEFT_RIGHT: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("FL", "FLC", "WL", "DL"), (1.0, 0.0)),
    **dict.fromkeys(("FR", "FRC", "WR", "DR"), (0.0, 1.0)),
    **dict.fromkeys(("BL", "SL", "SDL", "TFL", "TBL", "TSL"), (SURROUND, 0.0)),
    **dict.fromkeys(("BR", "SR", "SDR", "TFR", "TBR", "TSR"), (0.0, SURROUND)),
    "FC": (CENTRE, CENTRE),
    **dict.fromkeys(("BC", "TC", "TFC", "TBC"), (SINGLE_SURROUND, SINGLE_SURROUND)),
    **dict.fromkeys(("LFE", "LFE2"), (0.0, 0.0)),
}
"""By FFmpeg's names: front, back, side, top; left, right, centre."""

_USUAL: dict[int, tuple[str, ...]] = {
    3: ("FL", "FR", "FC"),
    4: ("FL", "FR", "BL", "BR"),
    5: ("FL", "FR", "FC", "BL", "BR"),
    6: ("FL", "FR", "FC", "LFE", "BL", "BR"),
    7: ("FL", "FR", "FC", "LFE", "BC", "SL", "SR"),
    8: ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}
"""What a count stands for where no loudspeakers are named: the order of WAVE and of FLAC (RFC 9639 9.1.3)."""

_AS_IT_IS = ({"FL", "FR"}, {"DL", "DR"})


def stereo_matrix(positions: Sequence[str]) -> NDArray[np.float32] | None:
    """What makes stereo of PCM whose channels are at these positions, as `matrix @ pcm`.

    Args:
        positions: FFmpeg's name of each of 1 to 8 channels; any that is not known, and all count for unnamed.
    Returns:
        float32 of the shape (2, channels), or None where nothing is to be mixed: mono, stereo and two
        channels without names.
    """
    named = all(name in _LEFT_RIGHT for name in positions)
    if len(positions) == 1 or set(positions) in _AS_IT_IS or (len(positions) == 2 and not named):
        return None
    names = positions if named else _USUAL[len(positions)]
    return np.array([_LEFT_RIGHT[name] for name in names], np.float32).T.copy()
