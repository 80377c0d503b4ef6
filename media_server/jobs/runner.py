"""Starts a job's child process and hands on what it says, until its last word, its death or the deadline.

Children come from a forkserver that has imported the pipeline already: about 10 ms each instead of a second.
The forkserver is started by `prepare`, after the secrets have left the environment.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from multiprocessing import forkserver, get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess

from media_server.errors import LimitExceeded, Unavailable
from media_server.jobs import child
from media_server.jobs.child import Order
from media_server.jobs.events import MAX_MESSAGE_BYTES, Event, Failed, Finished, unpack
from media_server.jobs.filing import FileOrder

PRELOAD = ["media_server.__main__", "media_server.jobs.child"]
"""The program itself too: multiprocessing imports it in every child, and there it must be known already."""

REAP_S = 5.0
WALL_BASE_S = 60.0
WALL_PER_AUDIO_SECOND = 0.5


_looking_after_children = threading.Lock()
"""Who starts a process looks whether others have ended, and may take the exit code from under the thread that
waits for it, which is told 255 then."""


class DecoderCrash(Exception):
    """The child died without a word; its input may be to blame, or not."""

    code = "decoder_crash"

    def __init__(self, how: str) -> None:
        super().__init__(f"the decoder ended without an answer: {how}")
        self.message = str(self)


def prepare() -> None:
    """Start the forkserver now, with the environment as it is now."""
    # numpy's library of matrices would start a thread for each core in every child, and hang, not fail, where
    # the bound of memory lets it start none
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # glibc would reserve 64 MiB of address space, which is bounded, for each thread that encodes
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    get_context("forkserver").set_forkserver_preload(PRELOAD)
    forkserver.ensure_running()


def deadline_s(order: Order | FileOrder) -> float:
    """The wall-clock time a job may take at most."""
    return WALL_BASE_S + WALL_PER_AUDIO_SECOND * order.max_duration_s


@asynccontextmanager
async def run(order: Order | FileOrder) -> AsyncIterator[AsyncIterator[tuple[Event, bytes]]]:
    """The events of a job's child; leaving the context ends the child, whatever it was doing.

    Iterating raises:
        MediaError: the child says that the source cannot become a track, or a limit ended it.
        DecoderCrash: the child died.
        Unavailable: `job_deadline`, it took too long; `child_protocol`, it said nonsense.
    """
    context = get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=child.main, args=(order, sender), name="transcode", daemon=True)
    threads = ThreadPoolExecutor(1, "child-events")
    loop = asyncio.get_running_loop()
    try:
        # a process object starts where the parent lives on; the thread of the events is as good as any
        await loop.run_in_executor(threads, _start, process, sender)
        yield _events(process, receiver, threads, order)
    finally:
        if process.pid is not None:
            process.kill()  # now, for the thread may be waiting for its next word
        # in the thread, so that a start that was cancelled is over before its pipe is closed
        ended = loop.run_in_executor(threads, _end, process, receiver, sender)
        threads.shutdown(wait=False)
        await ended


async def _events(
    process: ForkServerProcess, receiver: Connection, threads: ThreadPoolExecutor, order: Order | FileOrder
) -> AsyncIterator[tuple[Event, bytes]]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(deadline_s(order)):
            while True:
                try:
                    message = await loop.run_in_executor(threads, receiver.recv_bytes, MAX_MESSAGE_BYTES)
                except (EOFError, OSError):
                    await loop.run_in_executor(threads, _reap, process)
                    raise _death(process, order) from None
                event, payload = unpack(message)
                if isinstance(event, Failed):
                    raise event.error()
                yield event, payload
                if isinstance(event, Finished):
                    return
    except TimeoutError:
        raise Unavailable("job_deadline", f"the job took longer than {deadline_s(order):.0f} s") from None


def _start(process: ForkServerProcess, sender: Connection) -> None:
    with _looking_after_children:
        process.start()
    sender.close()


def _reap(process: ForkServerProcess) -> None:
    wait([process.sentinel], REAP_S)
    with _looking_after_children:
        process.join(0)


def _end(process: ForkServerProcess, receiver: Connection, sender: Connection) -> None:
    """No process, no descriptor is left; the collector of garbage would come for them later."""
    if process.pid is not None:
        process.kill()
        _reap(process)
        with _looking_after_children:
            if process.exitcode is not None:
                process.close()
    receiver.close()
    sender.close()


def _death(process: ForkServerProcess, order: Order | FileOrder) -> Exception:
    code = process.exitcode
    if code == -signal.SIGXCPU:
        return LimitExceeded("limit_cpu", "the file keeps the decoder busy for longer than is allowed")
    if code is not None and code < 0:
        return DecoderCrash(signal.Signals(-code).name)
    return DecoderCrash(f"exit code {code} on {order.source.name}")
