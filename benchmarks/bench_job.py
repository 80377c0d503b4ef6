"""One job beside FFmpeg's command line: the same song, the same work, the same machine, in turn.

    make bench                       # three rounds over a song of four minutes
    make bench ARGS="--quick"        # half a minute of song, one round: does it run at all?
    make bench ARGS="--rounds 5 --song track.flac"

README.md beside this file says what is measured and how to read it.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import ours
import soundfile
from check import Heard, equally_loud, listen
from machine import load, machine
from measure import Cost
from report import Result, table
from rival import rivals
from song import song
from stages import profile

SERVER, PIPELINE = "server", "transcode"
WARM_UP_S = 5.0
RESULTS = Path(__file__).resolve().parent / "results"

Job = Callable[[Path], tuple[Cost, float, str]]
"""Do the work in an empty folder: its cost, the gain in dB and where its playlists are."""


def main() -> int:
    asked = arguments()
    source = asked.song.resolve() if asked.song else song(asked.seconds)
    song_s = float(soundfile.info(source).duration)
    began_at, load_before = _now(), load()
    source_bytes = source.read_bytes()  # and so it is in the page cache for everybody
    with tempfile.TemporaryDirectory(prefix="media-server-bench-") as scratch:
        rounds, gains_db = _measure(source, song_s, asked.rounds, Path(scratch))
    load_after = load()
    result = Result(
        began_at=began_at,
        ended_at=_now(),
        song_s=song_s,
        song_bytes=len(source_bytes),
        song_sha256=hashlib.sha256(source_bytes).hexdigest(),
        machine=machine(),
        server_version=ours.version(),
        load_before=load_before,
        load_after=load_after,
        rounds=rounds,
        gains_db=gains_db,
        stages_cpu_s=profile(source),
    )
    print(table(result, (SERVER, PIPELINE)))
    if not asked.quick:
        print(f"raw       {result.write(asked.results, asked.label)}")
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="One job of the server beside FFmpeg's command line.")
    parser.add_argument("--rounds", type=int, default=3, help="how often each does the work (3)")
    parser.add_argument("--seconds", type=float, default=240.0, help="length of the synthesised song (240)")
    parser.add_argument("--song", type=Path, help="a stereo file to take instead (WAV, FLAC, Ogg, MP3)")
    parser.add_argument("--quick", action="store_true", help="30 seconds, one round, nothing written")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the raw rounds are written")
    parser.add_argument("--label", default="job", help="the end of their file's name, after the date (job)")
    asked = parser.parse_args()
    if asked.quick:
        asked.rounds, asked.seconds = 1, min(asked.seconds, 30.0)
    if asked.rounds < 1 or asked.seconds < 1:
        parser.error("at least one round of one second")
    return asked


def _measure(
    source: Path, song_s: float, rounds: int, scratch: Path
) -> tuple[dict[str, list[Cost]], dict[str, float]]:
    costs: dict[str, list[Cost]] = {}
    gains_db: dict[str, float] = {}
    heard: dict[str, list[Heard]] = {}
    with ours.serving(scratch / "server", song(WARM_UP_S)) as running:
        contestants: dict[str, Job] = {
            SERVER: lambda _: running.job(source),
            PIPELINE: partial(ours.transcode, source),
        }
        contestants |= {rival.name: partial(rival.job, source) for rival in rivals()}
        for number in range(rounds):
            for who, job in contestants.items():
                with tempfile.TemporaryDirectory(dir=scratch) as folder:
                    cost, gains_db[who], playlists = job(Path(folder))
                    heard[who] = listen(playlists, song_s, decode=number == rounds - 1)
                costs.setdefault(who, []).append(cost)
                told = f"round {number + 1}: {who} {cost.wall_s:.2f} s, CPU {cost.cpu_s:.2f} s"
                print(told, file=sys.stderr, flush=True)
    equally_loud(heard)
    return costs, gains_db


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


if __name__ == "__main__":
    sys.exit(main())
