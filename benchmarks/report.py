"""Rounds to a table for people and a file for later comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import orjson
from machine import Machine
from measure import Cost

from pipeline.ladder import DEFAULT_LADDER

MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A whole run: `rounds` has each contestant's costs in the order they were measured."""

    began_at: str
    ended_at: str
    song_s: float
    song_bytes: int
    song_sha256: str
    machine: Machine
    server_version: str
    load_before: list[float]
    load_after: list[float]
    rounds: dict[str, list[Cost]]
    gains_db: dict[str, float]
    stages_cpu_s: dict[str, float]

    def of(self, who: str, figure: Callable[[Cost], float]) -> float:
        """The median of a contestant's figure."""
        return median(figure(cost) for cost in self.rounds[who])

    def write(self, folder: Path, label: str) -> Path:
        """Store everything that was measured; a later run of the same day and label replaces it."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.began_at[:10]}-{label}.json"
        path.write_bytes(orjson.dumps(self, option=orjson.OPT_INDENT_2) + b"\n")
        return path


FIGURES: tuple[tuple[str, Callable[[Cost], float]], ...] = (
    ("time", lambda cost: cost.wall_s),
    ("CPU", lambda cost: cost.cpu_s),
    ("memory", lambda cost: cost.peak_bytes / MEBIBYTE),
)


def table(result: Result, ours: tuple[str, ...]) -> str:
    """Ratios first, then the figures, then what they were measured on; medians everywhere."""
    rivals = [who for who in result.rounds if who not in ours]
    rounds = len(result.rounds[ours[0]])
    lines = [f"one job: {result.song_s:g} s of music to {' + '.join(DEFAULT_LADDER)} in fMP4 HLS"]
    lines += [f"medians of {rounds} rounds; ours / rival, below 1 is better for us", ""]
    lines += [_row("", *(name for name, _ in FIGURES))]
    for who in ours:
        for rival in rivals:
            ratios = (result.of(who, figure) / result.of(rival, figure) for _, figure in FIGURES)
            lines.append(_row(f"{who} / {rival}", *(f"{ratio:.2f}" for ratio in ratios)))
    lines += ["", _row("", "ready s", "CPU s", "peak MiB", "x realtime", "x per core", "others s")]
    for who in result.rounds:
        wall_s, cpu_s, peak = (result.of(who, figure) for _, figure in FIGURES)
        speed = (f"{result.song_s / wall_s:.0f}", f"{result.song_s / cpu_s:.1f}")
        others = f"{result.of(who, lambda cost: cost.others_cpu_s):.1f}"
        lines.append(_row(who, f"{wall_s:.2f}", f"{cpu_s:.2f}", f"{peak:.0f}", *speed, others))
    lines += ["", _row("CPU by stage (one process, in turn)", "s", "share")]
    total_s = sum(result.stages_cpu_s.values())
    for stage, cpu_s in result.stages_cpu_s.items():
        lines.append(_row(f"  {stage}", f"{cpu_s:.2f}", f"{cpu_s / total_s:.1%}"))
    lines.append(_row("  together", f"{total_s:.2f}"))
    return "\n".join([*lines, "", *_circumstances(result)])


def _row(name: str, *cells: str) -> str:
    return f"{name:36}" + "".join(f"{cell:>12}" for cell in cells)


def _circumstances(result: Result) -> list[str]:
    m = result.machine
    changed = " with changes" if m.commit_is_changed else ""
    gains = ", ".join(f"{who} {gain_db:+.2f} dB" for who, gain_db in result.gains_db.items())
    return [
        f"machine   {m.cpu}, {m.cores} cores, {m.memory_bytes / (1 << 30):.1f} GiB, Linux {m.kernel}",
        f"load      {result.load_before} before, {result.load_after} after (1, 5, 15 minutes)",
        f"versions  media-server {result.server_version}, Python {m.python}, numpy {m.numpy},"
        f" PyAV {m.pyav} (FFmpeg {m.libav})",
        f"commit    {m.commit[:12]}{changed}",
        f"gain      {gains}",
        f"song      {result.song_bytes / 1e6:.1f} MB, sha256 {result.song_sha256[:16]}",
        f"when      {result.began_at} to {result.ended_at}",
    ]
