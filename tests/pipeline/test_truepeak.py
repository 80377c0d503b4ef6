"""The peak between the samples: how close to the ideal, whatever the blocks, and with nothing missed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import signals
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from pipeline.truepeak import LARGEST_GAIN, OVERSAMPLING, PHASES, TAPS, TruePeakMeter, dbtp

RATE_HZ = 48_000
FLAT_TO_HZ = 20_000


def measured(pcm: signals.Pcm, size: int = 16_384) -> float:
    meter = TruePeakMeter(len(pcm))
    for block in signals.blocks(pcm, size):
        meter.push(block)
    return meter.result()


def measured_db(pcm: signals.Pcm) -> float:
    return 20 * math.log10(measured(pcm))


def without_skipping(pcm: signals.Pcm) -> float:
    """The same filter, a phase at a time over whole channels, in double precision."""
    around = np.pad(pcm.astype(np.float64), ((0, 0), (TAPS, TAPS)))
    between = [np.convolve(channel, phase[::-1]) for channel in around for phase in PHASES.astype(np.float64)]
    return float(max(np.abs(pcm).max(initial=0.0), np.abs(between).max()))


def faded(pcm: signals.Pcm, samples: int = 2_000) -> signals.Pcm:
    """With soft ends: a signal that starts at once has inter-sample peaks there that are not its own."""
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(samples) / samples)
    out = pcm.copy()
    out[:, :samples] *= ramp
    out[:, -samples:] *= ramp[::-1]
    return out


def oversampled_by_fft(pcm: signals.Pcm, factor: int) -> np.ndarray:
    """Ideal interpolation of a periodic signal: more room in the spectrum, nothing in it."""
    samples = pcm.shape[1]
    return np.fft.irfft(np.fft.rfft(pcm.astype(np.float64)), samples * factor) * factor


@pytest.mark.parametrize(
    ("frequency_hz", "amplitude", "phase_deg", "expected_dbtp"),
    [
        (RATE_HZ / 4, 0.50, 0.0, -6.0),
        (RATE_HZ / 4, 0.50, 45.0, -6.0),
        (RATE_HZ / 6, 0.50, 60.0, -6.0),
        (RATE_HZ / 8, 0.50, 67.5, -6.0),
        (RATE_HZ / 4, 1.41, 45.0, 3.0),
    ],
)
def test_sines_of_ebu_tech_3341(
    frequency_hz: float, amplitude: float, phase_deg: float, expected_dbtp: float
) -> None:
    """Tech 3341 cases 15 to 19: within +0.2 and -0.4 dB."""
    pcm = faded(signals.sine(frequency_hz, 0.5, amplitude=amplitude, phase_deg=phase_deg))
    assert expected_dbtp - 0.4 <= measured_db(pcm) <= expected_dbtp + 0.2


@pytest.mark.parametrize("offset", range(OVERSAMPLING))
def test_a_peak_of_ebu_tech_3341_is_found_at_every_quarter(offset: int) -> None:
    """Tech 3341 cases 20 to 23: one louder cycle in a tone, made at four times the rate; +0.2, -0.4 dB.

    Its highest point is 0 dBTP once it is band-limited; decimated with offsets of 0 to 3.
    """
    samples = 4 * 24_000
    tone = 0.5 * np.sin(2 * np.pi * np.arange(samples) / 16)  # a quarter of the rate it will have
    tone[samples // 2 : samples // 2 + 24] = np.sin(2 * np.pi * np.arange(24) / 24)  # a sixth, at full scale
    spectrum = np.fft.rfft(faded(tone[None, :], 4_000))
    spectrum[:, np.fft.rfftfreq(samples, 1 / (4 * RATE_HZ)) > FLAT_TO_HZ] = 0
    limited = np.fft.irfft(spectrum, samples)
    limited[:] /= np.abs(oversampled_by_fft(limited, 8)).max()
    pcm = np.ascontiguousarray(np.tile(limited[:, offset::4], (2, 1)), np.float32)
    assert -0.4 <= measured_db(pcm) <= 0.2


@pytest.mark.parametrize("offset", range(OVERSAMPLING))
def test_a_pulse_between_the_samples_is_found_at_every_quarter(offset: int) -> None:
    """A crest of 0 dBTP alone, as of Tech 3341 cases 20 to 23: +0.2, -0.4 dB."""
    at = (np.arange(4 * 2_000) - 4_000 - offset) / 4
    bandlimited = np.sinc(at * 0.8) * np.exp(-((at / 60) ** 2))
    pcm = np.tile(bandlimited[::4].astype(np.float32), (2, 1))
    assert -0.4 <= measured_db(pcm) <= 0.2


@pytest.mark.parametrize("frequency_hz", [997.0, 6_000.0, 8_000.0, 12_000.0, 15_015.0, 18_000.0, 20_000.0])
@pytest.mark.parametrize("phase_deg", [0.0, 22.5, 45.0, 67.5, 80.0])
def test_a_sine_reads_no_lower_than_an_eighth_of_a_sample_explains(
    frequency_hz: float, phase_deg: float
) -> None:
    """Annex 2, 4x oversampling: the crest is at most 1/8 sample from a point; the filter adds 0.003 dB."""
    allowed_db = 20 * math.log10(math.cos(2 * math.pi * frequency_hz / RATE_HZ / 8))
    pcm = faded(signals.sine(frequency_hz, 0.5, amplitude=1.0, phase_deg=phase_deg))
    assert allowed_db - 0.003 <= measured_db(pcm) <= 0.003


def test_the_interpolator_is_flat_over_what_is_heard() -> None:
    """Every phase within 0.002 dB up to 20 kHz and 0.14 dB up to 21 kHz."""
    frequency_hz = np.fft.rfftfreq(1 << 14, 1 / RATE_HZ)
    response_db = 20 * np.log10(np.maximum(np.abs(np.fft.rfft(PHASES.astype(np.float64), 1 << 14)), 1e-9))
    assert np.abs(response_db[:, frequency_hz <= FLAT_TO_HZ]).max() < 0.002
    assert np.abs(response_db[:, frequency_hz <= 21_000]).max() < 0.14


@pytest.mark.parametrize("seed", range(6))
def test_noise_reads_as_ideal_oversampling_has_it(seed: int) -> None:
    """Against a transform of the whole signal: 0.01 dB at the same four points; 0.5 dB at 32 points."""
    spectrum = np.fft.rfft(signals.noise(0.25, seed=seed))
    spectrum[:, np.fft.rfftfreq(12_000, 1 / RATE_HZ) > FLAT_TO_HZ] = 0
    pcm = faded(np.fft.irfft(spectrum, 12_000).astype(np.float32))
    at_four_points = 20 * math.log10(np.abs(oversampled_by_fft(pcm, OVERSAMPLING)).max())
    ideal = 20 * math.log10(np.abs(oversampled_by_fft(pcm, 32)).max())
    assert measured_db(pcm) == pytest.approx(at_four_points, abs=0.01)
    assert ideal - 0.5 <= measured_db(pcm) <= ideal + 0.01


@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=12),
    levels=st.lists(st.sampled_from([0.0, 0.01, 0.4, 0.9, 1.0]), min_size=4, max_size=4),
    smoothed_over=st.sampled_from([1, 2, 3, 8, 40]),
)
def test_blocks_of_any_size_and_skipping_change_nothing(
    seed: int, sizes: list[int], levels: list[float], smoothed_over: int
) -> None:
    """Rough and smooth, quiet and loud in any order: to single precision what the filter says of it all."""
    samples = sum(sizes)
    noise = np.random.default_rng(seed).uniform(-1, 1, (2, samples + smoothed_over - 1))
    noise = sliding_window_view(noise, smoothed_over, axis=1).mean(axis=2)
    envelope = np.repeat(levels, -(-samples // len(levels)))[:samples]
    pcm = (noise * envelope).astype(np.float32)
    meter = TruePeakMeter(2)
    for block, start in zip(sizes, np.cumsum([0, *sizes]), strict=False):
        meter.push(signals.Block(pts=int(start), pcm=pcm[:, start : start + block]))
    assert meter.result() == pytest.approx(without_skipping(pcm), rel=1e-5)


@pytest.mark.parametrize("size", [1, 31, 32, 33, 4_096])
def test_block_sizes_around_the_filter_agree(size: int) -> None:
    pcm = signals.music(0.1)
    assert measured(pcm, size) == pytest.approx(without_skipping(pcm), rel=1e-5)


def test_a_peak_after_the_last_sample_is_found() -> None:
    """The end is followed by silence: what the filter still holds is measured, once and for all."""
    pcm = signals.impulses([998, 999], 1_000)
    meter = TruePeakMeter(2)
    for block in signals.blocks(pcm, 333):
        meter.push(block)
    assert meter.result() == pytest.approx(without_skipping(pcm), rel=1e-5)
    assert meter.result() > 1.2
    assert meter.result() == meter.result()


def test_it_is_never_below_the_sample_peak() -> None:
    """A lone full-scale sample: all points between it and its neighbours are lower."""
    assert measured(signals.impulses([500], 1_000)) == 1.0


def test_a_clipped_square_lies_far_above_full_scale() -> None:
    """Reliability, bad input 40: the samples say 0 dBFS."""
    assert measured_db(signals.square(24, 4_800)) > 1.0


def test_the_loudest_channel_counts() -> None:
    pcm = signals.music(0.2)
    pcm[0] *= 0.1
    assert measured(pcm) == measured(pcm[1:])


def test_the_bound_that_allows_skipping_is_reached_by_the_worst_signal() -> None:
    """Signs as the filter's own taps: no lower factor would be safe."""
    phase = max(PHASES, key=lambda taps: float(np.abs(taps).sum()))
    pcm = np.pad(np.sign(phase), 64)[None, :].astype(np.float32)
    assert measured(pcm) == pytest.approx(LARGEST_GAIN, rel=1e-5)


def test_silence_has_no_peak() -> None:
    assert measured(signals.silence(0.1)) == 0.0
    assert TruePeakMeter(1).result() == 0.0


@pytest.mark.parametrize(
    ("linear", "expected"),
    [(0.0, None), (1.0, 0.0), (0.5, -6.02), (2.0, 6.021), (1.000001, 0.001), (0.9999999, 0.0)],
)
def test_decibels_are_rounded_up_to_a_thousandth(linear: float, expected: float | None) -> None:
    """Up, so that a gain planned from it never passes the ceiling."""
    assert dbtp(linear) == expected
