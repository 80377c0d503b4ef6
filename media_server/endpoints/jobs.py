"""Jobs over HTTP: submit one, ask how it stands, list them.

Owns: how a body becomes a JobRequest, and the words for one that does not.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

import orjson
from pydantic import ValidationError
from pydantic.alias_generators import to_snake
from starlette.requests import Request
from starlette.responses import Response

from media_server import trace
from media_server.endpoints.answer import JSON, json_answer, whole_number
from media_server.endpoints.body import Body, takes_body
from media_server.endpoints.internal import require_internal
from media_server.endpoints.multipart import MULTIPART
from media_server.endpoints.operation import Answer, Caller, Operation, Parameter
from media_server.endpoints.services import Services, services_of
from media_server.endpoints.upload import ReceivedForm, received
from media_server.errors import BadRequest, NotFound, Unsupported
from media_server.ids import canonical_uuid
from media_server.jobs.job import Job, JobRequest, JobState, now_rfc3339
from media_server.jobs.submission import Submission, submit
from media_server.profiles import Profiles

JOBS: Final = "/api/v1/internal/jobs"
MAX_BODY_BYTES: Final = 1_048_576
LIST_LIMIT: Final = 50
MAX_LIST_LIMIT: Final = 200
MAX_ERRORS_TOLD: Final = 3

_KEY = re.compile(r"[!-~]{1,255}")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobForm:
    """The fields of a form; only `file` is needed. `options` is JSON."""

    file: bytes
    track_id: str | None = None
    title: str | None = None
    artist: str | None = None
    album_id: str | None = None
    user_id: str | None = None
    visibility: Literal["public", "unlisted", "private"] | None = None
    options: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobList:
    """Newest first; `next_cursor` asks for what follows."""

    jobs: tuple[Job, ...]
    next_cursor: str | None


@takes_body
async def submitted(request: Request, body: Body) -> Response:
    """POST /api/v1/internal/transcode"""
    require_internal(request)
    services, key = services_of(request), idempotency_key(request)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    traceparent = trace.read(request.headers.get(trace.TRACEPARENT))
    if media_type == MULTIPART:
        async with received(request, body) as form:
            job = await submit_form(
                form, services, visibility="private", calls_back=True, key=key, traceparent=traceparent
            )
    elif media_type == JSON:
        wanted = job_request(_json_object(await body.whole(MAX_BODY_BYTES)), services.settings.profiles)
        if wanted.source.kind == "none":
            raise BadRequest("bad_job", "source: needs exactly one of bucket and key, path, or url")
        submission = Submission(request=wanted, accepted_at=now_rfc3339(), traceparent=traceparent)
        job = await submit(submission, broker=services.broker, state=services.state, idempotency_key=key)
    else:
        raise Unsupported("unsupported_media_type", f"the body must be {JSON} or {MULTIPART}")
    return accepted(job)


async def submit_form(
    form: ReceivedForm,
    services: Services,
    *,
    visibility: str,
    calls_back: bool,
    key: str | None = None,
    traceparent: str | None = None,
) -> Job:
    """Make a job of an uploaded file.

    Args:
        visibility: where the form names none.
        key: the request's Idempotency-Key.
        traceparent: the request's, passed on with all that is told of the job.
    Raises:
        BadRequest: `bad_job`, a field is wrong.
        Unavailable: `disk`.
    """
    fields: dict[str, Any] = {"visibility": visibility, "track_id": str(uuid.uuid4()), "source": {}}
    # a browser sends the inputs that were left empty too
    fields |= {name: value for name, value in form.fields.items() if value}
    if "options" in fields:
        fields["options"] = _json_object(fields["options"].encode(), "options")
    submission = Submission(
        request=job_request(fields, services.settings.profiles),
        upload=form.upload("unnamed"),
        accepted_at=now_rfc3339(),
        calls_back=calls_back,
        traceparent=traceparent,
    )
    job_id = submission.job_id(key)
    known = await services.state.get(job_id)
    if known is not None and known.status not in {JobState.FAILED, JobState.CANCELLED}:
        return known  # it has its file
    # named after the job: the same upload twice at once is one file
    submission = submission.model_copy(update={"upload": await form.keep(job_id)})
    return await submit(submission, broker=services.broker, state=services.state, idempotency_key=key)


def accepted(job: Job) -> Response:
    """202: the job is durable."""
    return json_answer(job, 202, {"Location": f"{JOBS}/{job.job_id}"})


def idempotency_key(request: Request) -> str | None:
    """The caller's name for this submit.

    Raises:
        BadRequest: `bad_idempotency_key`.
    """
    keys = request.headers.getlist("idempotency-key")
    if not keys:
        return None
    if len(keys) != 1 or not _KEY.fullmatch(keys[0]):
        raise BadRequest("bad_idempotency_key", "Idempotency-Key must be 1 to 255 visible ASCII characters")
    return keys[0]


def _json_object(text: bytes, what: str = "the body") -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise BadRequest("bad_job", f"{what} is not JSON") from None
    if not isinstance(value, dict):
        raise BadRequest("bad_job", f"{what} is not a JSON object")
    return value


def job_request(fields: Mapping[str, Any], profiles: Profiles) -> JobRequest:
    """The request that these fields make, of a profile that there is.

    Raises:
        BadRequest: `bad_job`; the message names the fields that are wrong, never their values.
    """
    try:
        request = JobRequest.model_validate(fields)
        request.options.rungs(profiles)
        return request
    except Unsupported as error:
        raise BadRequest("bad_job", f"options.profile: {error.message}") from None
    except ValidationError as error:
        told = [
            f"{'.'.join(to_snake(str(part)) for part in one['loc'])}: {one['msg']}"
            for one in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise BadRequest("bad_job", "; ".join(told[:MAX_ERRORS_TOLD])) from None


async def shown(request: Request) -> Response:
    """GET /api/v1/internal/jobs/{job_id}"""
    require_internal(request)
    not_found = NotFound("job_not_found", "there is no such job")
    try:
        job_id = canonical_uuid(request.path_params["job_id"])
    except ValueError:
        raise not_found from None
    job = await services_of(request).state.get(job_id)
    if job is None:
        raise not_found
    return json_answer(job)


async def listed(request: Request) -> Response:
    """GET /api/v1/internal/jobs"""
    require_internal(request)
    asked = request.query_params
    page = await services_of(request).state.list(
        status=_status(asked.get("status")),
        track_id=asked.get("track_id"),
        updated_since=_time(asked.get("updated_since")),
        limit=whole_number(request, "limit", default=LIST_LIMIT, most=MAX_LIST_LIMIT),
        cursor=asked.get("cursor"),
    )
    return json_answer(JobList(jobs=page.items, next_cursor=page.next_cursor))


def _status(text: str | None) -> JobState | None:
    try:
        return None if text is None else JobState(text)
    except ValueError:
        known = ", ".join(JobState)
        raise BadRequest("bad_parameter", f"status must be one of {known}") from None


def _time(text: str | None) -> str | None:
    """An RFC 3339 time as the records have theirs: UTC, milliseconds."""
    if text is None:
        return None
    try:
        # a + that was not encoded has become a space on its way
        moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise BadRequest("bad_parameter", "updated_since must be a time as in RFC 3339, with its zone")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _submit(path: str) -> Operation:
    return Operation(
        path=path,
        handler=submitted,
        method="POST",
        summary="Submit a job: the data of track.uploaded, or a file",
        caller=Caller.INTERNAL,
        parameters=(
            Parameter(
                name="Idempotency-Key",
                about="The same key is the same job, whatever the body says",
                schema={"type": "string", "pattern": "^[!-~]{1,255}$"},
                where="header",
            ),
        ),
        takes={JSON: JobRequest, MULTIPART: JobForm},
        answers=(
            Answer(status=202, about="The job is durable; Location names it", media_type=JSON, body=Job),
        ),
        problems=(400, 413, 415, 422, 429, 503),
    )


OPERATIONS: Final = (
    _submit("/api/v1/internal/transcode"),
    _submit("/transcode"),
    Operation(
        path=JOBS,
        handler=listed,
        summary="Jobs, newest first",
        caller=Caller.INTERNAL,
        parameters=(
            Parameter(
                name="status",
                about="Only these",
                schema={"type": "string", "enum": [s.value for s in JobState]},
            ),
            Parameter(
                name="track_id", about="Only of this track", schema={"type": "string", "format": "uuid"}
            ),
            Parameter(
                name="updated_since",
                about="Only those written since then",
                schema={"type": "string", "format": "date-time"},
            ),
            Parameter(
                name="limit",
                about="How many, at most",
                schema={"type": "integer", "minimum": 1, "maximum": MAX_LIST_LIMIT, "default": LIST_LIMIT},
            ),
            Parameter(name="cursor", about="next_cursor of the page before", schema={"type": "string"}),
        ),
        answers=(Answer(about="One page", media_type=JSON, body=JobList),),
        problems=(400,),
    ),
    Operation(
        path=JOBS + "/{job_id}",
        handler=shown,
        summary="One job",
        caller=Caller.INTERNAL,
        answers=(Answer(about="The job", media_type=JSON, body=Job),),
        problems=(404,),
    ),
)
