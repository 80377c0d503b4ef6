"""What FFmpeg's muxers are told, seen in their files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import signals
import whole_files

from pipeline.container import as_samples


@pytest.mark.parametrize(
    ("bits", "rate_hz", "channels"), [(16, 44_100, 1), (24, 192_000, 2), (24, 48_000, 6)]
)
def test_flac_gives_back_the_source_bit_for_bit(
    bits: int, rate_hz: int, channels: int, tmp_path: Path
) -> None:
    full_scale = 1 << (bits - 1)
    numbers = np.random.default_rng(5).integers(-full_scale, full_scale, (channels, 5_001))
    pcm = (numbers / full_scale).astype(np.float32)
    output = whole_files.output("flac", channels, rate_hz=rate_hz, bit_depth=bits)
    data = whole_files.made(output, pcm)
    assert np.array_equal(whole_files.heard(data, channels), pcm)
    audio, _ = whole_files.seen(data, tmp_path)
    assert (audio["bits_per_raw_sample"], audio["sample_rate"], audio["duration_ts"]) == (
        str(bits),
        str(rate_hz),
        5_001,
    )


def test_flac_says_how_many_samples_it_has_and_their_sum() -> None:
    """RFC 9639 8.2: STREAMINFO is filled in at the end; the sum is of the samples as they stand in a WAVE."""
    pcm = signals.music(0.2)
    data = whole_files.made(whole_files.output("flac", rate_hz=48_000, bit_depth=16), pcm)
    assert data[:4] == b"fLaC"
    assert int.from_bytes(data[21:26], "big") & 0xFFFFFFFFF == 9_600
    samples = as_samples(pcm, "s16").T.astype("<i2").tobytes()
    assert data[26:42] == hashlib.md5(samples, usedforsecurity=False).digest()


def test_an_mp3_states_its_delay_and_padding() -> None:
    """The LAME tag: 12 bits each; with the decoder's 529 they make whole frames of 1152."""
    data = whole_files.made(whole_files.output("mp3-128"), signals.music(0.5))
    at = data.index(b"Info") + 4 + 4 + 4 + 4 + 100 + 4
    delays = int.from_bytes(data[at + 21 : at + 24], "big")
    delay, padding = delays >> 12, delays & 0xFFF
    assert delay == 576
    assert (delay + 24_000 + padding) % 1152 == 0


def test_what_is_over_full_scale_is_cut_where_numbers_end() -> None:
    over = np.array([[1.5, -1.5, 1.0, -1.0]], np.float32)
    assert as_samples(over, "s16").tolist() == [[32767, -32768, 32767, -32768]]
    assert (as_samples(over, "s32") >> 8).tolist() == [[8388607, -8388608, 8388607, -8388608]]
    assert as_samples(over, "flt") is over
