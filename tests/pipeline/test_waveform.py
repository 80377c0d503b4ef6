"""What players draw: pixels from samples, coarser levels, and the bytes of the two formats."""

from __future__ import annotations

import json
import struct
from contextlib import suppress

import numpy as np
import pytest
import signals
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Malformed
from pipeline.media import Block
from pipeline.waveform import SAMPLES_PER_PIXEL, Waveform, WaveformMeter


def drawn(pcm: signals.Pcm, size: int = 16_384) -> Waveform:
    meter = WaveformMeter(len(pcm))
    for block in signals.blocks(pcm, size):
        meter.push(block)
    return meter.result()


def of(minimum: list[int], maximum: list[int]) -> Waveform:
    return Waveform(minimum=np.array(minimum, np.int8), maximum=np.array(maximum, np.int8))


def test_a_pixel_has_the_lowest_and_highest_sample_of_all_channels() -> None:
    pcm = signals.silence(2 * SAMPLES_PER_PIXEL / 48_000)
    pcm[0, 10], pcm[1, 20] = 0.5, -0.25
    pcm[1, SAMPLES_PER_PIXEL] = 1.0
    waveform = drawn(pcm)
    assert waveform.minimum.tolist() == [-32, 0]
    assert waveform.maximum.tolist() == [64, 127]
    assert (waveform.samples_per_pixel, waveform.sample_rate_hz) == (256, 48_000)


@pytest.mark.parametrize(
    ("sample", "level"),
    [(0.0, 0), (1.0, 127), (-1.0, -127), (8.0, 127), (-8.0, -127), (0.003, 0), (0.005, 1), (-0.005, -1)],
)
def test_levels_are_rounded_and_stop_at_full_scale(sample: float, level: int) -> None:
    """A float source may pass full scale; eight bits may not wrap around."""
    waveform = drawn(np.full((1, 256), sample, np.float32))
    assert (waveform.minimum.tolist(), waveform.maximum.tolist()) == ([level], [level])


@pytest.mark.parametrize(
    ("samples", "pixels"), [(0, 0), (1, 1), (255, 1), (256, 1), (257, 2), (512, 2), (48_000, 188)]
)
def test_the_last_pixel_is_of_what_is_left(samples: int, pixels: int) -> None:
    pcm = np.full((2, samples), 0.5, np.float32)
    waveform = drawn(pcm)
    assert waveform.minimum.tolist() == waveform.maximum.tolist() == [64] * pixels


@given(seed=st.integers(0, 2**32), sizes=st.lists(st.integers(1, 1_500), max_size=8))
def test_blocks_of_any_size_draw_the_same(seed: int, sizes: list[int]) -> None:
    pcm = np.random.default_rng(seed).uniform(-1, 1, (2, sum(sizes))).astype(np.float32)
    meter, start = WaveformMeter(2), 0
    for size in sizes:
        meter.push(Block(pts=start, pcm=pcm[:, start : start + size]))
        start += size
    pixels = [pcm[:, at : at + SAMPLES_PER_PIXEL] for at in range(0, start, SAMPLES_PER_PIXEL)]
    assert meter.result().minimum.tolist() == [round(float(np.round(p.min() * 127))) for p in pixels]
    assert meter.result().maximum.tolist() == [round(float(np.round(p.max() * 127))) for p in pixels]


def test_a_block_may_be_overwritten_once_it_is_pushed() -> None:
    """Decoders reuse memory: what waits for its pixel to fill is the meter's own."""
    pcm = np.full((1, 100), 0.5, np.float32)
    meter = WaveformMeter(1)
    meter.push(Block(pts=0, pcm=pcm))
    pcm[:] = 1.0
    assert meter.result().maximum.tolist() == [64]


def test_coarser_halves_until_it_fits() -> None:
    waveform = of([-1, -5, -3, 0, -9], [1, 2, 8, 4, 0])
    assert waveform.coarser(5) is waveform
    half = waveform.coarser(4)
    assert (half.minimum.tolist(), half.maximum.tolist()) == ([-5, -3, -9], [2, 8, 0])
    assert half.samples_per_pixel == 512
    one = waveform.coarser(1)
    assert (one.minimum.tolist(), one.maximum.tolist(), one.samples_per_pixel) == ([-9], [8], 2048)


@given(samples=st.integers(0, 60_000), max_points=st.integers(1, 300))
def test_coarser_levels_lose_no_extreme(samples: int, max_points: int) -> None:
    rng = np.random.default_rng(samples)
    waveform = drawn(rng.uniform(-1, 1, (1, samples)).astype(np.float32))
    coarse = waveform.coarser(max_points)
    assert len(coarse.minimum) <= max_points
    assert len(coarse.minimum) == -(-samples // coarse.samples_per_pixel)
    assert coarse.minimum.min(initial=0) == waveform.minimum.min(initial=0)
    assert coarse.maximum.max(initial=0) == waveform.maximum.max(initial=0)
    assert coarse.coarser(max_points) is coarse


def test_coarser_needs_at_least_one_point() -> None:
    with pytest.raises(ValueError, match="max_points is 0"):
        of([0], [0]).coarser(0)


def test_dat_is_audiowaveforms_version_2_byte_for_byte() -> None:
    """Version 2, flags 1 (8 bits), 48000 Hz, 256 samples a pixel, 2 pixels, 1 channel; min, max, min, max."""
    expected = (
        "02000000"
        "01000000"
        "80bb0000"
        "00010000"
        "02000000"
        "01000000"
        "e040"
        "817f"
    )  # fmt: skip
    assert of([-32, -127], [64, 127]).to_dat().hex() == expected


def test_dat_is_read_back() -> None:
    waveform = drawn(signals.music(0.3)).coarser(20)
    again = Waveform.from_dat(waveform.to_dat())
    assert again.to_dat() == waveform.to_dat()
    assert again.to_json_object() == waveform.to_json_object()


def test_a_track_without_samples_has_a_header_only() -> None:
    waveform = WaveformMeter(2).result()
    assert len(waveform.to_dat()) == 24
    assert len(Waveform.from_dat(waveform.to_dat()).coarser(10).minimum) == 0


def header(*fields: int) -> bytes:
    return struct.pack("<iIiiIi", *fields)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        header(2, 1, 48_000, 256, 0, 1)[:-1],
        header(1, 1, 48_000, 256, 0, 1),  # version 1 has no channel count
        header(2, 0, 48_000, 256, 0, 1),  # 16 bits
        header(2, 1, 48_000, 256, 0, 2),  # a lane for each channel
        header(2, 1, 0, 256, 0, 1),
        header(2, 1, -1, 256, 0, 1),
        header(2, 1, 48_000, 0, 0, 1),
        header(2, 1, 48_000, 256, 2, 1) + bytes(3),  # cut off
        header(2, 1, 48_000, 256, 2, 1) + bytes(5),  # too long
        header(2, 1, 48_000, 256, 0xFFFFFFFF, 1),
    ],
)
def test_bad_bytes_are_malformed(data: bytes) -> None:
    with pytest.raises(Malformed) as refused:
        Waveform.from_dat(data)
    assert refused.value.code == "corrupt"


@given(
    st.binary(max_size=64)
    | st.builds(
        lambda rate_hz, per_pixel, pixels, pairs: header(2, 1, rate_hz, per_pixel, pixels, 1) + pairs,
        st.integers(-1, 2**31 - 1),
        st.integers(-1, 2**31 - 1),
        st.integers(0, 6),
        st.binary(max_size=12),
    )
)
def test_arbitrary_bytes_are_a_waveform_or_malformed(data: bytes) -> None:
    """No other error; and what is read is written again as it was."""
    with suppress(Malformed):
        assert Waveform.from_dat(data).to_dat() == data


def test_json_is_audiowaveforms_version_2() -> None:
    waveform = of([-32, -127], [64, 127])
    assert json.loads(json.dumps(waveform.to_json_object())) == {
        "version": 2,
        "channels": 1,
        "sample_rate": 48_000,
        "samples_per_pixel": 256,
        "bits": 8,
        "length": 2,
        "data": [-32, 64, -127, 127],
    }
