"""Threads that work in lanes: within a lane in order and one thing at a time, between lanes as they rank.

Owns: the threads. FFmpeg's encoders release the interpreter, so that as many cores are busy as there are.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from types import TracebackType
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(order=True, slots=True, kw_only=True)
class Lane:
    """A row of work, which is the `Lanes`' to do.

    A lower `rank` goes first, of one rank the lane of which less is done, of these the lower `place`.
    """

    rank: int
    done: int = field(default=0, init=False)
    place: int
    waiting: deque[_Work[Any]] = field(default_factory=deque, compare=False)
    is_busy: bool = field(default=False, compare=False)


class Lanes:
    """A context; leaving it ends the threads, and drops what nobody has begun."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "lane")
        self._lock = Lock()
        self._ready: list[Lane] = []

    def __enter__(self) -> Lanes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def submit(self, lane: Lane, call: Callable[[], T]) -> Future[T]:
        """Do `call` after everything that was submitted to its lane before."""
        work = _Work(call)
        with self._lock:
            lane.waiting.append(work)
            is_ready = not lane.is_busy and len(lane.waiting) == 1
            if is_ready:
                heapq.heappush(self._ready, lane)
        if is_ready:
            self._pool.submit(self._do_next)
        return work.future

    def _do_next(self) -> None:
        """Asked for once for each lane that is ready: a busy one is ready again when it is free."""
        with self._lock:
            lane = heapq.heappop(self._ready)
            lane.is_busy = True
            work = lane.waiting.popleft()
        work.do()
        with self._lock:
            lane.is_busy = False
            lane.done += 1
            if not lane.waiting:
                return
            heapq.heappush(self._ready, lane)
        self._pool.submit(self._do_next)


class _Work(Generic[T]):
    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self.future: Future[T] = Future()

    def do(self) -> None:
        try:
            self.future.set_result(self._call())
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            self.future.set_exception(error)
