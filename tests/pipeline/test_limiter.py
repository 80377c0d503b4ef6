"""The limiter: never over the ceiling, untouched below it, exactly as long, whatever the Blocks."""

from __future__ import annotations

import numpy as np
import pytest
import signals
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.limiter import RELEASE_DB_PER_S, RESIDUE_DB, SMOOTHING_SAMPLES, Limiter
from pipeline.media import Block
from pipeline.truepeak import TruePeakMeter, dbtp

RATE_HZ = 48_000
CEILING_DBTP = -1.0


def limited(pcm: signals.Pcm, size: int = 16_384, ceiling_dbtp: float = CEILING_DBTP) -> signals.Pcm:
    stage = Limiter(len(pcm), ceiling_dbtp)
    out = [got for block in signals.blocks(pcm, size) for got in stage.push(block)] + stage.flush()
    assert [got.pts for got in out] == list(np.cumsum([0, *(got.samples for got in out)])[:-1])
    return np.concatenate([got.pcm for got in out], axis=1)


def true_peak_dbtp(pcm: signals.Pcm) -> float:
    meter = TruePeakMeter(len(pcm))
    meter.push(Block(pts=0, pcm=pcm))
    peak = dbtp(meter.result())
    assert peak is not None
    return peak


def gain_db(before: signals.Pcm, after: signals.Pcm) -> np.ndarray:
    """The gain at each sample, from the first channel, where that is not near zero."""
    there = np.abs(before[0]) > 1e-3
    return 20 * np.log10(after[0, there] / before[0, there])


@pytest.mark.parametrize(
    "pcm",
    [
        signals.music(2.0, peak=2.0),
        signals.noise(1.0, rms=1.0),
        np.sign(signals.noise(1.0)) * np.float32(8),
        signals.noise(0.5, rms=1e4),
        signals.impulses([0, 5, 24_000, 47_999], 48_000, amplitude=100.0),
        signals.square(24, 48_000, amplitude=3.0),
        signals.square(1, 48_000, amplitude=2.0),
        signals.sine(20_000, 1.0, amplitude=4.0, channels=1),
        np.ones((2, 24_000), np.float32) * 5,
        signals.noise(0.001, rms=3.0),
    ],
    ids=["music", "noise", "signs", "absurd", "impulses", "square", "Nyquist", "20 kHz", "constant", "short"],
)
def test_nothing_passes_the_ceiling(pcm: signals.Pcm) -> None:
    """Measured between the samples as the planner measures; and no lower than it must be."""
    after = true_peak_dbtp(limited(pcm))
    assert CEILING_DBTP - 2 * RESIDUE_DB <= after <= CEILING_DBTP


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32),
    levels_db=st.lists(st.floats(-40, 40), min_size=1, max_size=12),
    stretch=st.integers(1, 2_000),
    ceiling_dbtp=st.floats(-20, 0),
    size=st.integers(1, 9_000),
)
def test_no_signal_passes_any_ceiling(
    seed: int, levels_db: list[float], stretch: int, ceiling_dbtp: float, size: int
) -> None:
    """Noise whose level jumps by up to 80 dB, as often as every sample."""
    level = np.repeat(10 ** (np.array(levels_db) / 20), stretch)
    pcm = (np.random.default_rng(seed).uniform(-1, 1, (2, len(level))) * level).astype(np.float32)
    got = limited(pcm, size, ceiling_dbtp)
    assert got.shape == pcm.shape
    assert true_peak_dbtp(got) <= ceiling_dbtp
    np.testing.assert_array_equal(got, limited(pcm, len(level), ceiling_dbtp))


@pytest.mark.parametrize("size", [1_000, 4_095, 4_096, 4_097, 100_000])
def test_the_same_comes_out_whatever_the_size_of_the_blocks(size: int) -> None:
    pcm = signals.music(1.0, peak=2.0)
    np.testing.assert_array_equal(limited(pcm, size), limited(pcm))


@pytest.mark.parametrize("samples", [1, 31, 4_096, 4_097, 48_000])
def test_what_exceeds_nowhere_is_untouched(samples: int) -> None:
    """Bit for bit, also at both ends, and exactly as long."""
    pcm = signals.music(1.0, peak=0.7)[:, :samples]
    np.testing.assert_array_equal(limited(pcm), pcm)


def test_far_from_a_peak_the_gain_is_one() -> None:
    """5 ms before it at most, and after it until the release is over: 6 dB take a fifth of a second."""
    pcm = signals.sine(997, 2.0, amplitude=0.4)
    pcm[:, 48_000] = 1.78
    after = limited(pcm)
    early = 48_000 - 2 * SMOOTHING_SAMPLES - 64
    late = 48_000 + round((6.5 / RELEASE_DB_PER_S + 0.02) * RATE_HZ)
    np.testing.assert_array_equal(after[:, :early], pcm[:, :early])
    np.testing.assert_array_equal(after[:, late:], pcm[:, late:])
    assert gain_db(pcm, after).min() == pytest.approx(-6.0, abs=0.1)


def test_the_gain_is_smooth() -> None:
    """No step larger than the reduction spread over the look-ahead, and never above 0 dB."""
    pcm = signals.sine(997, 1.0, amplitude=0.5)
    pcm[:, 20_000] = 3.0
    pcm[:, 20_300] = 2.0
    there = np.abs(pcm[0]) > 1e-3
    curve = np.interp(np.arange(48_000), np.flatnonzero(there), gain_db(pcm, limited(pcm)))
    reduction_db = -curve.min()
    assert curve.max() < 1e-3
    assert np.abs(np.diff(curve)).max() < 1.5 * reduction_db / SMOOTHING_SAMPLES


def test_both_sides_get_one_gain() -> None:
    """A peak on the left must not move what is on the right."""
    pcm = signals.sine(440, 1.0, amplitude=0.3)
    pcm[0, 24_000] = 2.0
    after = limited(pcm)
    apart = np.delete(np.arange(48_000), 24_000)
    np.testing.assert_array_equal(after[0, apart], after[1, apart])
    assert np.abs(after[1, 24_000] / pcm[1, 24_000]) < 0.5


def test_nothing_pushed_is_nothing() -> None:
    assert Limiter(2, CEILING_DBTP).flush() == []
