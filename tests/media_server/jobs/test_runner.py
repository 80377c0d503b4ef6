"""A child is started, listened to and reaped, whatever it does."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import active_children, get_context
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import signals
import soundfile

from media_server.errors import LimitExceeded, Malformed, Unavailable
from media_server.jobs import runner
from media_server.jobs.child import Order
from media_server.jobs.events import Finished, PieceMade, Probed, SegmentMade
from media_server.jobs.runner import WALL_BASE_S, WALL_PER_AUDIO_SECOND, DecoderCrash, deadline_s, run


def order(source: Path, **changed: object) -> Order:
    values = {
        "source": source,
        "ladder": ("128k",),
        "mode": "track",
        "target_lufs": -14.0,
        "ceiling_dbtp": -1.0,
        "max_duration_s": 600.0,
        "memory_bytes": 2 << 30,
        **changed,
    }
    return Order(**values)


@pytest.fixture
def source(tmp_path: Path, song: bytes) -> Path:
    path = tmp_path / "src.bin"
    path.write_bytes(song)
    return path


async def test_a_child_tells_the_whole_story_and_is_gone(source: Path) -> None:
    async with run(order(source)) as events:
        told = [event async for event, _ in events]
    assert isinstance(told[0], Probed)
    assert isinstance(told[-1], Finished)
    assert not [child for child in active_children() if child.name == "transcode"]


async def peak_bytes(path: Path, minutes: int) -> int:
    """The most memory that the child of a job on so much music had resident at once."""
    music = signals.music(60.0, 44_100, 2)
    with soundfile.SoundFile(path, "w", 44_100, 2, "PCM_16", format="FLAC") as file:
        for _ in range(minutes):
            file.write(music.T)
    peak = 0
    async with run(order(path, ladder=("128k", "opus-64"), outputs=("opus-64",))) as events:
        async for event, _ in events:
            if isinstance(event, SegmentMade | PieceMade):
                for child in [child for child in active_children() if child.name == "transcode"]:
                    status = Path(f"/proc/{child.pid}/status").read_text()
                    # one that has said its last word has no memory any more
                    peak = max(peak, *(int(kib) * 1024 for kib in re.findall(r"VmHWM:\s+(\d+)", status)), 0)
    return peak


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_the_memory_of_a_job_does_not_grow_with_its_source(tmp_path: Path) -> None:
    """Under 400 MB, whatever the length; a waveform is 1.5 kB for each second, and drawn and told once.

    Both have more chunks than are decoded ahead.
    """
    short, long = [await peak_bytes(tmp_path / f"{minutes}.flac", minutes) for minutes in (4, 8)]
    assert 50_000_000 < min(short, long) < max(short, long) < 400_000_000
    assert long - short < 16 << 20


async def test_an_error_of_the_media_comes_as_itself(tmp_path: Path) -> None:
    path = tmp_path / "src.bin"
    path.write_bytes(b"no audio at all")
    with pytest.raises(Malformed) as caught:
        async with run(order(path)) as events:
            _ = [event async for event in events]
    assert caught.value.code == "not_audio"


async def test_leaving_early_ends_the_child(source: Path) -> None:
    async with run(order(source)) as events:
        await anext(aiter(events))
        (pid,) = [child.pid for child in active_children() if child.name == "transcode"]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    ("number", "error", "code"),
    [
        (signal.SIGKILL, DecoderCrash, "decoder_crash"),
        (signal.SIGSEGV, DecoderCrash, "decoder_crash"),
        (signal.SIGXCPU, LimitExceeded, "limit_cpu"),
    ],
)
async def test_a_child_that_dies_has_crashed_or_met_its_limit(
    source: Path, number: signal.Signals, error: type[Exception], code: str
) -> None:
    """F2, F20."""
    with pytest.raises(error) as caught:
        async with run(order(source)) as events:
            async for _ in events:
                for child in active_children():
                    if child.name == "transcode":
                        os.kill(child.pid, number)
    assert caught.value.code == code
    assert number.name in str(caught.value) or error is LimitExceeded


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="/proc is Linux's")
async def test_what_a_child_took_is_given_back_at_once(source: Path) -> None:
    """A server that is asked for many files cannot wait for the collector of garbage to close its pipes."""

    async def pipes_after_a_job() -> set[str]:
        with pytest.raises(LimitExceeded):
            async with run(order(source, max_duration_s=0.1)) as events:
                _ = [event async for event in events]
        names = {str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.exists()}
        return {name for name in names if name.startswith("pipe:")}

    before = await pipes_after_a_job()  # the forkserver's own are there from now on
    gc.disable()
    try:
        assert await pipes_after_a_job() == before
    finally:
        gc.enable()


async def test_a_start_that_is_cancelled_leaves_no_child_and_no_pipe(source: Path) -> None:
    async def listen() -> None:
        async with run(order(source)):
            raise AssertionError("it was cancelled before")

    task = asyncio.create_task(listen())
    await asyncio.sleep(0)  # to where it waits for the start
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not [child for child in active_children() if child.name == "transcode"]


@pytest.mark.slow
async def test_a_limit_is_told_as_one_whoever_starts_meanwhile(source: Path) -> None:
    """F20: with four jobs side by side, one in two hundred was called a crash."""
    told: list[str] = []

    async def lane() -> None:
        for _ in range(50):
            with pytest.raises(LimitExceeded) as caught:
                async with run(order(source)) as events:
                    await anext(events)
                    os.kill(events.ag_frame.f_locals["process"].pid, signal.SIGXCPU)
                    _ = [event async for event in events]
            told.append(caught.value.code)

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(lane())
    assert told == ["limit_cpu"] * 200


async def test_cancelling_the_listener_ends_the_child(source: Path) -> None:
    started = asyncio.Event()

    async def listen() -> None:
        async with run(order(source)) as events:
            async for _ in events:
                started.set()

    task = asyncio.create_task(listen())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not [child for child in active_children() if child.name == "transcode"]


def test_the_deadline_grows_with_what_is_allowed(tmp_path: Path) -> None:
    assert deadline_s(order(tmp_path, max_duration_s=7200.0)) > deadline_s(order(tmp_path)) > 60


async def test_a_child_that_hangs_is_ended_at_the_deadline(tmp_path: Path) -> None:
    """F20: whatever it waits for, here the writer of a pipe."""
    os.mkfifo(tmp_path / "src.bin")
    # an allowance below nothing, because the deadline has a part of its own
    hanging = order(tmp_path / "src.bin", max_duration_s=(0.2 - WALL_BASE_S) / WALL_PER_AUDIO_SECOND)
    with pytest.raises(Unavailable) as caught:
        async with run(hanging) as events:
            _ = [event async for event in events]
    assert caught.value.code == "job_deadline"
    assert not [child for child in active_children() if child.name == "transcode"]


@pytest.mark.parametrize("said", [b"nonsense", b'{"event":"segment","rendition":"../x"}\n'])
async def test_a_child_that_talks_nonsense_is_not_believed(source: Path, said: bytes) -> None:
    """It reads hostile files: what it says may be their word."""
    context = get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=Connection.send_bytes, args=(sender, said), name="transcode")
    process.start()
    sender.close()
    with ThreadPoolExecutor(1) as threads, pytest.raises(Unavailable) as caught:
        await anext(runner._events(process, receiver, threads, order(source)))
    process.join()
    receiver.close()
    assert caught.value.code == "child_protocol"


async def test_a_child_that_ends_without_a_word_has_crashed(source: Path) -> None:
    context = get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=os._exit, args=(3,), name="transcode")
    process.start()
    sender.close()
    with ThreadPoolExecutor(1) as threads, pytest.raises(DecoderCrash, match=r"exit code 3 on src\.bin"):
        await anext(runner._events(process, receiver, threads, order(source)))
    receiver.close()


async def test_what_needs_more_memory_than_allowed_is_over_a_limit(source: Path) -> None:
    """F19: permanent; it neither hangs, nor counts as a crash, nor as a fault of the file."""
    with pytest.raises(LimitExceeded) as caught:
        async with asyncio.timeout(60), run(order(source, memory_bytes=64 << 20)) as events:
            _ = [event async for event in events]
    assert caught.value.code == "limit_memory"
