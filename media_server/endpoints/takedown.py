"""Taking a track down at the request of the companion API."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from media_server.endpoints.internal import require_internal
from media_server.endpoints.operation import Answer, Caller, Operation
from media_server.endpoints.services import services_of
from media_server.errors import BadRequest
from media_server.ids import canonical_uuid
from media_server.jobs.takedown import take_down


async def deleted(request: Request) -> Response:
    """DELETE /api/v1/internal/tracks/{track_id}"""
    require_internal(request)
    try:
        track_id = canonical_uuid(request.path_params["track_id"])
    except ValueError as error:
        raise BadRequest("bad_track_id", f"track_id {error}") from None
    services = services_of(request)
    await take_down(
        track_id,
        storage=services.storage,
        state=services.state,
        broker=services.broker,
        assets=services.assets,
    )
    return Response(status_code=204)


OPERATIONS: Final = (
    Operation(
        path="/api/v1/internal/tracks/{track_id}",
        handler=deleted,
        method="DELETE",
        summary="Take a track down; the same for one that is gone already",
        caller=Caller.INTERNAL,
        answers=(Answer(status=204, about="It is gone"),),
        problems=(400, 503),
    ),
)
