"""Loudness: the EBU's own cases, an independent meter, files of known loudness, and what has none."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import signals
import soundfile

from pipeline.loudness import Loudness, LoudnessMeter
from pipeline.media import Block

RATE_HZ = 48_000
NOTHING = Loudness(integrated_lufs=None, range_lu=None)


def measured(pcm: signals.Pcm, size: int = 16_384) -> Loudness:
    meter = LoudnessMeter(len(pcm))
    for block in signals.blocks(pcm, size):
        meter.push(block)
    return meter.result()


@pytest.mark.parametrize(
    ("levels", "expected_lufs"),
    [
        ([(-23, 20)], -23.0),
        ([(-33, 20)], -33.0),
        ([(-36, 10), (-23, 60), (-36, 10)], -23.0),
        ([(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)], -23.0),
        ([(-26, 20), (-20, 20.1), (-26, 20)], -23.0),
    ],
    ids=["case 1", "case 2", "case 3", "case 4", "case 5"],
)
def test_integrated_loudness_of_ebu_tech_3341(
    levels: list[tuple[float, float]], expected_lufs: float
) -> None:
    """Tech 3341 cases 1 to 5: within 0.1 LU. Cases 7 and 8 are recorded programmes of the EBU's, not here."""
    assert measured(signals.steps(levels)).integrated_lufs == pytest.approx(expected_lufs, abs=0.1)


@pytest.mark.parametrize("levels_dbfs", [(-28, -28, -24, -30, -30), (-28, -28, -24, 0, -30, -30)])
def test_surround_of_ebu_tech_3341(levels_dbfs: tuple[float, ...]) -> None:
    """Case 6: 20 s of 1 kHz in five channels, -23.0 LUFS within 0.1 LU; effects do not count."""
    pcm = np.concatenate([signals.steps([(level, 20)], channels=1) for level in levels_dbfs])
    assert measured(pcm).integrated_lufs == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize(
    ("levels", "expected_lu"),
    [
        ([(-20, 20), (-30, 20)], 10.0),
        ([(-20, 20), (-15, 20)], 5.0),
        ([(-40, 20), (-20, 20)], 20.0),
        ([(-50, 20), (-35, 20), (-20, 20), (-35, 20), (-50, 20)], 15.0),
    ],
    ids=["case 1", "case 2", "case 3", "case 4"],
)
def test_loudness_range_of_ebu_tech_3342(levels: list[tuple[float, float]], expected_lu: float) -> None:
    """Tech 3342 cases 1 to 4: within 1 LU. Cases 5 and 6 are recorded programmes of the EBU's, not here."""
    assert measured(signals.steps(levels)).range_lu == pytest.approx(expected_lu, abs=1.0)


@pytest.mark.parametrize(
    "pcm",
    [
        signals.music(8.0),
        signals.music(8.0, channels=1),
        signals.pink(5.0),
        signals.noise(5.0, rms=0.3),
        signals.sweep(20, 20_000, 10.0),
        signals.sine(60, 5.0),
        signals.square(48, 5 * RATE_HZ),
        signals.steps([(-30, 4), (-12, 4), (-60, 4)]),
        np.concatenate([signals.silence(4), signals.pink(4), signals.silence(4)], axis=1),
        signals.pink(0.5),
    ],
    ids=["music", "mono", "pink", "white", "sweep", "bass", "square", "steps", "pauses", "half a second"],
)
def test_an_independent_meter_agrees(pcm: signals.Pcm) -> None:
    """pyloudnorm over the whole signal: within 0.1 LU."""
    expected = pyloudnorm.Meter(RATE_HZ).integrated_loudness(pcm.T.astype(np.float64))
    assert measured(pcm).integrated_lufs == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize(
    ("name", "expected_lufs"),
    [("1770-2_Comp_RelGateTest.wav", -10.0), ("1770-2_Comp_AbsGateTest.wav", -69.5)],
)
def test_the_gates_of_bs_1770(corpus_dir: Path, name: str, expected_lufs: float) -> None:
    """BS.1770-5 Annex 1: the absolute gate at -70 LKFS and the relative one 10 LU down; within 0.1 LU."""
    pcm, rate_hz = soundfile.read(corpus_dir / "pyloudnorm" / name, dtype="float32")
    assert rate_hz == RATE_HZ
    assert measured(pcm.T).integrated_lufs == pytest.approx(expected_lufs, abs=0.1)


def test_one_channel_counts_as_one_channel() -> None:
    """BS.1770-5: channel powers are added. Mono is 10 log10(2) below the same signal on both sides."""
    mono = measured(signals.pink(5.0, channels=1)).integrated_lufs
    both = measured(np.repeat(signals.pink(5.0, channels=1), 2, axis=0)).integrated_lufs
    assert mono is not None
    assert both is not None
    assert both - mono == pytest.approx(10 * math.log10(2), abs=0.02)


@pytest.mark.parametrize("size", [1_000, 4_800, 65_537])
def test_blocks_of_any_size_measure_the_same(size: int) -> None:
    pcm = signals.music(5.0)
    assert measured(pcm, size) == measured(pcm)


def test_single_samples_may_be_pushed_and_empty_blocks_too() -> None:
    pcm = signals.pink(0.5)
    meter = LoudnessMeter(2)
    for start in range(500):
        meter.push(Block(pts=start, pcm=pcm[:, start : start + 1]))
    meter.push(Block(pts=500, pcm=pcm[:, :0]))
    meter.push(Block(pts=500, pcm=pcm[:, 500:]))
    assert meter.result() == measured(pcm)


@pytest.mark.parametrize(
    "pcm",
    [
        signals.silence(5.0),
        signals.silence(5.0, channels=1),
        signals.noise(5.0, rms=1e-5),
        signals.impulses([0], 10),
        signals.pink(0.39),
        np.zeros((2, 0), np.float32),
    ],
    ids=["silence", "silent mono", "under the gate", "ten samples", "under 400 ms", "nothing"],
)
def test_silence_and_short_sounds_have_no_loudness(pcm: signals.Pcm) -> None:
    """Reliability, bad inputs 37 and 39; BS.1770-5: a gating block of 400 ms, above -70 LKFS."""
    assert measured(pcm) == NOTHING


@pytest.mark.parametrize("duration_s", [0.53, 3.05, 4.0999])
def test_a_tail_that_fills_no_measuring_step_loses_nothing(duration_s: float) -> None:
    """The filter measures every 100 ms; what is left at the end carries no reading of its own."""
    assert measured(signals.sine(1000, duration_s)).integrated_lufs == pytest.approx(-6.0, abs=0.1)


def test_a_track_of_one_gating_block_has_a_loudness_and_no_range() -> None:
    """Tech 3342: the range is one of 3 s windows."""
    assert measured(signals.sine(1000, 0.4)).integrated_lufs == pytest.approx(-6.0, abs=0.1)
    assert measured(signals.sine(1000, 2.99)).range_lu is None
    assert measured(signals.sine(1000, 3.2)).range_lu is not None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1e30])
@pytest.mark.parametrize("at", [0, 50_000, 191_999])
def test_no_number_that_is_none_comes_out(value: float, at: int) -> None:
    """Reliability, bad input 38: whatever gets in, JSON can carry what comes out."""
    pcm = signals.pink(4.0)
    pcm[1, at] = value
    loudness = measured(pcm)
    assert all(v is None or math.isfinite(v) for v in (loudness.integrated_lufs, loudness.range_lu))


def test_a_result_stays() -> None:
    meter = LoudnessMeter(2)
    for block in signals.blocks(signals.pink(1.0)):
        meter.push(block)
    assert meter.result() == meter.result()


@pytest.mark.parametrize("channels", [0, 3, 4, 7])
def test_what_has_no_weights_is_refused(channels: int) -> None:
    """BS.1770-5 Annex 1 Table 3: left, right, centre and two surrounds."""
    with pytest.raises(ValueError, match=f"{channels} channels"):
        LoudnessMeter(channels)
