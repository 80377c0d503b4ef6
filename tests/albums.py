"""Albums for tests: tracks that are live without the work of making them, and sound to make some of."""

from __future__ import annotations

import io
import uuid
from dataclasses import replace
from typing import Any

import numpy as np
import signals
import soundfile

from hls.asset import Asset, AssetAlbum
from pipeline.programme import ABSOLUTE_GATE_LUFS, BINS_PER_LU

OPTIONS = {"ladder": ["128k"], "outputs": [], "loudness": {"mode": "album"}}
TRACKS = tuple(str(uuid.UUID(int=number << 64 | 4 << 12 | 8 << 60, version=4)) for number in range(1, 13))


def song(level_db: float, duration_s: float = 1.0) -> bytes:
    """Music as FLAC, that much below the loudest."""
    pcm = signals.music(duration_s) * np.float32(10 ** (level_db / 20))
    file = io.BytesIO()
    soundfile.write(file, pcm.T, 48_000, format="FLAC", subtype="PCM_24")
    return file.getvalue()


def live_in_album(
    asset: Asset,
    *,
    integrated_lufs: float,
    gain_db: float,
    most_gain_db: float = 50.0,
    album_id: str = "album",
    **changes: Any,
) -> Asset:
    """As an upload in mode `album` leaves it: a hundred blocks of that loudness, made with that gain."""
    blocks = ((round((integrated_lufs - ABSOLUTE_GATE_LUFS) * BINS_PER_LU) - 1, 100),)
    album = AssetAlbum(
        integrated_lufs=integrated_lufs, true_peak_dbtp=-1.0, most_gain_db=most_gain_db, blocks=blocks
    )
    loudness = replace(
        asset.loudness, integrated_lufs=integrated_lufs, gain_db=gain_db, mode="album", album=album
    )
    return replace(asset, **{"version": "0" * 16, "album_id": album_id, "loudness": loudness, **changes})
