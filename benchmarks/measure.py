"""What a piece of work costs: wall-clock time, CPU time and memory of all the processes that do it.

Owns: the accounting of a session of processes through Linux's /proc, and what others did meanwhile. CPU time
is the kernel's, of live processes and of those that have ended; it counts in ticks of 10 ms. Memory is the
proportional set size, so that pages which processes share are counted once; it is sampled, so a peak shorter
than the pause between two looks may be missed.
"""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
LOOK_EVERY_S = 0.2
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """`others_cpu_s` is what the rest of the machine used meanwhile: how quiet it was."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    others_cpu_s: float

    def then(self, after: Cost) -> Cost:
        """The cost of doing both, one after the other."""
        return Cost(
            wall_s=self.wall_s + after.wall_s,
            cpu_s=self.cpu_s + after.cpu_s,
            peak_bytes=max(self.peak_bytes, after.peak_bytes),
            others_cpu_s=self.others_cpu_s + after.others_cpu_s,
        )


class Meter:
    """Reads a cost between `start` and `stop`."""

    def __init__(self, session: int) -> None:
        """Args: session: of the processes, the pid of the one that leads it."""
        self._session = session
        self._peak_bytes = 0
        self._ended = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._machine_s = machine_cpu_s()
        self._own_s = time.process_time()
        self._began = time.perf_counter()
        self._sampler.start()

    def stop(self, cpu_s: float) -> Cost:
        """The cost, of which the CPU time is known to who asks."""
        wall_s = time.perf_counter() - self._began
        machine_s = machine_cpu_s() - self._machine_s
        own_s = time.process_time() - self._own_s
        self._ended.set()
        self._sampler.join()
        return Cost(
            wall_s=round(wall_s, 4),
            cpu_s=round(cpu_s, 4),
            peak_bytes=self._peak_bytes,
            others_cpu_s=round(max(machine_s - cpu_s - own_s, 0.0), 2),
        )

    def _sample(self) -> None:
        while not self._ended.wait(LOOK_EVERY_S):
            self._peak_bytes = max(self._peak_bytes, memory_bytes(self._session))


def run(command: list[str], folder: Path, env: Mapping[str, str] | None = None) -> tuple[Cost, str]:
    """Run a command to its end, with everything that it started.

    Returns:
        its cost and what it wrote to its standard output and error.
    Raises:
        RuntimeError: it failed; with what it wrote.
    """
    become_subreaper()
    log = folder / "command.log"
    with log.open("wb") as out:
        before = _reaped_cpu_s()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        meter = Meter(process.pid)
        status = process.wait()
        _reap(process.pid)
        cost = meter.stop(_reaped_cpu_s() - before)
    text = log.read_text(errors="replace")
    if status:
        raise RuntimeError(f"{command[0]} ended with {status}:\n{text[-2000:]}")
    return cost, text


@contextmanager
def of_running(session: int) -> Iterator[list[Cost]]:
    """Measure what a session that runs on does within the context; the list then holds the cost."""
    costs: list[Cost] = []
    before = session_cpu_s(session)
    meter = Meter(session)
    yield costs
    costs.append(meter.stop(session_cpu_s(session) - before))


def become_subreaper() -> None:
    """Let orphans of our commands come to us, so that their CPU time is counted (prctl(2))."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def session_cpu_s(session: int) -> float:
    """CPU time of a session's live processes and of those they have waited for."""
    # fields 14 to 17 of proc(5): utime, stime, cutime, cstime
    return sum(sum(map(int, fields[11:15])) for _, fields in _processes(session)) / TICKS_A_SECOND


def memory_bytes(session: int) -> int:
    """The proportional set size of a session's processes, now."""
    total = 0
    for pid, _ in _processes(session):
        with suppress(OSError):  # it has ended between two reads
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def machine_cpu_s() -> float:
    """CPU time that anybody on the machine has used since it was started."""
    user, nice, system, _idle, _iowait, irq, softirq, *_ = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    )
    return (user + nice + system + irq + softirq) / TICKS_A_SECOND


def _processes(session: int) -> Iterator[tuple[int, list[str]]]:
    """The pid of each process of a session, and the fields of its stat from the third on."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):  # it has ended between two reads
                # the second field, the name, may hold blanks and brackets
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == session:
                    yield int(folder.name), fields


def _reap(session: int) -> None:
    """Wait for the orphans that a command left."""
    for pid, _ in _processes(session):
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _reaped_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
