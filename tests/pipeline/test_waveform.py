"""What players draw: pixels from samples, coarser zooms, and the bytes that audiowaveform would write."""

from __future__ import annotations

import struct
from contextlib import suppress

import numpy as np
import pytest
import signals
from hypothesis import given
from hypothesis import strategies as st
from oracles import audiowaveform

from pipeline.errors import Malformed
from pipeline.media import Block
from pipeline.waveform import SAMPLES_PER_PIXEL, Waveform, WaveformMeter

GOLDEN = audiowaveform.golden()


def drawn(pcm: signals.Pcm, size: int = 16_384) -> Waveform:
    meter = WaveformMeter(len(pcm))
    for block in signals.blocks(pcm, size):
        meter.push(block)
    return meter.result()


def of(*pixels: list[int]) -> Waveform:
    """Each pixel as its lanes' lowest and highest, in their order."""
    return Waveform(levels=np.array(pixels, np.int16).reshape(len(pixels), -1, 2))


def levels(waveform: Waveform) -> list[list[int]]:
    pixels: list[list[int]] = waveform.levels.reshape(len(waveform), 2 * waveform.lanes).tolist()
    return pixels


@pytest.mark.parametrize("case", audiowaveform.CASES, ids=str)
def test_the_binary_file_is_audiowaveforms_byte_for_byte(case: audiowaveform.Case) -> None:
    """Version 1.10.3 made the hashes of the same PCM; 300 samples a Block, so that no pixel is one Block."""
    made = drawn(signals.as_float(case.pcm), 300)
    view = (made.split() if case.split else made.mix()).rescaled(case.zoom)
    assert audiowaveform.digest(view.to_dat(case.bits)) == GOLDEN[str(case)][0]


def test_a_stereo_track_has_three_lanes_the_mix_left_and_right() -> None:
    """The mix is the mean of the channels, toward zero: not an extreme of either."""
    pcm = np.zeros((2, 2 * SAMPLES_PER_PIXEL), np.float32)
    pcm[0, 10], pcm[1, 20] = 0.5, -0.25
    pcm[:, SAMPLES_PER_PIXEL] = -3 / 32_768, -4 / 32_768
    made = drawn(pcm)
    assert levels(made) == [[-4096, 8192, 0, 16_384, -8192, 0], [-3, 0, -3, 0, -4, 0]]
    assert (levels(made.mix()), levels(made.split())[0]) == ([[-4096, 8192], [-3, 0]], [0, 16_384, -8192, 0])
    assert (made.samples_per_pixel, made.sample_rate_hz) == (256, 48_000)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_mono_track_has_one_lane_whatever_is_asked_for(channels: int) -> None:
    made = drawn(np.full((channels, 256), 0.25, np.float32))
    assert made.lanes == (1 if channels == 1 else 3)
    assert (made.mix().lanes, made.split().lanes) == (1, channels)


@pytest.mark.parametrize(
    ("sample", "level"),
    [
        (0.0, 0),
        (1.0, 32_767),
        (-1.0, -32_768),
        (8.0, 32_767),
        (-8.0, -32_768),
        (0.49 / 32_768, 0),
        (1.5 / 32_768, 2),
        (-2.5 / 32_768, -2),
    ],
)
def test_samples_are_rounded_to_16_bits_and_stop_at_full_scale(sample: float, level: int) -> None:
    """Half to even, as FFmpeg makes its s16; a float source may pass full scale and must not wrap around."""
    assert levels(drawn(np.full((1, 256), sample, np.float32))) == [[level, level]]


@pytest.mark.parametrize(
    ("samples", "pixels"), [(0, 0), (1, 1), (255, 1), (256, 1), (257, 2), (512, 2), (48_000, 188)]
)
def test_the_last_pixel_is_of_what_is_left(samples: int, pixels: int) -> None:
    assert levels(drawn(np.full((1, samples), 0.5, np.float32))) == [[16_384, 16_384]] * pixels


@given(seed=st.integers(0, 2**32), sizes=st.lists(st.integers(1, 1_500), max_size=8))
def test_blocks_of_any_size_draw_the_same(seed: int, sizes: list[int]) -> None:
    pcm = np.random.default_rng(seed).uniform(-1, 1, (2, sum(sizes))).astype(np.float32)
    meter, start = WaveformMeter(2), 0
    for size in sizes:
        meter.push(Block(pts=start, pcm=pcm[:, start : start + size]))
        start += size
    assert meter.result().to_dat(16) == drawn(pcm, 10_000).to_dat(16)


def test_a_block_may_be_overwritten_once_it_is_pushed() -> None:
    """Decoders reuse memory: what waits for its pixel to fill is the meter's own."""
    pcm = np.full((1, 100), 0.5, np.float32)
    meter = WaveformMeter(1)
    meter.push(Block(pts=0, pcm=pcm))
    pcm[:] = 1.0
    assert levels(meter.result()) == [[16_384, 16_384]]


@given(seed=st.integers(0, 2**32), samples=st.integers(1, 9_000), factor=st.integers(1, 12))
def test_a_multiple_of_the_zoom_is_what_the_samples_themselves_give(
    seed: int, samples: int, factor: int
) -> None:
    pcm = np.random.default_rng(seed).integers(-32_768, 32_768, (1, samples))
    zoom = SAMPLES_PER_PIXEL * factor
    pixels = [pcm[0, at : at + zoom] for at in range(0, samples, zoom)]
    made = drawn(signals.as_float(pcm.astype(np.int16))).rescaled(zoom)
    assert levels(made) == [[int(pixel.min()), int(pixel.max())] for pixel in pixels]
    assert made.samples_per_pixel == zoom


def test_at_another_zoom_a_pixel_across_a_border_belongs_to_the_later() -> None:
    """WaveformRescaler of audiowaveform: 384 samples are a pixel and a half: one, two, one, two."""
    waveform = of([-1, 1], [-2, 2], [-3, 3], [-4, 4], [-5, 5])
    assert levels(waveform.rescaled(384)) == [[-1, 1], [-3, 3], [-4, 4], [-5, 5]]


def test_no_zoom_is_finer_than_what_was_measured() -> None:
    with pytest.raises(ValueError, match="samples_per_pixel is 255, at least 256"):
        of([0, 0]).rescaled(255)


def test_coarser_halves_until_it_fits() -> None:
    waveform = of([-1, 1], [-5, 2], [-3, 8], [0, 4], [-9, 0])
    assert levels(waveform.coarser(5)) == levels(waveform)
    half = waveform.coarser(4)
    assert (levels(half), half.samples_per_pixel) == ([[-5, 2], [-3, 8], [-9, 0]], 512)
    one = waveform.coarser(1)
    assert (levels(one), one.samples_per_pixel) == ([[-9, 8]], 2048)
    with pytest.raises(ValueError, match="max_points is 0"):
        waveform.coarser(0)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [(1, [[-3, 4]]), (2, [[-1, 2], [-3, 4]]), (3, [[-1, 1], [-1, 2], [-3, 4]])],
)
def test_columns_share_the_pixels_between_them(columns: int, expected: list[list[int]]) -> None:
    assert of([-1, 1], [-1, 2], [-2, 2], [-3, 4]).across(columns)[:, 0].tolist() == expected


def test_a_track_shorter_than_the_picture_is_stretched() -> None:
    assert of([-1, 1], [-2, 2]).across(4)[:, 0].tolist() == [[-1, 1], [-1, 1], [-2, 2], [-2, 2]]
    with pytest.raises(ValueError, match="0 pixels cannot be drawn across 4 columns"):
        WaveformMeter(1).result().across(4)


@pytest.mark.parametrize(
    ("level", "in_8_bits"), [(255, 0), (256, 1), (-255, 0), (-256, -1), (32_767, 127), (-32_768, -128)]
)
def test_8_bits_are_16_divided_toward_zero(level: int, in_8_bits: int) -> None:
    assert np.frombuffer(of([level, level]).to_dat(8)[20:], np.int8).tolist() == [in_8_bits] * 2


def test_one_lane_is_version_1_and_several_are_version_2() -> None:
    """audiowaveform(5): version, flags (1: 8 bits), rate, samples a pixel, pixels, and in version 2 lanes."""
    one = "010000000100000080bb00000001000002000000e040817f"
    assert of([-32 * 256, 64 * 256], [-127 * 256, 32_767]).to_dat(8).hex() == one
    two = "020000000000000080bb0000000100000100000002000000ffff0100feff0200"
    assert of([-1, 1, -2, 2]).to_dat(16).hex() == two


@pytest.mark.parametrize("channels", [1, 2])
def test_16_bits_are_read_back(channels: int) -> None:
    made = drawn(signals.music(0.3, channels=channels))
    again = Waveform.from_dat(made.to_dat(16))
    assert again.levels.shape == (57, 1 if channels == 1 else 3, 2)
    assert again.to_dat(16) == made.to_dat(16)


def test_8_bits_are_read_as_audiowaveform_reads_them() -> None:
    """Times 256; also the version 2 of one lane, which audiowaveform no longer writes."""
    old = header(2, 1, 48_000, 256, 1) + struct.pack("<i", 1) + bytes([0x80, 0x7F])
    assert levels(Waveform.from_dat(old)) == [[-32_768, 127 * 256]]


def test_a_track_without_samples_has_a_header_only() -> None:
    waveform = WaveformMeter(2).result()
    assert (len(waveform.mix().to_dat(8)), len(waveform.to_dat(8))) == (20, 24)
    assert len(Waveform.from_dat(waveform.to_dat(16)).coarser(10)) == 0


def header(*fields: int) -> bytes:
    return struct.pack("<iIiiI", *fields)


LANES = struct.pack("<i", 2)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        header(1, 1, 48_000, 256, 0)[:-1],
        header(0, 1, 48_000, 256, 0),
        header(3, 1, 48_000, 256, 0) + LANES,
        header(2, 1, 48_000, 256, 0) + LANES[:-1],
        header(1, 2, 48_000, 256, 0),  # an unknown flag
        header(2, 1, 48_000, 256, 0) + bytes(4),  # no lane
        header(2, 1, 48_000, 256, 0) + struct.pack("<i", 25),
        header(1, 1, 0, 256, 0),
        header(1, 1, -1, 256, 0),
        header(1, 1, 48_000, 0, 0),
        header(1, 1, 48_000, 256, 2) + bytes(3),  # cut off
        header(1, 1, 48_000, 256, 2) + bytes(5),  # too long
        header(1, 0, 48_000, 256, 2) + bytes(4),  # 8 bits where 16 are said
        header(2, 1, 48_000, 256, 1) + LANES + bytes(2),  # one lane where two are said
        header(1, 1, 48_000, 256, 0xFFFFFFFF),
    ],
)
def test_bad_bytes_are_malformed(data: bytes) -> None:
    with pytest.raises(Malformed) as refused:
        Waveform.from_dat(data)
    assert refused.value.code == "corrupt"


@given(
    st.binary(max_size=64)
    | st.builds(
        lambda version, flags, per_pixel, pixels, rest: (
            header(version, flags, 8000, per_pixel, pixels) + rest
        ),
        st.integers(1, 2),
        st.integers(0, 1),
        st.integers(-1, 2**31 - 1),
        st.integers(0, 6),
        st.binary(max_size=24) | st.binary(max_size=24).map(LANES.__add__),
    )
)
def test_arbitrary_bytes_are_a_waveform_or_malformed(data: bytes) -> None:
    """No other error; and what is read is read again as it was."""
    with suppress(Malformed):
        read = Waveform.from_dat(data)
        assert Waveform.from_dat(read.to_dat(16)).levels.tolist() == read.levels.tolist()


def test_the_json_form_says_what_is_in_it() -> None:
    """Its bytes are held to audiowaveform's where they are made: tests/media_server/endpoints."""
    told = of([-8192, 16_384, -256, 511]).to_json_object(8)
    assert {**told, "data": told["data"].tolist()} == {
        "version": 2,
        "channels": 2,
        "sample_rate": 48_000,
        "samples_per_pixel": 256,
        "bits": 8,
        "length": 1,
        "data": [-32, 64, -1, 1],
    }
