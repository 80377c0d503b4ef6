"""A file is like the ladder, a lossless one like the source."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import signals
import whole_files

from media_server.jobs.events import FileMade, PieceMade
from media_server.jobs.filing import Source, make_file
from pipeline.equalizer import Band
from pipeline.normalize import GainPlan
from pipeline.outputs import Output
from pipeline.replaygain import FileLoudness

PLAN = GainPlan(gain_db=-6.0, target_lufs=-14.0, ceiling_dbtp=-1.0, reason="target", planned_lufs=-14.0)


def source(path: Path, samples: int, plan: GainPlan = PLAN, equalizer: tuple[Band, ...] = ()) -> Source:
    return Source(
        path=path,
        max_duration_s=60.0,
        equalizer=equalizer,
        samples=samples,
        plan=plan,
        loudness=FileLoudness(integrated_lufs=-8.0, true_peak_dbtp=-1.0),
        tags=whole_files.TAGS,
        cover=None,
    )


def filed(of: Source, output: Output) -> tuple[bytes, FileMade]:
    *pieces, (end, nothing) = make_file(of, output)
    assert isinstance(end, FileMade)
    assert nothing == b""
    file = bytearray()
    for event, payload in pieces:
        assert isinstance(event, PieceMade)
        assert event.output == output.name
        file[event.offset : event.offset + len(payload)] = payload
    return bytes(file), end


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, signals.Pcm]:
    """Half a second of 16 bits at 44.1 kHz."""
    path = tmp_path_factory.mktemp("filing") / "song.wav"
    pcm = signals.music(0.5, 44_100)
    signals.write(path, pcm, 44_100, "wav", subtype="PCM_16")
    return path, pcm


@pytest.mark.parametrize(
    ("name", "samples"), [("mp3-320", 24_000), ("ogg-320-44100", 22_050), ("m4a-320-96000", 48_000)]
)
def test_a_lossy_file_has_the_gain_of_the_ladder(
    song: tuple[Path, signals.Pcm], name: str, samples: int, tmp_path: Path
) -> None:
    """The same samples as a rendition, at 48 kHz or brought from there to another rate."""
    data, end = filed(source(song[0], 24_000), whole_files.output(name))
    assert (end.output, end.rate_hz, end.channels) == (name, samples * 2, 2)
    heard = whole_files.heard(data, 2)
    whole_frames = -(samples + 1024) % 1024 if name.startswith("m4a") else 0  # as in test_files.py
    assert heard.shape[1] == samples + whole_frames
    assert float(np.sqrt(np.mean(heard**2) / np.mean(song[1] ** 2))) == pytest.approx(
        10 ** (-6 / 20), rel=0.02
    )
    _, tags = whole_files.seen(data, tmp_path)
    assert tags["replaygain_track_gain"] == "-4.00 dB"


@pytest.mark.parametrize("name", ["mp3-320", "m4a-320-44100"])
def test_a_lossy_file_has_the_limiter_of_the_ladder(
    song: tuple[Path, signals.Pcm], name: str, tmp_path: Path
) -> None:
    """Its peaks are where the limiter holds them, and its tags say what was planned with it."""
    plan = replace(PLAN, gain_db=3.0, planned_lufs=-7.5, limit_dbtp=-9.0, reason="limited")
    data, _ = filed(source(song[0], 24_000, plan), whole_files.output(name))
    heard = whole_files.heard(data, 2)
    assert 20 * np.log10(np.abs(heard).max()) == pytest.approx(-9.0, abs=0.5)
    _, tags = whole_files.seen(data, tmp_path)
    assert tags["replaygain_track_gain"] == "-10.50 dB"
    assert float(tags["replaygain_track_peak"]) == pytest.approx(10 ** (-9 / 20), abs=1e-6)


def test_flac_is_the_source_and_its_tags_say_how_loud(song: tuple[Path, signals.Pcm], tmp_path: Path) -> None:
    output = whole_files.output("flac", rate_hz=48_000, bit_depth=16)  # a header may lie about the rate
    data, end = filed(source(song[0], 24_000), output)
    assert (end.rate_hz, end.bitrate_bps, end.format) == (44_100, None, "flac")
    whole = np.round(song[1] * 32_768)
    assert np.abs(whole_files.heard(data, 2) * 32_768 - whole).max() <= 1  # libsndfile rounds another way
    _, tags = whole_files.seen(data, tmp_path)
    assert tags["replaygain_track_gain"] == "-10.00 dB"


def test_an_equalizer_shapes_lossy_files_as_the_ladder_and_never_the_lossless(
    song: tuple[Path, signals.Pcm], tmp_path: Path
) -> None:
    """What was measured is the equalized sound: a FLAC, which has none, cannot say how loud it is."""
    deaf = (Band(type="low_pass", frequency_hz=20.0),) * 4
    quiet, _ = filed(source(song[0], 24_000, equalizer=deaf), whole_files.output("opus-64"))
    assert np.abs(whole_files.heard(quiet, 2)).max() < 0.02
    flac = whole_files.output("flac", rate_hz=44_100, bit_depth=16)
    data, _ = filed(source(song[0], 24_000, equalizer=deaf), flac)
    assert np.abs(whole_files.heard(data, 2)).max() > 0.5
    _, tags = whole_files.seen(data, tmp_path)
    assert tags["title"] == whole_files.TAGS["title"]
    assert not [name for name in tags if name.startswith("replaygain")]
