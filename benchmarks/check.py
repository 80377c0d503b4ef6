"""Whether a job's result is what was asked for: every rendition there, whole, and equally loud."""

from __future__ import annotations

from dataclasses import dataclass

import av
import m3u8
import numpy as np

from pipeline.ladder import DEFAULT_LADDER

DURATION_TOLERANCE_S = 0.1
LEVEL_TOLERANCE_DB = 0.5
"""Between two results: encoders and resamplers differ by far less, a forgotten gain by more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One rendition as a player finds it; `level_db` is the root mean square of its samples."""

    rendition: str
    playlist_s: float
    decoded_s: float
    level_db: float


def listen(folder: str, song_s: float, *, decode: bool) -> list[Heard]:
    """Read a result's media playlists and, with `decode`, its sound.

    Args:
        folder: path or URL of where they lie.
    Raises:
        OSError: a rendition has no playlist.
        RuntimeError: a rendition is not as long as the song, within 0.1 s.
    """
    heard = []
    for name in DEFAULT_LADDER:
        uri = f"{folder}/stream_{name}.m3u8"
        playlist_s = sum(segment.duration for segment in m3u8.load(uri).segments)
        decoded_s, level_db = _decoded(uri) if decode else (playlist_s, 0.0)
        for what, found_s in (("playlist", playlist_s), ("sound", decoded_s)):
            if abs(found_s - song_s) > DURATION_TOLERANCE_S:
                raise RuntimeError(f"{uri}: {what} lasts {found_s:.3f} s, the song {song_s:.3f} s")
        heard.append(Heard(rendition=name, playlist_s=playlist_s, decoded_s=decoded_s, level_db=level_db))
    return heard


def equally_loud(results: dict[str, list[Heard]]) -> None:
    """That every rendition of every result has about one level.

    Raises:
        RuntimeError: two differ by more than 0.5 dB: one side left its gain out.
    """
    levels = {(who, h.rendition): h.level_db for who, heard in results.items() for h in heard}
    if max(levels.values()) - min(levels.values()) > LEVEL_TOLERANCE_DB:
        raise RuntimeError(f"levels differ by more than {LEVEL_TOLERANCE_DB} dB: {levels}")


def _decoded(uri: str) -> tuple[float, float]:
    """Length in seconds and level (root mean square) in dB of what comes out."""
    samples, energy, rate_hz = 0, 0.0, 1
    with av.open(uri) as container:
        for frame in container.decode(audio=0):
            pcm = frame.to_ndarray()
            samples += frame.samples
            energy += float(np.mean(np.square(pcm, dtype=np.float64))) * frame.samples
            rate_hz = frame.sample_rate
    return samples / rate_hz, 10 * np.log10(max(energy / max(samples, 1), 1e-12))
