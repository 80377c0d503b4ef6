"""How loud a published track is: what was measured of its source, what was planned, what came of it.

Owns: AssetLoudness, the block `loudness` of `asset.json`, and its leaves.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedLoudness:
    """What a rendition measures once it is decoded again, by another meter than the source's."""

    integrated_lufs: float | None
    true_peak_dbtp: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetAlbum:
    """What the track's album measured before the gain of this version, and what the track brings to it.

    `most_gain_db` is the highest gain that the track bears, None for digital silence; `blocks` are its gating
    blocks (`pipeline.programme`).
    """

    integrated_lufs: float | None
    true_peak_dbtp: float | None
    most_gain_db: float | None
    blocks: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetLoudness:
    """The source as measured (None for silence), the gain that its renditions got, and what came of it.

    A lossless rendition got none: it is the source. `reason` is what decided the gain (`pipeline.normalize`),
    `planned_lufs` how loud it makes the track, `limit_dbtp` where a limiter holds the peaks, None without
    one. `measured` has every lossy rendition by its name. `album` is there where the gain is one of an album.
    What an older version did not tell is None, or empty.
    """

    integrated_lufs: float | None
    true_peak_dbtp: float | None
    range_lu: float | None
    gain_db: float
    target_lufs: float
    momentary_max_lufs: float | None = None
    short_term_max_lufs: float | None = None
    mode: str | None = None
    reason: str | None = None
    ceiling_dbtp: float | None = None
    limit_dbtp: float | None = None
    planned_lufs: float | None = None
    measured: dict[str, CodedLoudness] = field(default_factory=dict)
    album: AssetAlbum | None = None
