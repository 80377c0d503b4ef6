"""A source decodes to what is really in it, damage told; its formats are in test_decode_formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import signals

from pipeline.decode import Reader
from pipeline.errors import LimitExceeded, Malformed
from pipeline.grid import at_rate
from pipeline.media import Pcm

MAX_S = 3600.0


def decoded(path: Path, max_duration_s: float = MAX_S) -> tuple[Pcm, Reader]:
    reader = Reader(path, max_duration_s)
    blocks = list(reader)
    assert [b.pts for b in blocks] == list(np.cumsum([0, *(b.samples for b in blocks[:-1])]))
    return np.concatenate([b.pcm for b in blocks], axis=1), reader


@pytest.mark.parametrize("fmt", ["wav", "flac", "aiff", "mp3", "ogg"])
def test_a_file_cut_in_half_is_kept_and_said_to_be_truncated(tmp_path: Path, fmt: str) -> None:
    """Bad input 17: OK, with the warning; the duration is what was decoded."""
    pcm = signals.music(4.0, 44_100, 2)
    whole = tmp_path / f"whole.{fmt}"
    signals.write(whole, pcm, 44_100, fmt)
    half = tmp_path / "half.bin"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    got, reader = decoded(half)
    assert "truncated" in reader.warnings
    assert 0 < got.shape[1] < pcm.shape[1]


def test_an_mp4_without_its_index_is_corrupt_and_says_why(tmp_path: Path) -> None:
    """Bad input 18."""
    whole = tmp_path / "whole.m4a"
    signals.write(whole, signals.music(2.0, 44_100, 2), 44_100, "m4a")
    data = whole.read_bytes()
    cut = tmp_path / "cut.bin"
    cut.write_bytes(data[: data.index(b"moov") - 4])
    with pytest.raises(Malformed, match="moov") as caught:
        decoded(cut)
    assert caught.value.code == "corrupt"


def test_a_header_without_samples_is_no_audio_data(tmp_path: Path) -> None:
    """Bad input 36."""
    path = tmp_path / "none.wav"
    signals.write(path, np.zeros((2, 0), np.float32), 44_100, "wav")
    with pytest.raises(Malformed) as caught:
        decoded(path)
    assert caught.value.code == "no_audio_data"


def test_the_limit_counts_decoded_samples_not_what_the_header_says(tmp_path: Path) -> None:
    """reliability.md, fact 2."""
    path = tmp_path / "long.flac"
    signals.write(path, np.zeros((2, 44_100 * 11), np.float32), 44_100, "flac")
    with pytest.raises(LimitExceeded) as caught:
        decoded(path, max_duration_s=10)
    assert caught.value.code == "too_long"
    assert caught.value.limits == {"MAX_DURATION_S": 10.0}


def test_float_samples_that_are_no_numbers_become_silence_and_are_said(tmp_path: Path) -> None:
    """Bad input 38: nothing that is not a number reaches a meter."""
    pcm = signals.music(0.5, 48_000, 1)
    pcm[0, 100], pcm[0, 200], pcm[0, 300] = np.nan, np.inf, 1e30
    path = tmp_path / "broken.wav"
    signals.write(path, pcm, 48_000, "wav", subtype="FLOAT")
    got, reader = decoded(path)
    assert np.isfinite(got).all()
    assert got[0, 100] == 0.0
    assert "sanitised" in reader.warnings


def test_samples_of_which_none_is_a_number_are_corrupt(tmp_path: Path) -> None:
    """Bad input 38."""
    path = tmp_path / "none.wav"
    signals.write(path, np.full((2, 4000), np.nan, np.float32), 48_000, "wav", subtype="FLOAT")
    with pytest.raises(Malformed) as caught:
        decoded(path)
    assert caught.value.code == "corrupt"


@pytest.mark.parametrize("rates_hz", [(44_100, 48_000, 32_000), (48_000, 44_100, 8_000), (8_000, 96_000)])
def test_a_change_of_rate_costs_no_sample(tmp_path: Path, rates_hz: tuple[int, ...]) -> None:
    """Each stretch is as long at the first rate as arithmetic says: round(n * to / rate)."""
    lengths, joined = [], b""
    for rate_hz in rates_hz:
        path = tmp_path / f"{rate_hz}.aac"
        signals.write(path, signals.music(0.3, rate_hz, 2), rate_hz, "aac")
        lengths.append(decoded(path)[0].shape[1])
        joined += path.read_bytes()
    (tmp_path / "all.aac").write_bytes(joined)
    got, reader = decoded(tmp_path / "all.aac")
    exact = [at_rate(length, rate, rates_hz[0]) for length, rate in zip(lengths, rates_hz, strict=True)]
    assert (got.shape[1], reader.rate_hz) == (sum(exact), rates_hz[0])


def test_what_lies_behind_the_sound_is_left_alone(tmp_path: Path) -> None:
    """Bad input 24: a WAVE behind an MP3; 23: among its frames it is damage."""
    signals.write(tmp_path / "x.mp3", signals.music(1.5, 44_100, 2), 44_100, "mp3")
    signals.write(tmp_path / "x.wav", signals.music(1.5, 44_100, 2), 44_100, "wav")
    song, other = (tmp_path / "x.mp3").read_bytes(), (tmp_path / "x.wav").read_bytes()
    path = tmp_path / "both.bin"
    path.write_bytes(song + other)
    got, reader = decoded(path)
    assert reader.warnings == ("truncated",)
    assert 66_150 <= got.shape[1] < 66_150 + 1152  # no more than its last frame
    path.write_bytes(song[: len(song) // 2] + other + song[len(song) // 2 :])
    with pytest.raises(Malformed) as caught:
        decoded(path)
    assert caught.value.code == "corrupt"


def test_eight_channels_are_read(tmp_path: Path) -> None:
    """PyAV 18 dies on planar frames of eight channels; the reader asks for interleaved ones."""
    pcm = np.stack([signals.music(0.6, 48_000, 1)[0] * (k + 1) / 10 for k in range(8)])
    path = tmp_path / "eight.flac"
    signals.write(path, pcm, 48_000, "flac")
    got, _ = decoded(path)
    left = pcm[0] + 0.5**0.5 * (pcm[2] + pcm[4] + pcm[6])  # front left, centre, back left, side left
    assert got.shape == (2, pcm.shape[1])
    assert np.abs(got[0] - left).max() < 1e-3


def test_the_corpus_decodes_to_what_others_measured(corpus_dir: Path) -> None:
    """rodio: one tune in five formats, equal in length where the format can say it."""
    flac, _ = decoded(corpus_dir / "rodio/RL.flac")
    for name in ("RL.m4a", "RL.mp3"):
        other, reader = decoded(corpus_dir / "rodio" / name)
        assert other.shape == flac.shape
        assert reader.warnings == ()
