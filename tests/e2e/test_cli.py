"""The command line as an operator uses it: every command, its words and its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jwt
import m3u8
import pytest
import signals
from e2e.conftest import StartServer
from e2e.presentation import decode
from e2e.program import INHERITED
from e2e.server import Json
from e2e.test_playback import debian_ffmpeg, newest_ffmpeg, play_with

RATE_HZ = 44_100
SAMPLES = 400_001
SAMPLES_48_KHZ = round(SAMPLES * 48_000 / RATE_HZ)
AAC_FRAME_SAMPLES = 1024
OPUS_PRE_SKIP_SAMPLES = 120
SECRET = "a-secret-that-signs-tokens-0123456789"
ENDS_WITHIN_S = 60.0


def media_server(
    *words: str | Path, folder: Path | None = None, **env: object
) -> subprocess.CompletedProcess[str]:
    """Run `media-server` to its end, with these settings and no others."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "media_server", *map(str, words)],
        cwd=folder or "/",  # where no .env lies
        env=inherited | {"COLUMNS": "200"} | {name: str(value) for name, value in env.items()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=ENDS_WITHIN_S,
    )


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("song") / "song.flac"
    signals.write(path, signals.music(SAMPLES / RATE_HZ, RATE_HZ), RATE_HZ, "flac")
    return path


@pytest.fixture(scope="module")
def made(song: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder that `transcode` wrote, and what it said."""
    folder = tmp_path_factory.mktemp("made") / "out"
    done = media_server("transcode", song, folder)
    assert (done.returncode, done.stderr) == (0, "")
    return folder, done.stdout


def test_transcode_writes_a_folder_that_any_web_server_can_serve(made: tuple[Path, str]) -> None:
    """Exact to the sample: the playlists say it, and the bytes are there."""
    folder, _ = made
    masters = {name: m3u8.load(str(folder / name)).playlists for name in ("master.m3u8", "master-opus.m3u8")}
    assert {name: [variant.uri for variant in variants] for name, variants in masters.items()} == {
        "master.m3u8": [f"stream_{name}.m3u8" for name in ("128k", "192k", "320k")],
        "master-opus.m3u8": ["stream_opus-128.m3u8"],
    }
    named = {*masters, "asset.json"}
    for variant in (variant for variants in masters.values() for variant in variants):
        playlist = m3u8.load(str(folder / str(variant.uri)))
        priming = OPUS_PRE_SKIP_SAMPLES if "opus" in str(variant.uri) else AAC_FRAME_SAMPLES
        init = playlist.segments[0].init_section.uri
        files = [init, *(segment.uri for segment in playlist.segments)]
        named |= {str(variant.uri), *files}
        assert sum(segment.duration for segment in playlist.segments) == pytest.approx(
            (SAMPLES_48_KHZ + priming) / 48_000, abs=1e-5
        )
        heard = decode(b"".join((folder / name).read_bytes() for name in files))
        assert heard.shape[0] == 2
        assert 0 <= heard.shape[1] - SAMPLES_48_KHZ < AAC_FRAME_SAMPLES
    asset: Json = json.loads((folder / "asset.json").read_text())
    assert asset["duration_samples"] == SAMPLES_48_KHZ
    (waveform,) = folder.glob(f"*/{asset['waveform']['name']}")
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert there == named | {str(waveform.relative_to(folder))}


@pytest.mark.parametrize("find_ffmpeg", [debian_ffmpeg, newest_ffmpeg], ids=["distribution", "newest"])
@pytest.mark.parametrize("master", ["master.m3u8", "master-opus.m3u8"])
def test_ffmpeg_plays_what_transcode_wrote(made: tuple[Path, str], find_ffmpeg: object, master: str) -> None:
    assert callable(find_ffmpeg)
    heard = play_with(find_ffmpeg(), str(made[0] / master), "error")
    assert 0 <= heard - SAMPLES_48_KHZ < 2 * AAC_FRAME_SAMPLES


def test_the_same_song_gives_the_same_bytes_again(song: Path, made: tuple[Path, str], tmp_path: Path) -> None:
    """In another process, at another time: playlists, init and media segments of AAC and Opus, waveform."""
    again = tmp_path / "out"
    done = media_server("transcode", song, again)
    assert done.returncode == 0, done.stderr
    first, second = (files_of(folder) for folder in (made[0], again))
    assert first == second
    opus = [name for name in first if "/opus-128/" in name]
    assert len(opus) == 4, "init and three segments"


def files_of(folder: Path) -> dict[str, bytes]:
    """All that was written but asset.json, which says when."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != "asset.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_transcode_says_what_it_measured_and_made(made: tuple[Path, str]) -> None:
    folder, said = made
    told = {line.split("  ")[0].strip(): line for line in said.splitlines() if line.strip()}
    for name in ("loudness", "true peak", "range", "128k", "192k", "320k", "opus-128", "length", "time"):
        assert name in told, said
    assert f"{SAMPLES_48_KHZ / 48_000:.3f} s" in told["length"]
    # or up to the ceiling, less what coding adds to the peaks
    assert "-> -14.0 LUFS" in told["loudness"] or "-> -1." in told["true peak"]
    assert "mp4a.40.2, 128 kbit/s, 3 segments" in told["128k"]
    assert "Opus, 128 kbit/s, 3 segments" in told["opus-128"]
    masters = [str(folder / name) for name in ("master.m3u8", "master-opus.m3u8")]
    assert said.split()[-2:] == masters


def test_transcode_obeys_its_options(song: Path, tmp_path: Path) -> None:
    done = media_server("transcode", song, tmp_path / "out", "--ladder", "320k", "--no-normalize")
    assert done.returncode == 0, done.stderr
    asset: Json = json.loads((tmp_path / "out" / "asset.json").read_text())
    assert [rung["name"] for rung in asset["renditions"]] == ["320k"]
    assert asset["loudness"]["gain_db"] == 0


@pytest.mark.parametrize(
    ("words", "code"),
    [(("transcode", "{bad}", "{out}"), "not_audio"), (("probe", "{bad}"), "not_audio")],
    ids=["transcode", "probe"],
)
def test_what_cannot_be_read_is_said_in_one_sentence(
    tmp_path: Path, words: tuple[str, ...], code: str
) -> None:
    bad, out = tmp_path / "bad.mp3", tmp_path / "out"
    bad.write_text("not music at all\n" * 100)
    done = media_server(*(word.format(bad=bad, out=out) for word in words))
    assert (done.returncode, done.stdout) == (1, "")
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("error: ")
    assert sentence.endswith(f"({code})")
    assert not (out / "master.m3u8").exists()


def test_a_target_that_cannot_be_written_is_said_in_one_sentence(song: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = media_server("transcode", song, tmp_path / "file" / "out")
    assert (done.returncode, done.stdout) == (1, "")
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("error: ")
    assert str(tmp_path / "file" / "out") in sentence


@pytest.mark.parametrize("words", [("probe", "/no/such/file"), ("transcode", "/no/such/file", "/tmp/out")])
def test_a_file_that_is_not_there_is_a_wrong_call(words: tuple[str, ...]) -> None:
    done = media_server(*words)
    assert done.returncode == 2
    assert "does not exist" in done.stderr
    assert "Traceback" not in done.stderr


def test_probe_tells_what_a_file_is(song: Path) -> None:
    done = media_server("probe", song)
    assert done.returncode == 0, done.stderr
    about: Json = json.loads(done.stdout)
    assert (about["container"], about["codec"]) == ("flac", "flac")
    assert (about["rate_hz"], about["channels"], about["bit_depth"]) == (RATE_HZ, 2, 16)
    assert about["duration_s"] == pytest.approx(SAMPLES / RATE_HZ, abs=1e-3)


def test_config_shows_every_setting_and_where_it_comes_from(tmp_path: Path) -> None:
    """The process environment wins over .env.development, that over .env; secrets are masked."""
    (tmp_path / ".env").write_text(f"JWT_SECRET={SECRET}\nMAX_DURATION_S=60\nPORT=1111\n")
    (tmp_path / ".env.development").write_text("PORT=2222\nLOG_LEVEL=DEBUG\n")
    done = media_server("config", folder=tmp_path, LOG_LEVEL="ERROR")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()[1:]}
    assert rows["JWT_SECRET"] == ["********", ".env"]
    assert rows["MAX_DURATION_S"] == ["60", ".env"]
    assert rows["PORT"] == ["2222", ".env.development"]
    assert rows["LOG_LEVEL"] == ["ERROR", "environment"]
    assert rows["HOST"] == ["127.0.0.1", "default"]
    assert rows["UPLOAD_DIR"] == ["-", "default"]
    assert SECRET not in done.stdout


def test_a_token_opens_what_it_names(start_server: StartServer, song: Path) -> None:
    server = start_server(JWT_SECRET=SECRET)
    track = server.publish(song, visibility="private", user_id="owner")["track_id"]
    other = server.publish(song, visibility="private", user_id="owner", title="other")["track_id"]

    def minted(*words: str) -> str:
        done = media_server("token", *words, JWT_SECRET=SECRET)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.removesuffix("\n")

    def status(track_id: str, bearer: str) -> int:
        path = f"/hls/{track_id}/master.m3u8"
        return server.get(path, authorization=f"Bearer {bearer}").status_code

    narrow = minted("--track", track, "--subject", "guest", "--lifetime-s", "120")
    assert (status(track, narrow), status(other, narrow)) == (200, 403)
    claims = jwt.decode(narrow, SECRET, algorithms=["HS256"], audience="veza-app", issuer="veza-api")
    assert (claims["sub"], claims["track_id"], claims["exp"] - claims["iat"]) == ("guest", track, 120)
    moderator = minted("--role", "moderator")
    assert (status(track, moderator), status(other, moderator)) == (200, 200)
    assert status(track, minted("--subject", "nobody")) == 403


def test_verify_finds_what_a_disk_did_to_a_track(
    start_server: StartServer, song: Path, tmp_path: Path
) -> None:
    """One byte of one segment of a track that a server made, and which goes on serving."""
    server = start_server(DATA_DIR=tmp_path / "data")
    track = server.publish(song)["track_id"]
    well = media_server("verify", track, DATA_DIR=tmp_path / "data")
    assert (well.returncode, well.stderr) == (0, "")
    assert ", 0 flaws" in well.stdout
    segment = sorted((tmp_path / "data" / "storage" / "tracks" / track).glob("*/192k/1-*.m4s"))[0]
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    ill = media_server("verify", track, DATA_DIR=tmp_path / "data")
    assert ill.returncode == 1
    assert track in ill.stderr
    assert ill.stdout.splitlines()[0].split("/", 1)[1].startswith(track)
    assert f"192k/{segment.name}: hash" in ill.stdout


def test_a_token_needs_a_secret_and_a_possible_lifetime() -> None:
    for words, env, named in (
        (("token",), {}, "JWT_SECRET"),
        (("token", "--lifetime-s", "10000000"), {"JWT_SECRET": SECRET}, "86400 s"),
    ):
        done = media_server(*words, **env)
        assert (done.returncode, done.stdout) == (2, "")
        (sentence,) = done.stderr.splitlines()
        assert named in sentence


@pytest.mark.parametrize(
    ("command", "essentials"),
    [
        ((), ("serve", "worker", "transcode", "probe", "token", "config", "environment")),
        (("serve",), ("SIGTERM", "DRAIN_DELAY_S", "Ctrl-C")),
        (("worker",), ("--burst", "DATA_DIR")),
        (("transcode",), ("IN", "OUT", "--ladder", "--target-lufs", "--ceiling-dbtp", "--no-normalize")),
        (("probe",), ("FILE", "JSON")),
        (("token",), ("--subject", "--role", "--track", "--lifetime-s", "JWT_SECRET")),
        (("config",), ("setting", "masked")),
    ],
    ids=lambda value: value[0] if value and len(value) == 1 else None,
)
def test_help_names_the_essentials(command: tuple[str, ...], essentials: tuple[str, ...]) -> None:
    done = media_server(*command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert [word for word in essentials if word not in done.stdout] == []
