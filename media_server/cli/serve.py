"""`media-server serve` and `media-server worker`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Annotated

import structlog
import typer

from media_server import lifecycle
from media_server.auth import jwks, keys, signing
from media_server.cli.terminal import settings_or_stop, stop
from media_server.endpoints.listeners import sockets_of
from media_server.jobs import runner
from media_server.log import configure
from media_server.settings import Settings, forget_secrets, ignored_settings

log = structlog.get_logger()


def serve(
    work: Annotated[
        bool | None,
        typer.Option(
            "--work/--no-work",
            help="Work on jobs too, or leave them to workers; by default only without RABBITMQ_URL.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Serve HTTP and, in embedded mode, work on jobs: one process does everything.

    With RABBITMQ_URL workers do the jobs: start `media-server worker` beside it, or give --work.

    Ctrl-C ends it at once, a running job goes back to the queue. SIGTERM drains: /readyz answers 503 for
    DRAIN_DELAY_S while requests are still taken, a running job may finish, and it ends within 30 s.
    """
    settings = _ready()
    try:
        _run(lifecycle.serve(settings, works=work))
    except lifecycle.CannotListenError as error:
        stop(str(error), code=1)


def worker(
    burst: Annotated[
        bool, typer.Option("--burst", help="Work until the queue is empty, send the callbacks, and end.")
    ] = False,
) -> None:
    """Work on jobs without serving HTTP, beside servers that share its queue and storage, or its DATA_DIR."""
    settings = _ready()
    _run(lifecycle.work(settings, burst=burst))


def _ready() -> Settings:
    settings = settings_or_stop()
    _check(settings)
    configure(settings)
    if ignored := ignored_settings():
        log.warning("settings.ignored", names=ignored, reason="this version has no support for them")
    # before anything can start a child: it would inherit the environment
    forget_secrets()
    runner.prepare()
    return settings


def _check(settings: Settings) -> None:
    """Stop with one sentence if a setting cannot be what it should be, before anything is opened."""
    try:
        keys.KeySet.of(settings)
        jwks.checked_url(settings)
        signing.keys_of(settings)
        sockets_of(settings)
        if settings.redis_url is not None:
            from media_server.state.redis import connection_pool

            connection_pool(settings.redis_url.get_secret_value())
    except ValueError as error:
        stop(str(error))


def _run(main: Coroutine[object, object, None]) -> None:
    if sys.platform == "win32":
        asyncio.run(main)
        return
    import uvloop

    uvloop.run(main)
