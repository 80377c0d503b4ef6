"""What a long job needs: memory of its process, and disk beside what it stores.

    .venv/bin/python benchmarks/bench_memory.py                # a source of 2 hours; some ten minutes
    .venv/bin/python benchmarks/bench_memory.py --minutes 4    # does it run at all?

A real server with the defaults of development does one whole job, its MP3 included, on the benchmarks' song
repeated. Memory is the kernel's own high-water mark of the job's process (VmHWM), not a sample.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path

import soundfile
from song import RATE_HZ, song

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
from e2e.server import ENDED, TRANSCODE, Server

SONG_S = 240.0
LOOK_EVERY_S = 0.25
MIB = 1 << 20


def main() -> int:
    parser = argparse.ArgumentParser(description="Memory and disk of a long job.")
    parser.add_argument("--minutes", type=float, default=120.0, help="how long the source is (120)")
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory(prefix="media-server-bench-") as scratch:
        folder = Path(scratch)
        (folder / "in").mkdir()
        source = folder / "in" / "long.flac"
        repeat(song(SONG_S), source, minutes * 60)
        server = Server(folder / "server", {"UPLOAD_DIR": folder / "in"}).start()
        try:
            print(report(server, folder / "server", source, minutes))
        finally:
            server.close()
    return 0


def repeat(path: Path, target: Path, duration_s: float) -> None:
    """The song over and over, so many seconds of it."""
    pcm, rate_hz = soundfile.read(path, dtype="int16")
    assert rate_hz == RATE_HZ
    left = round(duration_s * RATE_HZ)
    with soundfile.SoundFile(target, "w", RATE_HZ, 2, "PCM_16", format="FLAC") as file:
        while left:
            file.write(pcm[:left])
            left -= min(left, len(pcm))


def report(server: Server, data: Path, source: Path, minutes: float) -> str:
    """Do the job, looking on."""
    before = processes(server.pid)
    track_id = str(uuid.uuid4())
    job = {"track_id": track_id, "source": {"path": source.name}, "visibility": "public"}
    began = time.perf_counter()
    answer = server.client.post(TRANSCODE, json=job, headers=server.internal)
    assert answer.is_success, answer.text
    peaks, attempts = {"the job's process": 0, "the server": 0}, 0
    while (told := server.job(answer.json()["job_id"]))["status"] not in ENDED:
        for pid in processes(server.pid):
            who = "the server" if pid == server.pid else "the job's process"
            if pid == server.pid or pid not in before:
                peaks[who] = max(peaks[who], high_water_bytes(pid))
        attempts = max(attempts, size_bytes(folder_of(data, "attempts")))
        time.sleep(LOOK_EVERY_S)
    assert told["status"] == "completed", told
    took_s = time.perf_counter() - began
    left = size_bytes(folder_of(data, "attempts"))
    stored = size_bytes(folder_of(data, "storage"))
    lines = [
        f"source            {minutes:.0f} min, {source.stat().st_size / MIB:.0f} MiB, in {took_s:.0f} s",
        *(f"{who:17} {peak / MIB:.0f} MiB at most" for who, peak in peaks.items()),
        f"attempts          {attempts / MIB:.0f} MiB at most, {left} bytes afterwards",
        f"storage           {stored / MIB:.0f} MiB, the track and its MP3",
    ]
    return "\n".join(lines)


def folder_of(data: Path, name: str) -> Path:
    """Below DATA_DIR, wherever the server has that."""
    return next(path for path in data.rglob(name) if path.is_dir())


def processes(session: int) -> set[int]:
    """Of the server's session."""
    found = set()
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError):  # no process, or one that has ended
            if int((folder / "stat").read_text().rpartition(")")[2].split()[3]) == session:
                found.add(int(folder.name))
    return found


def high_water_bytes(pid: int) -> int:
    """The most memory that was resident at once; 0 of what has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def size_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total


if __name__ == "__main__":
    sys.exit(main())
