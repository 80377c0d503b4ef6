"""The application: every route, behind the edge that every request passes.

Owns: which routes there are. The player page and the development routes exist only where they are served.
"""

from __future__ import annotations

from functools import cache

import orjson
from starlette.applications import Starlette
from starlette.middleware import Middleware

from media_server.endpoints import (
    audio,
    dev,
    drawings,
    events,
    hls,
    jobs,
    page,
    stream,
    system,
    takedown,
    tracks,
    waveforms,
    whep,
)
from media_server.endpoints.middleware import edge
from media_server.endpoints.openapi import document
from media_server.endpoints.operation import Operation
from media_server.endpoints.problem import EXCEPTION_HANDLERS
from media_server.endpoints.rate_limits import RateLimits
from media_server.endpoints.services import Services
from media_server.settings import Settings


def operations(settings: Settings) -> tuple[Operation, ...]:
    """The route table, in the order in which it is searched."""
    return (
        *hls.OPERATIONS,
        *tracks.OPERATIONS,
        *drawings.OPERATIONS,
        *waveforms.OPERATIONS,
        *audio.OPERATIONS,
        *whep.OPERATIONS,
        # before the jobs by id, which would take `events` for one
        *events.OPERATIONS,
        *jobs.OPERATIONS,
        *takedown.OPERATIONS,
        *system.OPERATIONS,
        *(page.PAGE if settings.page_is_served else page.NO_PAGE),
        *(dev.OPERATIONS if settings.development and settings.page_is_served else ()),
    )


def create_asgi(services: Services) -> Starlette:
    """The ASGI application that serves `services`."""
    table = operations(services.settings)
    app = Starlette(
        routes=[*(operation.route() for operation in table), *stream.ROUTES],
        middleware=edge(services.settings, services.metrics, Middleware(RateLimits, services=services)),
        exception_handlers=EXCEPTION_HANDLERS,
    )
    # a redirect for a slash too many would be cached, and players do not follow them on media
    app.router.redirect_slashes = False
    app.state.services = services
    # made when it is first asked for: it would take a tenth of a second of every start
    app.state.openapi = cache(lambda: orjson.dumps(document(table, services.settings, services.version)))
    return app
