"""What the page of a development server does beside playing: it uploads, and watches the jobs.

Owns: routes that ask for no key. They exist in development only and answer only this machine's own page.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from media_server.endpoints.answer import JSON, json_answer, whole_number
from media_server.endpoints.body import Body, takes_body
from media_server.endpoints.events import EVENT_STREAM, job_stream
from media_server.endpoints.internal import require_local
from media_server.endpoints.jobs import LIST_LIMIT, MAX_LIST_LIMIT, JobForm, JobList, accepted, submit_form
from media_server.endpoints.multipart import MULTIPART
from media_server.endpoints.operation import Answer, Caller, Operation, Parameter
from media_server.endpoints.services import services_of
from media_server.endpoints.upload import received
from media_server.jobs.job import Job


@takes_body
async def uploaded(request: Request, body: Body) -> Response:
    """POST /dev/tracks"""
    require_local(request)
    services = services_of(request)
    async with received(request, body) as form:
        # no callback: what a developer tries out is none of the companion's tracks
        return accepted(await submit_form(form, services, visibility="public", calls_back=False))


async def listed(request: Request) -> Response:
    """GET /dev/jobs"""
    require_local(request)
    limit = whole_number(request, "limit", default=LIST_LIMIT, most=MAX_LIST_LIMIT)
    page = await services_of(request).state.list(limit=limit)
    return json_answer(JobList(jobs=page.items, next_cursor=page.next_cursor))


async def events(request: Request) -> Response:
    """GET /dev/jobs/events"""
    require_local(request)
    return job_stream(services_of(request))


OPERATIONS: Final = (
    Operation(
        path="/dev/tracks",
        handler=uploaded,
        method="POST",
        summary="Upload a file from the page",
        caller=Caller.LOCAL,
        takes={MULTIPART: JobForm},
        answers=(Answer(status=202, about="The job is durable", media_type=JSON, body=Job),),
        problems=(400, 413, 415, 422, 429, 503),
    ),
    Operation(
        path="/dev/jobs",
        handler=listed,
        summary="Jobs for the page, newest first",
        caller=Caller.LOCAL,
        parameters=(
            Parameter(
                name="limit",
                about="How many, at most",
                schema={"type": "integer", "minimum": 1, "maximum": MAX_LIST_LIMIT, "default": LIST_LIMIT},
            ),
        ),
        answers=(Answer(about="One page", media_type=JSON, body=JobList),),
        problems=(400,),
    ),
    Operation(
        path="/dev/jobs/events",
        handler=events,
        summary="Jobs as they change, for the page",
        caller=Caller.LOCAL,
        answers=(Answer(about="A stream that does not end", media_type=EVENT_STREAM),),
    ),
)
