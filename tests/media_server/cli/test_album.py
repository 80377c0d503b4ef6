"""An album cut from one piece of music goes on from track to track: no sample less or more, and no click."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import signals
import soundfile
import whole_files
from e2e.presentation import Rung
from e2e.test_playback import at_48_khz
from numpy.typing import NDArray
from typer.testing import CliRunner

from hls.asset import Asset
from media_server.cli import app
from pipeline.grid import at_grid_rate

LOSSY = ("128k", "320k", "opus-128")
DURATION_S, CUT_S = 9.0, 4.0
CUT_BEHIND = 1237
"""Samples: the cut lies on no frame, block or beat."""

WINDOW_SAMPLES = 240
AROUND_SAMPLES = 1200
"""25 ms on both sides of the join, in windows of 5 ms."""

COMPARABLE_DB = 3.0
CLEAR_DB = 20.0

Pcm = NDArray[np.float32]


def piece(rate_hz: int) -> Pcm:
    """A chord that never rests over a little noise: nothing covers a click."""
    chord = [
        signals.sine(hz, DURATION_S, rate_hz, amplitude=0.15, phase_deg=hz) for hz in (220, 277, 330, 440)
    ]
    return np.sum([*chord, signals.pink(DURATION_S, rate_hz, rms=0.01)], axis=0, dtype=np.float32)


def transcoded(source: Path, *ladder: str) -> Path:
    """The folder of a job with its level left as it is: tracks of an album get one gain, it may be 0 dB."""
    target = source.parent / f"{source.name}.out"
    words = ["transcode", str(source), str(target), "--no-normalize", "--ladder", ",".join(ladder)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    return target


def rungs(target: Path) -> dict[str, Rung]:
    asset = Asset.from_json((target / "asset.json").read_bytes())
    found = {}
    for rendition in asset.renditions:
        names = [rendition.init.name, *(segment.name for segment in rendition.segments)]
        files = [(target / asset.version / rendition.name / name).read_bytes() for name in names]
        found[rendition.name] = Rung(
            name=rendition.name, init=files[0], segments=tuple(files[1:]), extinf_s=()
        )
    return found


def read_by_hand(rung: Rung) -> Pcm:
    """Every frame decoded, then what the edit list and the durations of the samples say is kept."""
    file = io.BytesIO(rung.init + b"".join(rung.segments))
    with av.open(file, options={"ignore_editlist": "1"}) as container:
        stream = container.streams.audio[0]
        stream.codec_context.flags2 |= av.codec.context.Flags2.skip_manual
        frames = [frame.to_ndarray() for frame in container.decode(stream)]
    start = rung.media_time
    return np.concatenate(frames, axis=1)[:, start : start + rung.presented_samples]


def read_by_ffmpeg(target: Path, rung: Rung) -> Pcm:
    """FFmpeg 8 on the playlist; it applies the edit list and keeps the padding, which is cut off here."""
    return whole_files.heard(target / f"stream_{rung.name}.m3u8", 2)[:, : rung.presented_samples]


def click_db(joined: Pcm, expected: Pcm, join: int) -> float:
    """By how much the loudest 5 ms of error around the join stand above the loudest of anywhere else."""
    error = (joined - expected).astype(np.float64)

    def loudest(starts: range) -> float:
        windows = [np.mean(error[:, at : at + WINDOW_SAMPLES] ** 2) for at in starts]
        return float(10 * np.log10(max(windows)))

    around = range(join - AROUND_SAMPLES, join + AROUND_SAMPLES, WINDOW_SAMPLES)
    before = range(48_000, join - 9_600, WINDOW_SAMPLES)
    behind = range(join + 9_600, error.shape[1] - 48_000, WINDOW_SAMPLES)
    assert loudest(around) < 10 * np.log10(np.mean(expected**2)) - CLEAR_DB
    return loudest(around) - max(loudest(before), loudest(behind))


@pytest.mark.slow
@pytest.mark.parametrize(("fmt", "rate_hz"), [("flac", 44_100), ("wav", 48_000), ("mp3", 44_100)])
def test_an_album_goes_on_without_a_gap_or_a_click(tmp_path: Path, fmt: str, rate_hz: int) -> None:
    """AAC and Opus by the edit lists, to two readers; the error around the join is as it is everywhere."""
    whole = piece(rate_hz)
    cut = round(CUT_S * rate_hz) + CUT_BEHIND
    sources = [tmp_path / f"{number}.{fmt}" for number in range(2)]
    for path, (start, end) in zip(sources, pairwise((0, cut, whole.shape[1])), strict=True):
        signals.write(path, whole[:, start:end], rate_hz, fmt)
    if fmt == "mp3":  # what LAME lost is not for us to answer for
        parts = [whole_files.heard(path, 2) for path in sources]
        assert [part.shape[1] for part in parts] == [cut, whole.shape[1] - cut]
        whole = np.concatenate(parts, axis=1)
    expected = whole if rate_hz == 48_000 else at_48_khz(whole, rate_hz)
    targets = [transcoded(path, *LOSSY) for path in sources]
    tracks = [rungs(target) for target in targets]
    join = at_grid_rate(cut, rate_hz)
    for name in [name for name in LOSSY if name in tracks[0]]:
        for halves in (
            [read_by_hand(track[name]) for track in tracks],
            [read_by_ffmpeg(target, track[name]) for target, track in zip(targets, tracks, strict=True)],
        ):
            joined = np.concatenate(halves, axis=1)
            assert (halves[0].shape[1], joined.shape) == (join, expected.shape), name
            assert click_db(joined, expected, join) <= COMPARABLE_DB, name
            joined[:, join : join + 48] = 0  # a hole of a millisecond does not pass
            with pytest.raises(AssertionError):
                assert click_db(joined, expected, join) <= COMPARABLE_DB


@pytest.mark.slow
@pytest.mark.parametrize(("fmt", "subtype"), [("flac", "PCM_16"), ("wav", "PCM_24")])
def test_lossless_tracks_join_to_the_very_piece(tmp_path: Path, fmt: str, subtype: str) -> None:
    """Bit for bit."""
    bits = int(subtype.removeprefix("PCM_"))
    whole = np.rint(piece(44_100).astype(np.float64) * (1 << bits - 1)).astype(np.int32)
    cut, halves = round(CUT_S * 44_100) + CUT_BEHIND, []
    for number, (start, end) in enumerate(pairwise((0, cut, whole.shape[1]))):
        path = tmp_path / f"{number}.{fmt}"
        soundfile.write(path, (whole[:, start:end] << 32 - bits).T, 44_100, subtype)
        rung = rungs(transcoded(path, "lossless"))["lossless"]
        with av.open(io.BytesIO(rung.init + b"".join(rung.segments))) as container:
            frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
        interleaved = np.concatenate(frames, axis=1).reshape(-1, 2).T.astype(np.int32)
        halves.append(interleaved >> (0 if bits == 16 else 8))
    assert np.array_equal(np.concatenate(halves, axis=1), whole)
