"""The demo piece, listened to by numbers."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import signals
import soundfile

from media_server.demo import ARTIST, BAR_SAMPLES, RATE_HZ, TITLE, render_demo, write_demo
from pipeline.analyze import Analysis, Analyzer
from pipeline.resample import Resampler


@pytest.fixture(scope="module")
def piece() -> signals.Pcm:
    return render_demo()


@pytest.fixture(scope="module")
def analysis(piece: signals.Pcm) -> Analysis:
    resampler, analyzer = Resampler(RATE_HZ, 2), Analyzer(2)
    for block in signals.blocks(piece):
        for resampled in resampler.push(block):
            analyzer.push(resampled)
    for resampled in resampler.flush():
        analyzer.push(resampled)
    return analyzer.result()


def bar(piece: signals.Pcm, number: int) -> signals.Pcm:
    return piece[:, number * BAR_SAMPLES : (number + 1) * BAR_SAMPLES]


def level_db(pcm: signals.Pcm) -> float:
    return float(10 * np.log10(np.mean(pcm.astype(np.float64) ** 2)))


def test_it_is_half_a_minute_of_stereo(piece: signals.Pcm) -> None:
    assert (piece.dtype, piece.shape[0]) == (np.float32, 2)
    assert 24 <= piece.shape[1] / RATE_HZ <= 30


def test_it_is_the_same_every_time(piece: signals.Pcm) -> None:
    np.testing.assert_array_equal(render_demo(), piece)


def test_it_neither_clips_nor_carries_an_offset(piece: signals.Pcm, analysis: Analysis) -> None:
    """Samples peak at -3 dBFS, the points between them under -2 dBTP; the mean is under -80 dBFS."""
    assert 20 * np.log10(np.abs(piece).max()) == pytest.approx(-3.0, abs=0.01)
    assert analysis.true_peak_dbtp is not None
    assert analysis.true_peak_dbtp < -2.0
    assert np.abs(piece.mean(axis=1)).max() < 1e-4


def test_it_is_wide_but_no_two_different_pieces(piece: signals.Pcm) -> None:
    assert 0.3 < np.corrcoef(piece)[0, 1] < 0.95
    assert abs(level_db(piece[:1]) - level_db(piece[1:])) < 1.0


def test_it_grows_from_a_quiet_beginning_and_goes_as_it_came(piece: signals.Pcm, analysis: Analysis) -> None:
    """The middle stands at least 6 dB over both ends; the loudness range is over 3 LU."""
    middle = level_db(piece[:, 4 * BAR_SAMPLES : 8 * BAR_SAMPLES])
    assert level_db(bar(piece, 0)) < middle - 6
    assert level_db(piece[:, -2 * RATE_HZ :]) < middle - 20
    assert np.abs(piece[:, [0, -1]]).max() < 1e-3
    assert analysis.loudness.integrated_lufs == pytest.approx(-14, abs=4)
    assert analysis.loudness.range_lu is not None
    assert analysis.loudness.range_lu > 3


def test_its_spectrum_is_that_of_music(piece: signals.Pcm) -> None:
    """Most power below 1 kHz, each octave from there up weaker than the last, and still some at the top."""
    power = (np.abs(np.fft.rfft(piece)) ** 2).sum(axis=0)
    frequency_hz = np.fft.rfftfreq(piece.shape[1], 1 / RATE_HZ)
    octaves = [
        10 * np.log10(power[(frequency_hz >= f) & (frequency_hz < 2 * f)].sum() / power.sum())
        for f in (500, 1000, 2000, 4000, 8000)
    ]
    assert power[frequency_hz < 1000].sum() > 0.7 * power.sum()
    assert power[frequency_hz < 30].sum() < 0.01 * power.sum()
    assert octaves == sorted(octaves, reverse=True)
    assert octaves[-1] > -50


def test_the_first_chord_is_in_tune(piece: signals.Pcm) -> None:
    """D major seventh: its five tones hold nearly all the power between 200 and 600 Hz; within 15 cents."""
    power = (np.abs(np.fft.rfft(bar(piece, 0))) ** 2).sum(axis=0)
    frequency_hz = np.fft.rfftfreq(BAR_SAMPLES, 1 / RATE_HZ)
    band = (frequency_hz > 200) & (frequency_hz < 600)
    tones_hz = [440 * 2 ** ((note - 69) / 12) for note in (57, 62, 66, 69, 73)]
    cents_away = np.min(
        [np.abs(1200 * np.log2(frequency_hz[band] / f)) for f in (*tones_hz, 2 * tones_hz[0])], axis=0
    )
    assert power[band][cents_away < 15].sum() > 0.9 * power[band].sum()


def test_it_is_written_as_a_tagged_file_of_any_name(piece: signals.Pcm, tmp_path: Path) -> None:
    """24-bit FLAC: equal to the samples within half a step; the tags name the product."""
    path = tmp_path / "b2c7"
    write_demo(path)
    read, rate_hz = soundfile.read(path, dtype="float32")
    assert rate_hz == RATE_HZ
    np.testing.assert_allclose(read.T, piece, atol=2**-23)
    with av.open(str(path)) as container:
        assert container.format.name == "flac"
        assert (container.metadata["title"], container.metadata["artist"]) == (TITLE, ARTIST)
    assert TITLE.startswith("Veza Demo")
