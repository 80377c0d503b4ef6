"""Nearly right files, each through a job's own child process in its cage, as the server runs it.

Nothing may come of an input but a track or a code; a crash of the child is told with the seed that brings it
back.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from multiprocessing import active_children
from pathlib import Path

import signals
import sources as foreign
from fuzz.mutate import mutated

from media_server.errors import MediaError
from media_server.jobs.child import Order
from media_server.jobs.fetch import LOCAL_NAME
from media_server.jobs.runner import DecoderCrash, run

MAX_DURATION_S = 20.0
MEMORY_BYTES = 1 << 30
LARGEST_SOURCE_BYTES = 64 << 10
TRACK = "a track"

KNOWN = frozenset(
    {TRACK, "empty", "not_audio", "no_audio_data", "no_audio_stream", "format_not_allowed", "corrupt"}
    | {"codec_not_allowed", "bad_rate", "bad_channels", "too_many_streams", "too_long", "metadata_limit"}
    | {"limit_memory", "limit_cpu", "encrypted", "unsupported_change"}
)
"""What may come of an input. Not among them: a crash, the deadline, a child that is not understood."""


@dataclass(slots=True)
class Findings:
    """How many inputs had which outcome, and those with one that none may have: seed and what it was."""

    outcomes: Counter[str] = field(default_factory=Counter)
    unknown: list[tuple[int, str]] = field(default_factory=list)
    took_s: float = 0.0


def our_sources(folder: Path) -> list[bytes]:
    """A short file of each format, with tags and a picture where it can have them."""
    pcm, cover = signals.music(0.12, 44_100, 2), signals.picture(24, 24)
    tags = {"title": "T", "artist": "A"}
    for fmt in ("wav", "flac", "aiff", "ogg", "mp3", "m4a", "aac"):
        picture = cover if fmt in signals.CAN_CARRY_A_COVER else None
        signals.write(folder / fmt, pcm, 44_100, fmt, tags=tags if fmt != "aac" else None, cover=picture)
    signals.write(folder / "opus", signals.music(0.12, 48_000, 2), 48_000, "opus")
    signals.write(folder / "float", pcm, 44_100, "wav", subtype="FLOAT")
    signals.write(folder / "surround", signals.music(0.1, 48_000, 6), 48_000, "flac")
    foreign.encode(folder / "alac", pcm, 44_100, "alac", "ipod", sample_format="s16p")
    foreign.encode(folder / "matroska", pcm, 44_100, "flac", "matroska", sample_format="s16")
    foreign.encode(folder / "fragments", pcm, 44_100, "aac", "mp4", options={"movflags": "frag_keyframe"})
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def sources_of_others(corpus: Path) -> list[bytes]:
    """The small ones of the corpus, if there is any."""
    files = [
        path for path in sorted(corpus.rglob("*")) if path.is_file() and path.suffix not in {".md", ".tsv"}
    ]
    return [path.read_bytes() for path in files if path.stat().st_size <= LARGEST_SOURCE_BYTES]


def order_of(source: Path, max_duration_s: float = MAX_DURATION_S) -> Order:
    """One rendition, for all of them are of one decoder."""
    return Order(
        source=source,
        ladder=("128k",),
        mode="track",
        target_lufs=-14.0,
        ceiling_dbtp=-1.0,
        max_duration_s=max_duration_s,
        memory_bytes=MEMORY_BYTES,
    )


async def outcome_of(data: bytes, folder: Path) -> str:
    """What a job would say of these bytes; raises what the server would not survive as one."""
    source = folder / LOCAL_NAME
    source.write_bytes(data)
    try:
        async with run(order_of(source)) as events:
            async for _ in events:
                pass
    except MediaError as error:
        return error.code
    except DecoderCrash as crash:
        return f"{crash.code}: {crash.message}"
    return TRACK


async def campaign(sources: Sequence[bytes], seeds: Iterable[int], parallel: int = 2) -> Findings:
    """Try the seeds, some at a time.

    Raises:
        AssertionError: an attempt left a file, a process or an open descriptor behind.
    """
    findings, waiting, began = Findings(), iter(seeds), time.monotonic()

    async def work(folder: Path) -> None:
        for seed in waiting:
            outcome = await outcome_of(mutated(sources, seed), folder)
            findings.outcomes[outcome] += 1
            if outcome not in KNOWN:
                findings.unknown.append((seed, outcome))
            assert [path.name for path in folder.iterdir()] == [LOCAL_NAME], seed

    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folders = [Path(name, str(number)) for number in range(parallel)]
        for folder in folders:
            folder.mkdir()
        await outcome_of(b"", folders[0])  # the forkserver's own descriptors are there from now on
        before = _descriptors()
        async with asyncio.TaskGroup() as group:
            for folder in folders:
                group.create_task(work(folder))
        assert not [child for child in active_children() if child.name == "transcode"]
        left = _descriptors() - before
        assert not left, f"left open: {left}"
    findings.took_s = time.monotonic() - began
    return findings


def _descriptors() -> Counter[str]:
    """What this process has open, by what it leads to."""
    found: Counter[str] = Counter()
    for descriptor in Path("/proc/self/fd").iterdir() if sys.platform == "linux" else ():
        with contextlib.suppress(FileNotFoundError):  # the one of this loop
            found[str(descriptor.readlink()).partition(":")[0]] += 1
    return found
