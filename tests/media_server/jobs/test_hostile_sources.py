"""Sources that were made to break things, through the job's own process and its cage.

Source: reliability F2, F19, F20; requirements I4. Long campaigns are `make fuzz`.
"""

from __future__ import annotations

import struct
import subprocess
import sys
from multiprocessing import active_children
from pathlib import Path

import pytest
from fuzz.campaign import order_of, our_sources
from fuzz.mutate import mutated
from sources import flac_of_silence, riff

from media_server.errors import LimitExceeded
from media_server.jobs.events import Planned, Progress
from media_server.jobs.fetch import LOCAL_NAME
from media_server.jobs.runner import run

TESTS = Path(__file__).resolve().parents[2]
INPUTS = 200

MINUTES, TWO_HOURS_IN_MINUTES = 10, 120
MOST_RSS_BYTES = 400_000_000
PCM_8_BITS = struct.pack("<HHIIHH", 1, 1, 8000, 8000, 1, 8)


def test_a_seed_brings_an_input_back(tmp_path: Path) -> None:
    sources = our_sources(tmp_path)
    first = [mutated(sources, seed) for seed in range(50)]
    assert first == [mutated(sources, seed) for seed in range(50)]
    assert len(set(first)) > 40
    assert not set(first) & set(sources)


@pytest.mark.slow
def test_nearly_right_files_end_as_tracks_or_codes_and_leave_nothing() -> None:
    """No crash, no hang, no process, file or descriptor left; a process of its own, as a server is one."""
    done = subprocess.run(
        [sys.executable, "-m", "fuzz", "--inputs", str(INPUTS), "--first", "1000"],
        cwd=TESTS.parent,
        env={"PYTHONPATH": str(TESTS), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = {line.split()[-1] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert {"track", "corrupt", "not_audio"} <= outcomes


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc is Linux's")
async def test_the_memory_of_two_hours_is_within_its_bound(tmp_path: Path) -> None:
    """Bad inputs 26, 27: RSS of a child <= 400 MB; what ten minutes add is taken twelve times."""
    path = tmp_path / LOCAL_NAME
    path.write_bytes(riff(b"WAVE", (b"fmt ", PCM_8_BITS), (b"data", b"\x80\x90" * (MINUTES * 60 * 4000))))
    peaks_bytes = []
    async with run(order_of(path, max_duration_s=3600.0)) as events:
        async for event, _ in events:
            if isinstance(event, Progress | Planned):
                peaks_bytes.append(peak_rss_bytes())
            if isinstance(event, Planned):
                break
    grown_bytes = (peaks_bytes[-1] - peaks_bytes[0]) * TWO_HOURS_IN_MINUTES / MINUTES
    assert peaks_bytes[0] + grown_bytes <= MOST_RSS_BYTES, [peak // 1_000_000 for peak in peaks_bytes]


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """An hour of 7.1."""
    data = flac_of_silence(48_000, 8, 3600)
    assert len(data) < 100_000
    return data


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc is Linux's")
async def test_an_hour_of_surround_in_a_hundred_kilobytes_is_a_track(tmp_path: Path, bomb: bytes) -> None:
    """Fact 2, bad input 26: 27,000 to 1; RSS of the child <= 400 MB, measured into the encoding."""
    path = tmp_path / LOCAL_NAME
    path.write_bytes(bomb)
    peaks_bytes, planned = [], None
    async with run(order_of(path, max_duration_s=3600.0)) as events:
        async for event, _ in events:
            if isinstance(event, Progress):
                peaks_bytes.append(peak_rss_bytes())
                if event.stage == "encode" and event.fraction > 0.05:
                    break
            planned = event if isinstance(event, Planned) else planned
    assert planned is not None
    assert (planned.samples, planned.warnings) == (3600 * 48_000, ("silent",))
    assert max(peaks_bytes) <= MOST_RSS_BYTES


@pytest.mark.slow
async def test_what_is_longer_than_allowed_is_stopped_at_the_limit(tmp_path: Path, bomb: bytes) -> None:
    """Bad input 26: by what was decoded, not by what the header says."""
    path = tmp_path / LOCAL_NAME
    path.write_bytes(bomb)
    reached = 0.0
    with pytest.raises(LimitExceeded) as caught:
        async with run(order_of(path, max_duration_s=600.0)) as events:
            async for event, _ in events:
                if isinstance(event, Progress):
                    reached = event.fraction
    assert (caught.value.code, caught.value.limits) == ("too_long", {"MAX_DURATION_S": 600.0})
    assert 0 < reached <= 600 / 3600


def peak_rss_bytes() -> int:
    """The most that the child had in memory until now."""
    (child,) = [child for child in active_children() if child.name == "transcode"]
    status = Path(f"/proc/{child.pid}/status").read_text().splitlines()
    (line,) = [line for line in status if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024
