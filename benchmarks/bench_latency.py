"""Latency as a listener feels it: starts on each transport, control round trips, the API under load.

    make bench-latency                       # 30 starts a transport, interleaved; some minutes
    make bench-latency ARGS="--starts 2 --load-seconds 3"    # does it run at all?

README.md beside this file says what is measured and how to read it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import httpx2
import orjson
import websockets
from listener import TRANSPORTS, Start, chromium, start
from machine import load, machine

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
import signals
from e2e.server import ENDED, JOBS, Server

RESULTS = Path(__file__).resolve().parent / "results"
SONG_S = 40.0
LIMITS_OFF = {
    f"RATE_LIMIT_{name}": 0
    for name in (
        *("TOKEN_PER_MINUTE", "GUEST_PER_MINUTE", "WEBSOCKETS_PER_MINUTE"),
        *("ADDRESS_PER_SECOND", "SERVER_PER_SECOND", "MEDIA_PER_SECOND"),
    )
}
"""One address asks for all listeners here; the limits have tests of their own."""
KEPT_FROM_STARTS = 10
"""Fewer are a trial: nothing is written."""
ROUND_TRIPS, PING_EVERY_S = 300, 0.06
"""The server takes 20 messages a second of a socket."""
CREDIT_BYTES = 4_194_304
"""All of the song at once: the most that a client may grant."""
LOAD_CLIENTS, LOAD_S = 20, 15.0
LOAD_SONG_S = 600.0
"""Its job outlasts the load on the machines we have; where it does not, the run says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Of some times, in milliseconds."""

    count: int
    median_ms: float
    p95_ms: float
    p99_ms: float


def spread(times_ms: list[float]) -> Spread:
    ordered = sorted(times_ms)

    def at(share: float) -> float:
        return round(ordered[min(math.ceil(share * len(ordered)), len(ordered)) - 1], 2)

    return Spread(count=len(ordered), median_ms=round(median(ordered), 2), p95_ms=at(0.95), p99_ms=at(0.99))


def starts(server: Server, track_id: str, transports: Sequence[str], count: int) -> dict[str, list[Start]]:
    """Starts on each transport, in turn; the first of each is not counted: caches fill."""
    found: dict[str, list[Start]] = {transport: [] for transport in transports}
    with chromium() as browser:
        for number in range(count + 1):
            for transport in transports:
                took = start(browser, server.url, track_id, transport)
                if number:
                    found[transport].append(took)
                    told = f"{number}/{count} {transport}: packet {took.first_packet_ms:.0f} ms,"
                    print(f"{told} sound {took.first_sound_ms:.0f} ms", file=sys.stderr, flush=True)
    return found


async def round_trips(server: Server, track_id: str, count: int) -> list[float]:
    """Control messages over the WebSocket while it plays: from the question to its reply, in milliseconds."""
    url = f"ws{server.url.removeprefix('http')}/stream?track_id={track_id}&position=0"
    times_ms: list[float] = []
    async with websockets.connect(url, max_size=None, compression=None) as socket:
        for action, data in (("hello", {"credit": CREDIT_BYTES}), ("play", {})):
            await socket.send(json.dumps({"type": "control", "action": action, "data": data}))
        for number in range(count):
            message = {"type": "control", "action": "ping", "data": {}, "request_id": str(number)}
            asked = time.perf_counter()
            await socket.send(json.dumps(message))
            async with asyncio.timeout(5):
                while True:
                    answer = await socket.recv()
                    if isinstance(answer, str) and json.loads(answer).get("request_id") == str(number):
                        break
            times_ms.append((time.perf_counter() - asked) * 1000)
            await asyncio.sleep(PING_EVERY_S)
    return times_ms


async def under_load(server: Server, job_id: str, track_id: str, seconds: float) -> dict[str, list[float]]:
    """Clients that ask for this and that without a pause, while a job runs; times by what was asked for."""
    async with httpx2.AsyncClient(base_url=server.url, timeout=10, trust_env=False) as client:
        media = (await client.get(f"/hls/{track_id}/stream_128k.m3u8")).text.splitlines()
        segment = next(line for line in media if line.endswith(".m4s"))
        paths = {
            "track": f"/tracks/{track_id}",
            "tracks": "/tracks?limit=20",
            "job": f"{JOBS}/{job_id}",
            "waveform": f"/tracks/{track_id}/waveform.json?width=800",
            "master": f"/hls/{track_id}/master.m3u8",
            "playlist": f"/hls/{track_id}/stream_128k.m3u8",
            "segment": f"/hls/{track_id}/{segment}",
        }
        times_ms: dict[str, list[float]] = {name: [] for name in paths}
        ends = time.perf_counter() + seconds

        async def ask(first: int) -> None:
            names = list(paths)
            turn = first
            while time.perf_counter() < ends:
                name = names[turn % len(names)]
                turn += 1
                asked = time.perf_counter()
                (await client.get(paths[name], headers=server.internal)).raise_for_status()
                times_ms[name].append((time.perf_counter() - asked) * 1000)

        async with asyncio.TaskGroup() as clients:
            for number in range(LOAD_CLIENTS):
                clients.create_task(ask(number))
    return times_ms


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--starts", type=int, default=30, help="counted starts on each transport (30)")
    parser.add_argument("--transports", nargs="+", choices=TRANSPORTS, default=TRANSPORTS, help="which (all)")
    parser.add_argument("--load-seconds", type=float, default=LOAD_S, help="of the API under load (15)")
    asked = parser.parse_args()
    if asked.starts < 1 or asked.load_seconds <= 0:
        parser.error("at least one start, and some load")
    began_at, load_before = datetime.now(UTC).isoformat(timespec="seconds"), load()
    with tempfile.TemporaryDirectory(prefix="media-server-bench-") as scratch:
        song, long_song = Path(scratch) / "song.flac", Path(scratch) / "long.flac"
        for path, seconds in ((song, SONG_S), (long_song, LOAD_SONG_S)):
            signals.write(path, signals.music(seconds, 44_100), 44_100, "flac")
        server = Server(Path(scratch) / "server", LIMITS_OFF).start()
        try:
            track_id = server.publish(song)["track_id"]
            found = starts(server, track_id, asked.transports, asked.starts)
            trips = asyncio.run(round_trips(server, track_id, ROUND_TRIPS))
            job_id = server.upload(long_song)["job_id"]
            api = asyncio.run(under_load(server, job_id, track_id, asked.load_seconds))
            job_outlasted_load = server.job(job_id)["status"] not in ENDED
        finally:
            server.close()
    figures = {
        **{
            f"{name}: first packet": spread([one.first_packet_ms for one in of]) for name, of in found.items()
        },
        **{f"{name}: first sound": spread([one.first_sound_ms for one in of]) for name, of in found.items()},
        "websocket: control round trip": spread(trips),
        **{f"api under load: {name}": spread(times) for name, times in api.items()},
        "api under load: all": spread([one for times in api.values() for one in times]),
    }
    print(table(figures))
    if not job_outlasted_load:
        print("\nthe job ended before the load did")
    if asked.starts < KEPT_FROM_STARTS:
        return 0
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{began_at[:10]}-latency.json"
    told = {
        "began_at": began_at,
        "machine": machine(),
        "load_before": load_before,
        "load_after": load(),
        "job_outlasted_load": job_outlasted_load,
        "figures": {name: asdict(one) for name, one in figures.items()},
        "starts": found,
    }
    path.write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2) + b"\n")
    print(f"\nraw  {path.name}")
    return 0


def table(figures: dict[str, Spread]) -> str:
    columns: tuple[tuple[str, Callable[[Spread], str]], ...] = (
        ("median ms", lambda one: f"{one.median_ms:.1f}"),
        ("p95 ms", lambda one: f"{one.p95_ms:.1f}"),
        ("p99 ms", lambda one: f"{one.p99_ms:.1f}"),
        ("count", lambda one: str(one.count)),
    )
    lines = [f"{'':36}" + "".join(f"{name:>12}" for name, _ in columns)]
    lines += [
        f"{name:36}" + "".join(f"{cell(one):>12}" for _, cell in columns) for name, one in figures.items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
