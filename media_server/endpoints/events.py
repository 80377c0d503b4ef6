"""Jobs as they change, as server-sent events.

Owns: the stream's order: first the jobs that are under way, then every change since. Each event carries the
whole job, so that one that comes twice does no harm. Source: HTML, "Server-sent events".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

import orjson
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response

from media_server.endpoints.internal import require_internal
from media_server.endpoints.jobs import JOBS
from media_server.endpoints.operation import Answer, Caller, Operation
from media_server.endpoints.services import Services, services_of
from media_server.errors import Unavailable
from media_server.jobs.job import Job, JobState

EVENT_STREAM: Final = "text/event-stream"
LOOK_EVERY_S: Final = 0.25
PING_S: Final = 15
"""Proxies close what has been silent for a minute or less."""

MAX_UNDER_WAY: Final = 1000


async def events(request: Request) -> Response:
    """GET /api/v1/internal/jobs/events"""
    require_internal(request)
    return job_stream(services_of(request))


def job_stream(services: Services) -> EventSourceResponse:
    """The answer that tells of jobs until the client leaves or the server stops."""
    return EventSourceResponse(
        (_event(job) async for job in changes(services)),
        ping=PING_S,
        ping_message_factory=lambda: ServerSentEvent(comment="ping", sep="\n"),
        sep="\n",
    )


async def changes(services: Services) -> AsyncGenerator[Job, None]:
    """The jobs under way, oldest first, then every job that is written, until `stopping`."""
    # before the list: what changes in between is told twice rather than never
    revision = await services.state.revision()
    for status in (JobState.RUNNING, JobState.QUEUED):
        page = await services.state.list(status=status, limit=MAX_UNDER_WAY)
        for job in reversed(page.items):
            yield job
    while not await _stops(services.stopping):
        try:
            revision, changed = await services.state.changed_since(revision)
        except Unavailable:  # the stream goes on where it was as soon as the state is back; /readyz says so
            continue
        for job in changed:
            yield job


async def _stops(stopping: asyncio.Event) -> bool:
    """Whether the server stops within the next pause."""
    try:
        async with asyncio.timeout(LOOK_EVERY_S):
            await stopping.wait()
    except TimeoutError:
        return False
    return True


def _event(job: Job) -> ServerSentEvent:
    return ServerSentEvent(orjson.dumps(job).decode(), event="job", sep="\n")


OPERATIONS: Final = (
    Operation(
        path=JOBS + "/events",
        handler=events,
        summary="Jobs as they change: events named job, each with the whole job",
        caller=Caller.INTERNAL,
        answers=(Answer(about="A stream that does not end", media_type=EVENT_STREAM),),
    ),
)
