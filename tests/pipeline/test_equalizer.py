"""The equalizer does to sound what the cookbook's transfer functions say, whatever the Blocks."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import signals
from numpy.typing import NDArray

from pipeline.analyze import Analysis, Analyzer
from pipeline.equalizer import BUTTERWORTH_Q, MAX_BANDS, PRESETS, Band, BandType, Equalizer
from pipeline.grid import RATE_HZ
from pipeline.media import Block
from pipeline.normalize import plan_gain

TYPES: tuple[BandType, ...] = ("peaking", "low_shelf", "high_shelf", "low_pass", "high_pass", "notch")
LENGTH = 1 << 16


def equalized(pcm: signals.Pcm, *bands: Band, size: int = 16_384, rate_hz: int = RATE_HZ) -> signals.Pcm:
    stage = Equalizer(bands, len(pcm), rate_hz)
    made = [out for block in signals.blocks(pcm, size) for out in stage.push(block)]
    assert stage.flush() == []
    assert [block.pts for block in made] == list(range(0, pcm.shape[1], size))
    return np.concatenate([block.pcm for block in made], axis=1)


def cookbook_db(band: Band, frequency_hz: NDArray[np.float64], rate_hz: int) -> NDArray[np.float64]:
    """The cookbook's analogue prototypes H(s), warped by its bilinear transform: none of our coefficients."""
    s = 1j * np.tan(np.pi * frequency_hz / rate_hz) / np.tan(np.pi * band.frequency_hz / rate_hz)
    q, a = band.q, 10 ** (band.gain_db / 40)
    root = np.sqrt(a)
    above, below = {
        "low_pass": (1, s**2 + s / q + 1),
        "high_pass": (s**2, s**2 + s / q + 1),
        "notch": (s**2 + 1, s**2 + s / q + 1),
        "peaking": (s**2 + s * a / q + 1, s**2 + s / (a * q) + 1),
        "low_shelf": (a * (s**2 + root / q * s + a), a * s**2 + root / q * s + 1),
        "high_shelf": (a * (a * s**2 + root / q * s + 1), s**2 + root / q * s + a),
    }[band.type]
    return 20 * np.log10(np.maximum(np.abs(above / below), 1e-9))


def measured_db(*bands: Band, rate_hz: int = RATE_HZ) -> NDArray[np.float64]:
    """The spectrum of what becomes of one full-scale sample, at multiples of rate_hz / LENGTH."""
    impulse = signals.impulses([0], LENGTH, channels=1)
    spectrum = np.abs(np.fft.rfft(equalized(impulse, *bands, rate_hz=rate_hz)[0].astype(np.float64)))
    return 20 * np.log10(np.maximum(spectrum, 1e-9))


def assert_follows(measured: NDArray[np.float64], expected: NDArray[np.float64]) -> None:
    """Within 0.1 dB down to -60 dB; below, at least as quiet."""
    audible = expected > -60
    assert np.abs(measured - expected)[audible].max() < 0.1
    assert measured[~audible].max(initial=-120.0) < -59


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("frequency_hz", [20.0, 1_000.0, 20_000.0])
def test_the_response_is_the_cookbooks(type_: BandType, frequency_hz: float) -> None:
    """At every frequency, centre and edges among them, for low and high q, boost and cut."""
    frequencies = np.fft.rfftfreq(LENGTH, 1 / RATE_HZ)[1:-1]
    gains = (0.0,) if type_ in {"low_pass", "high_pass", "notch"} else (12.0, -24.0)
    for gain_db, q in product(gains, (0.3, 0.7071, 4.0)):
        band = Band(type=type_, frequency_hz=frequency_hz, gain_db=gain_db, q=q)
        assert_follows(measured_db(band)[1:-1], cookbook_db(band, frequencies, RATE_HZ))


def test_bands_add_up_in_decibels() -> None:
    frequencies = np.fft.rfftfreq(LENGTH, 1 / RATE_HZ)[1:-1]
    for bands in PRESETS.values():
        alone = [cookbook_db(band, frequencies, RATE_HZ) for band in bands]
        assert_follows(measured_db(*bands)[1:-1], sum(alone, np.zeros(len(frequencies))))


def test_another_rate_has_the_same_bands() -> None:
    frequencies = np.fft.rfftfreq(LENGTH, 1 / 96_000)[1:-1]
    band = Band(type="peaking", frequency_hz=5_000, gain_db=6)
    assert_follows(measured_db(band, rate_hz=96_000)[1:-1], cookbook_db(band, frequencies, 96_000))
    with pytest.raises(ValueError, match="frequency_hz is 5000, under 4000 at a rate of 8000 Hz"):
        Equalizer((band,), 1, 8_000)


@pytest.mark.parametrize("channels", [1, 2])
def test_blocks_of_any_size_give_the_same_samples(channels: int) -> None:
    """No state is lost between Blocks, the length is exact, and channels do not mix."""
    pcm = signals.noise(0.25, channels=channels)
    whole = equalized(pcm, *PRESETS["vocal"], size=pcm.shape[1])
    assert whole.shape == pcm.shape
    assert whole.dtype == np.float32
    for size in (1_000, 4_096, 333):
        assert np.array_equal(equalized(pcm, *PRESETS["vocal"], size=size), whole)
    for channel in range(channels):
        assert np.array_equal(equalized(pcm[channel : channel + 1], *PRESETS["vocal"])[0], whole[channel])


@pytest.mark.parametrize(
    "bands",
    [(), (Band(type="peaking", frequency_hz=1_000), Band(type="low_shelf", frequency_hz=80, q=2.0))],
)
def test_without_a_band_that_changes_something_blocks_pass_untouched(bands: tuple[Band, ...]) -> None:
    block = Block(pts=7, pcm=signals.noise(0.01))
    assert Equalizer(bands, 2).push(block) == [block]


def test_a_boosted_full_scale_song_stays_under_the_ceiling() -> None:
    """What passes full scale is not clipped but measured, and the planned gain brings it down."""
    loud = equalized(signals.music(2.0, peak=1.0), Band(type="low_shelf", frequency_hz=200, gain_db=12))
    assert np.abs(loud).max() > 2
    measured = analysed(loud)
    plan = plan_gain(measured.loudness, measured.true_peak_dbtp, target_lufs=0.0)
    peak_dbtp = analysed(loud * np.float32(10 ** (plan.gain_db / 20))).true_peak_dbtp
    assert peak_dbtp == pytest.approx(-1.0, abs=0.001)


def analysed(pcm: signals.Pcm) -> Analysis:
    meter = Analyzer(2)
    for block in signals.blocks(pcm):
        meter.push(block)
    return meter.result()


def test_the_readme_says_what_the_presets_are() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    for name, bands in PRESETS.items():
        assert f"| `{name}` | {', '.join(map(told, bands)) or 'none'} |" in readme


def told(band: Band) -> str:
    unit = f"{band.frequency_hz / 1000:g} kHz" if band.frequency_hz >= 1_000 else f"{band.frequency_hz:g} Hz"
    gain = f" {band.gain_db:+g} dB".replace("-", "\N{MINUS SIGN}") if band.gain_db else ""
    return f"{band.type.replace('_', ' ')} {unit}{gain}" + (
        f" (q {band.q:g})" if band.q != BUTTERWORTH_Q else ""
    )


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"type": "comb"}, "type is comb, known are peaking"),
        ({"frequency_hz": 19.9}, "frequency_hz is 19.9, allowed are 20 to 20000"),
        ({"frequency_hz": 20_001.0}, "frequency_hz is 20001.0"),
        ({"frequency_hz": float("nan")}, "frequency_hz is nan"),
        ({"gain_db": 24.1}, "gain_db is 24.1, allowed are -24 to 24"),
        ({"gain_db": float("inf")}, "gain_db is inf"),
        ({"q": 0.0}, "q is 0.0, allowed are 0.1 to 10"),
        ({"type": "notch", "gain_db": 1.0}, "gain_db is 1.0, a notch band has none"),
    ],
)
def test_a_band_out_of_its_ranges_is_refused(changed: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Band(**{"type": "peaking", "frequency_hz": 1_000.0, **changed})  # type: ignore[arg-type]


def test_bands_and_channels_have_bounds() -> None:
    band = Band(type="peaking", frequency_hz=1_000, gain_db=1)
    with pytest.raises(ValueError, match="17 bands, at most 16"):
        Equalizer((band,) * (MAX_BANDS + 1), 2)
    with pytest.raises(ValueError, match="3 channels to equalize"):
        Equalizer((band,), 3)
