"""What a benchmark ran on, and how busy that was with other things."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
MEASURED = ("pipeline", "hls", "media_server")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """`commit_is_changed`: the code that was measured differs from the commit."""

    cpu: str
    cores: int
    memory_bytes: int
    kernel: str
    python: str
    pyav: str
    libav: str
    numpy: str
    commit: str
    commit_is_changed: bool


def machine() -> Machine:
    """This machine, and this checkout."""
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=platform.release(),
        python=platform.python_version(),
        pyav=av.__version__,
        libav=str(av.ffmpeg_version_info),
        numpy=np.__version__,
        commit=_git("rev-parse", "HEAD") or "unknown",
        commit_is_changed=bool(_git("status", "--porcelain", "--", *MEASURED)),
    )


def load() -> list[float]:
    """Runnable processes over the last 1, 5 and 15 minutes."""
    return [round(minutes, 2) for minutes in os.getloadavg()]


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _git(*words: str) -> str:
    asked = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
    return asked.stdout.strip() if asked.returncode == 0 else ""
