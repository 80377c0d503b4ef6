"""Every format, judged by an FFmpeg that is not ours: its length to the sample, its tags, its loudness."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import signals
import soundfile
import whole_files

from pipeline.loudness import LoudnessMeter
from pipeline.outputs import Format, Output
from pipeline.replaygain import FileLoudness

FLAC = {"rate_hz": 48_000, "bit_depth": 16}
ONE_OF_EACH = [
    whole_files.output("mp3-320"),
    whole_files.output("mp3-128-44100", 1),
    whole_files.output("m4a-256"),
    whole_files.output("m4a-320-96000"),
    whole_files.output("ogg-192"),
    whole_files.output("ogg-128-44100", 1),
    whole_files.output("opus-128"),
    whole_files.output("flac", **FLAC),
]
every_format = pytest.mark.parametrize(
    "output", ONE_OF_EACH, ids=lambda output: f"{output.name}x{output.channels}"
)


def heard_samples(output: Output, data: bytes) -> int:
    """What FFmpeg plays; of Vorbis on a single page it plays whole blocks, so there libvorbis is asked."""
    if output.format is Format.OGG:
        return len(soundfile.read(io.BytesIO(data))[0])
    return whole_files.heard(data, output.channels).shape[1]


def beyond_the_end(output: Output, samples: int) -> int:
    """What FFmpeg plays too much: it ignores the end of an M4A's edit list (hls.md 1.6), within a frame."""
    return -(samples + 1024) % 1024 if output.format is Format.M4A else 0


@every_format
@pytest.mark.parametrize("samples", [100, 1_153, 23_457])
def test_a_file_has_as_many_samples_as_the_track(output: Output, samples: int, tmp_path: Path) -> None:
    """Gapless by what the container says: no more, no less, also of what is shorter than a frame."""
    pcm = signals.music(1.0, output.rate_hz, output.channels)[:, :samples]
    data = whole_files.made(output, pcm)
    assert heard_samples(output, data) - samples == beyond_the_end(output, samples)
    if output.format is Format.M4A:
        audio, _ = whole_files.seen(data, tmp_path)
        assert audio["duration_ts"] == samples


@every_format
def test_one_sample_is_a_file(output: Output) -> None:
    """An MP3 cannot have one frame alone, and FFmpeg's muxer has no word for a padding of more than one."""
    pcm = signals.music(0.1, output.rate_hz, output.channels)[:, :1]
    played = heard_samples(output, whole_files.made(output, pcm))
    assert played == {Format.MP3: 47, Format.M4A: 1024}.get(output.format, 1)


@every_format
def test_the_sound_is_the_track_s_and_begins_where_it_does(output: Output) -> None:
    pcm = signals.music(0.5, output.rate_hz, output.channels)
    heard = whole_files.heard(whole_files.made(output, pcm), output.channels)[:, : pcm.shape[1]]
    noise_db = 20 * math.log10(float(np.sqrt(np.mean((heard - pcm) ** 2)) / np.sqrt(np.mean(pcm**2))))
    assert noise_db < (-85 if output.format.is_lossless else -12)
    shifted = np.roll(heard, 3, axis=1)
    assert np.mean((shifted - pcm) ** 2) > np.mean((heard - pcm) ** 2)


@every_format
def test_tags_and_cover_are_read_by_others(output: Output, tmp_path: Path) -> None:
    pcm = signals.music(0.1, output.rate_hz, output.channels)
    audio, tags = whole_files.seen(whole_files.made(output, pcm, whole_files.about(cover=True)), tmp_path)
    expected = {
        **whole_files.TAGS,
        **({"tsrc": whole_files.TAGS["isrc"]} if output.format is Format.MP3 else {}),
    }
    if output.format is Format.MP3:
        del expected["isrc"]
    assert {name: tags.get(name) for name in expected} == expected
    assert audio["picture"] == ("mjpeg", 64, 48)
    if output.format is not Format.M4A:  # which knows one kind
        assert audio["picture_type"] == "Cover (front)"


@every_format
def test_the_loudness_in_the_tags_is_that_of_the_bytes(output: Output, tmp_path: Path) -> None:
    """Measured again after decoding, of a tone, of which a lossy coder takes nothing away.

    LAME by itself would be 0.45 dB off at the low bit rates.
    """
    pcm = signals.sine(997, 1.0, output.rate_hz, amplitude=0.4, channels=output.channels)
    loudness = FileLoudness(integrated_lufs=loudness_of(pcm), true_peak_dbtp=20 * math.log10(0.4))
    data = whole_files.made(output, pcm, replace(whole_files.about(), loudness=loudness))
    measured = loudness_of(whole_files.heard(data, output.channels))
    _, tags = whole_files.seen(data, tmp_path)
    if output.format is Format.OPUS:
        stated = -23 - int(tags["r128_track_gain"]) / 256
    else:
        stated = -18 - float(tags["replaygain_track_gain"].removesuffix(" dB"))
    assert measured == pytest.approx(stated, abs=0.1)


@every_format
def test_the_same_sound_makes_the_same_bytes(output: Output) -> None:
    """reliability I4: no serial number by lot, no date, no version."""
    pcm = signals.music(0.2, output.rate_hz, output.channels)
    assert whole_files.made(output, pcm) == whole_files.made(output, pcm)


def loudness_of(pcm: signals.Pcm) -> float:
    """Of either rate: the meter's weights move by less than a hundredth between them."""
    meter = LoudnessMeter(len(pcm))
    for block in signals.blocks(np.ascontiguousarray(pcm)):
        meter.push(block)
    measured = meter.result().integrated_lufs
    assert measured is not None
    return measured
