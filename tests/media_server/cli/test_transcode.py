"""`transcode` makes a folder that any web server can serve, or says in one sentence why not."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import m3u8
import pytest
import signals
import whole_files
from click.testing import Result
from rich.console import Console
from typer.testing import CliRunner

from hls.asset import Asset, AssetLoudness, AssetRendition, StoredFile, StoredSegment
from media_server.cli import app
from media_server.cli.transcode import summary

RATE_HZ = 44_100


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five seconds of stereo: one segment and a tail that joins none."""
    path = tmp_path_factory.mktemp("source") / "a song.mp3"
    signals.write(path, signals.music(5.0, RATE_HZ, 2, peak=0.3), RATE_HZ, "flac")
    return path


@pytest.fixture(scope="module")
def made(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and what was printed."""
    target = tmp_path_factory.mktemp("target") / "new" / "out"
    result = run(source, target, "--ladder", "320k, 128k")
    assert result.exit_code == 0, result.output
    return target, result.output


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["transcode", *map(str, arguments)], env={"COLUMNS": "200"})


def test_every_file_that_a_playlist_names_is_there(made: tuple[Path, str]) -> None:
    """reliability I2, by a parser that others wrote."""
    target, _ = made
    master = m3u8.load(str(target / "master.m3u8"))
    assert [variant.uri for variant in master.playlists] == ["stream_128k.m3u8", "stream_320k.m3u8"]
    for variant in master.playlists:
        playlist = m3u8.load(str(target / variant.uri))
        assert playlist.is_endlist
        for uri in (playlist.segment_map[0].uri, *(segment.uri for segment in playlist.segments)):
            assert (target / uri).is_file()


def test_the_length_is_exact_and_the_asset_names_the_bytes(made: tuple[Path, str], source: Path) -> None:
    target, _ = made
    asset = Asset.from_json((target / "asset.json").read_bytes())
    assert asset.duration_samples == 5 * 48_000
    assert asset.source_sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert asset.waveform is not None
    drawn = (target / asset.version / asset.waveform.name).read_bytes()
    assert hashlib.sha256(drawn).hexdigest() == asset.waveform.sha256


def test_what_was_made_is_summed_up_with_where_it_lies(made: tuple[Path, str]) -> None:
    target, output = made
    assert output.strip().endswith(str(target / "master.m3u8"))
    assert "mp4a.40.2, 320 kbit/s, 2 segments" in output
    assert "5.000 s" in output


def test_switched_off_the_level_stays(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path, "--no-normalize", "--ladder", "128k")
    assert Asset.from_json((tmp_path / "asset.json").read_bytes()).loudness.gain_db == 0.0


def test_a_preset_of_the_equalizer_is_heard(made: tuple[Path, str], source: Path, tmp_path: Path) -> None:
    """Warm: less treble, and the plain track of the same source beside it."""
    run(source, tmp_path, "--eq", "warm", "--ladder", "128k")
    plain, warm = (Asset.from_json((folder / "asset.json").read_bytes()) for folder in (made[0], tmp_path))
    assert warm.loudness.integrated_lufs is not None
    assert plain.loudness.integrated_lufs is not None
    assert abs(warm.loudness.integrated_lufs - plain.loudness.integrated_lufs) > 0.5


def test_peaks_are_limited_if_asked_for(tmp_path: Path) -> None:
    pcm = signals.music(2, peak=0.1)
    pcm[:, ::24_000] = 0.6
    signals.write(tmp_path / "a.wav", pcm, 48_000, "wav")
    result = run(tmp_path / "a.wav", tmp_path / "out", "--ladder", "128k", "--limit", "--target-lufs", "-20")
    loudness = Asset.from_json((tmp_path / "out" / "asset.json").read_bytes()).loudness
    assert (loudness.mode, loudness.reason) == ("limit", "limited")
    assert "-> -20.0 LUFS" in result.output
    assert "limited)" in result.output


def test_a_plan_taken_back_leaves_no_folder(tmp_path: Path) -> None:
    """Half a track below the absolute gate misses its first plan."""
    pcm = signals.steps([(-69.4, 2), (-71.5, 2)])
    signals.write(tmp_path / "a.wav", pcm, 48_000, "wav", subtype="FLOAT")
    assert run(tmp_path / "a.wav", tmp_path / "out", "--ladder", "128k").exit_code == 0
    [folder] = [path for path in (tmp_path / "out").iterdir() if path.is_dir()]
    assert folder.name == Asset.from_json((tmp_path / "out" / "asset.json").read_bytes()).version


def test_whole_files_are_made_under_the_name_of_the_source(tmp_path: Path) -> None:
    """What a job would make of them; the presentation's folder names nothing else."""
    source = tmp_path / "Überfahrt [live].wav"
    signals.write(source, signals.music(1.0, RATE_HZ), RATE_HZ, "wav", tags={"title": "Überfahrt"})
    target = tmp_path / "out"
    result = run(source, target, "--ladder", "128k", "--outputs", "mp3-320, opus-64,flac,ogg-128-44100")
    assert result.exit_code == 0, result.output
    expected = {"-320.mp3": 48_000, "-64.opus": 48_000, ".flac": RATE_HZ, "-128-44100.ogg": RATE_HZ}
    for ending, rate_hz in expected.items():
        path = target / f"Überfahrt [live]{ending}"
        assert whole_files.heard(path, 2).shape[1] == rate_hz
        assert whole_files.seen(path.read_bytes(), tmp_path)[1]["title"] == "Überfahrt"
        assert result.output.count(f"{path}\n") == 1
    assert "ogg, 128 kbit/s, 44100 Hz" in result.output
    [version] = [path for path in target.iterdir() if path.is_dir()]
    assert sorted(path.name[:8] for path in version.iterdir()) == ["128k", "waveform"]


def test_a_profile_is_the_ladder_it_stands_for(source: Path, tmp_path: Path) -> None:
    """The operator's own too, from where a server has them."""
    (tmp_path / "profiles.toml").write_text('[tiny]\nladder = ["opus-64"]\n')
    wanted = ("transcode", str(source), str(tmp_path / "out"), "--profile", "tiny")
    result = CliRunner().invoke(app, wanted, env={"CONFIG_DIR": str(tmp_path)})
    assert result.exit_code == 0, result.output
    asset = Asset.from_json((tmp_path / "out" / "asset.json").read_bytes())
    assert [rendition.name for rendition in asset.renditions] == ["opus-64"]


def test_a_file_never_takes_the_place_of_its_source(tmp_path: Path) -> None:
    source = tmp_path / "song.flac"
    signals.write(source, signals.music(0.5, RATE_HZ), RATE_HZ, "flac")
    before = source.read_bytes()
    result = run(source, tmp_path, "--ladder", "128k", "--outputs", "flac")
    assert (result.exit_code, source.read_bytes()) == (2, before)
    assert "would write over" in result.output


def test_twice_the_same_makes_the_same_bytes(source: Path, tmp_path: Path) -> None:
    """reliability I4; ids and times are the asset's alone."""
    for folder in ("one", "two"):
        assert run(source, tmp_path / folder, "--ladder", "128k").exit_code == 0
    one, two = (
        {
            path.relative_to(tmp_path / folder): path.read_bytes()
            for path in sorted((tmp_path / folder).rglob("*.*"))
            if path.is_file() and path.name != "asset.json" and not path.name.startswith("stream_")
        }
        for folder in ("one", "two")
    )
    assert one == two
    assert len(one) == 5  # a master, an init, two segments, a waveform


@pytest.mark.parametrize(
    ("options", "status", "sentence"),
    [
        (["--limit", "--no-normalize"], 2, "--limit is a way to normalize"),
        (["--ladder", "32k"], 2, "error: --ladder names 32k, known are 64k, 96k, 128k, 160k"),
        (["--ladder", " , "], 2, "error: --ladder names nothing, known are 64k, 96k, 128k, 160k"),
        (["--ladder", "128k", "--profile", "mobile"], 2, "--ladder and --profile both name the renditions"),
        (["--ladder", "128k," * 17], 2, "error: ladder: Tuple should have at most 16 items"),
        (
            ["--profile", "loud"],
            2,
            "error: profile must be one of default, lossless, mobile (unknown_profile)",
        ),
        (["--profile", "Loud"], 2, "error: profile: String should match pattern '^[a-z0-9]"),
        (["--config-dir", "nowhere"], 2, "error: CONFIG_DIR is nowhere, which is no folder"),
        (["--outputs", "mp3-320,mp3-7"], 2, "error: --outputs names mp3-7, known are mp3-128, mp3-192"),
        (["--eq", "loud"], 2, "error: --eq names loud, known are flat, warm, bright, bass_boost, vocal"),
        (["--target-lufs", "1"], 2, "less than or equal to 0"),
        (["--ceiling-dbtp", "-21"], 2, "greater than or equal to -20"),
    ],
)
def test_what_cannot_be_asked_for_is_said(
    source: Path, tmp_path: Path, options: list[str], status: int, sentence: str
) -> None:
    result = run(source, tmp_path / "out", *options)
    assert result.exit_code == status
    assert sentence in result.output
    assert not (tmp_path / "out").exists()


def test_what_is_no_audio_is_said_with_its_code(tmp_path: Path) -> None:
    (tmp_path / "page.mp3").write_text("<html>")
    result = run(tmp_path / "page.mp3", tmp_path / "out")
    assert result.exit_code == 1
    sentence = result.output.splitlines()[-1]  # a progress bar may stand before it
    assert sentence.startswith("error: ")
    assert sentence.endswith("(not_audio)")
    assert not (tmp_path / "out").exists()


def test_a_target_that_cannot_be_written_is_said(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run(source, tmp_path / "file", "--ladder", "128k")
    assert result.exit_code == 1
    assert f"error: {tmp_path / 'file'}: " in result.output


def test_a_missing_source_is_said(tmp_path: Path) -> None:
    result = run(tmp_path / "none.flac", tmp_path / "out")
    assert result.exit_code == 2
    assert "does not exist" in result.output


ASSET = Asset(
    track_id="t", version="v", state="complete", job_id="j", created_at="c", order="o", source_version=None,
    pipeline_version="1", source_sha256="0" * 64, source_bytes=1, duration_samples=48_000 * 60,
    visibility="private", user_id=None, title=None, artist=None, tags={},
    loudness=AssetLoudness(
        integrated_lufs=-20.0, true_peak_dbtp=-8.0, range_lu=None, gain_db=6.0, target_lufs=-14.0
    ),
    renditions=(
        AssetRendition(
            name="128k", codec="mp4a.40.2", bitrate_bps=128_000, rate_hz=48_000, channels=2,
            priming_samples=1024,
            init=StoredFile(name="i", bytes=500_000, sha256="0" * 64, media_type="audio/mp4"),
            segments=(StoredSegment(name="s", duration=9, bytes=1_000_000, sha256="0" * 64),),
        ),
    ),
    waveform=None, cover=None, warnings=("truncated", "damaged"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("loudness", "lines"),
    [
        (
            ASSET.loudness,
            ["loudness   -20.0 -> -14.0 LUFS (+6.00 dB)", "true peak  -8.0 -> -2.0 dBTP", "range      -"],
        ),
        (
            AssetLoudness(
                integrated_lufs=None, true_peak_dbtp=None, range_lu=None, gain_db=0.0, target_lufs=-14.0
            ),
            ["loudness  silence"],
        ),
    ],
    ids=["music", "silence"],
)
def test_the_summary_says_before_and_after(loudness: AssetLoudness, lines: list[str]) -> None:
    console = Console(width=120)
    with console.capture() as captured:
        console.print(summary(replace(ASSET, loudness=loudness), took_s=2.0))
    said = [line.rstrip() for line in captured.get().splitlines()]
    assert said[: len(lines)] == lines
    rest = [" ".join(line.split()) for line in said[len(lines) :]]
    assert rest == [
        "128k mp4a.40.2, 128 kbit/s, 1 segments, 1.50 MB",
        "length 60.000 s",
        "time 2.00 s (30 x real time)",
        "warnings truncated, damaged",
    ]
