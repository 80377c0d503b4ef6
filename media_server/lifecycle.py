"""When the parts run and how they stop.

SIGINT ends everything at once: a running job goes back to the queue and its attempt is not counted. SIGTERM
drains: `/readyz` answers 503 while requests are still taken for DRAIN_DELAY_S, a running job may finish
within the grace period. A second signal ends the process on the spot; children end with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator

import structlog
import uvicorn

from media_server.app import Parts, announce, assembled
from media_server.endpoints.routes import create_asgi
from media_server.first_run import offer_demo
from media_server.settings import Settings
from media_server.websocket.messages import MAX_MESSAGE_BYTES
from media_server.websocket.wire import PING_EVERY_S, PONG_WITHIN_S, WebSocketWire

log = structlog.get_logger()

GRACE_S = 25.0
"""From SIGTERM until a running job is handed back; the process is gone within 30 s."""

CLOSE_CONNECTIONS_S = 1
KEEP_ALIVE_S = 75
BACKLOG = 2048
SIGNALLED_TWICE = 130
REPEATED_WITHIN_S = 1.0
"""A signal to the whole process group comes twice where `make` hands it on: that is one wish, not two."""


class CannotListenError(Exception):
    """The address is taken or not ours."""


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: it would close the socket before the drain."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Shutdown:
    """Turns signals into the events that the parts wait for."""

    def __init__(self) -> None:
        self.asked_at: float | None = None
        self.at_once = asyncio.Event()
        self.draining = asyncio.Event()

    def install(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on, number)

    def _on(self, number: signal.Signals) -> None:
        if self.asked_at is not None:
            if time.monotonic() - self.asked_at >= REPEATED_WITHIN_S:
                os._exit(SIGNALLED_TWICE)
            return
        self.asked_at = time.monotonic()
        log.info("server.stopping", signal=signal.Signals(number).name)
        self.draining.set()
        if number == signal.SIGINT:
            self.at_once.set()


async def serve(settings: Settings, *, works: bool | None = None) -> None:
    """Serve until a signal.

    Args:
        works: whether this process works on jobs too; None is yes where the queue is the embedded one, no
            where others receive from RabbitMQ: a job takes the processor from the listeners.
    Raises:
        CannotListenError: HOST and PORT cannot be listened on.
    """
    listening = listen(settings.host, settings.port)
    # port 0 is any free one; what is told to others is the one that was taken
    settings = settings.model_copy(update={"port": listening.getsockname()[1]})
    shutdown = Shutdown()
    shutdown.install()
    async with assembled(settings) as parts:
        services = parts.services
        server = _Server(
            uvicorn.Config(
                create_asgi(services),
                lifespan="off",
                log_config=None,
                access_log=False,
                ws=WebSocketWire,
                ws_max_size=MAX_MESSAGE_BYTES,
                ws_per_message_deflate=False,
                ws_ping_interval=PING_EVERY_S,
                ws_ping_timeout=PONG_WITHIN_S,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=CLOSE_CONNECTIONS_S,
            )
        )
        announce(settings)
        host, port = listening.getsockname()[:2]
        log.info("server.listening", url=f"http://{host}:{port}/", version=services.version)
        async with asyncio.TaskGroup() as tasks:
            demo = tasks.create_task(offer_demo(services))
            tasks.create_task(server.serve(sockets=[listening]))
            tasks.create_task(_stop_serving(server, parts, shutdown))
            if _works(settings, works):
                tasks.create_task(_work(parts, shutdown))
            _run_beside(tasks, parts)
            if parts.keys is not None:
                tasks.create_task(parts.keys.run(services.stopping))
            await shutdown.draining.wait()
            demo.cancel()
    log.info("server.stopped")


async def work(settings: Settings, *, burst: bool) -> None:
    """Work on jobs without serving: until a signal, or with `burst` until the queue is empty."""
    shutdown = Shutdown()
    shutdown.install()
    async with assembled(settings) as parts:
        if burst:
            draining = asyncio.create_task(shutdown.draining.wait())
            working = asyncio.create_task(parts.worker.burst())
            await asyncio.wait({draining, working}, return_when=asyncio.FIRST_COMPLETED)
            await _cancelled(working)
            await _cancelled(draining)
            await parts.sender.drain()
            return
        log.info("worker.started", version=parts.services.version)
        async with asyncio.TaskGroup() as tasks:
            _run_beside(tasks, parts)
            await _work(parts, shutdown)
            parts.services.stopping.set()
    log.info("worker.stopped")


def _works(settings: Settings, asked: bool | None) -> bool:
    """Whether a server works on jobs, and say so."""
    works = settings.rabbitmq_url is None if asked is None else asked
    if works:
        log.info("server.works", jobs_concurrent=settings.jobs_concurrent)
    else:
        log.info("server.leaves_jobs", reason="workers receive them: start `media-server worker`, or --work")
    return works


def _run_beside(tasks: asyncio.TaskGroup, parts: Parts) -> None:
    """What every long-lived process does: it tells of jobs that ended, and takes in what others change."""
    tasks.create_task(parts.sender.run(parts.services.stopping))
    if parts.catalogue is not None:
        tasks.create_task(parts.catalogue.run(parts.services.stopping))


async def _stop_serving(server: uvicorn.Server, parts: Parts, shutdown: Shutdown) -> None:
    """Say so first, close later: a load balancer needs time to look elsewhere."""
    await shutdown.draining.wait()
    parts.services.draining.set()
    await _either(shutdown.at_once, parts.services.settings.drain_delay_s)
    parts.services.stopping.set()
    server.should_exit = True


async def _work(parts: Parts, shutdown: Shutdown) -> None:
    """Run the worker; after the stop let it finish within the grace, then take its jobs back."""
    working = asyncio.create_task(parts.worker.run(shutdown.draining))
    stopping = asyncio.create_task(shutdown.draining.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        at_once = asyncio.create_task(shutdown.at_once.wait())
        await asyncio.wait({working, at_once}, timeout=GRACE_S, return_when=asyncio.FIRST_COMPLETED)
        await _cancelled(at_once)
    finally:
        await _cancelled(stopping)
        await _cancelled(working)


async def _cancelled(task: asyncio.Task[object]) -> None:
    """End a task and wait for its end; its error, if it had one of its own, is raised."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _either(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, taken before anything else so that a clash is said in one sentence.

    Raises:
        CannotListenError: with the reason.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        # the text of `create_server` repeats the address; a name that is not found has a negative number
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise CannotListenError(f"cannot listen on {host}:{port} (HOST, PORT): {reason}") from None
