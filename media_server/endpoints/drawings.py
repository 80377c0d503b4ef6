"""What players draw of a track and is stored as a file: its cover.

Owns: how a stored drawing is read, and how long a cover is cached. `waveforms` has what is drawn on request.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from hls.asset import StoredFile
from media_server.endpoints.admission import Admission, admit
from media_server.endpoints.conditional import Representation, respond, tag_of
from media_server.endpoints.operation import Answer, Caller, Operation
from media_server.endpoints.services import services_of
from media_server.errors import NotFound

COVER_FOR: Final = "max-age=2592000"
UNKNOWN: Final = "application/octet-stream"


async def cover(request: Request) -> Response:
    """GET /tracks/{track_id}/cover"""
    admission = await admit(request, request.path_params["track_id"])
    stored = admission.asset.cover
    body = await drawing(request, admission, stored, "cover")
    return respond(
        request,
        Representation(
            body=body,
            media_type=stored.media_type if stored else UNKNOWN,
            tag=tag_of(body),
            cache_control=admission.cache_control(COVER_FOR),
            ranges=True,
        ),
    )


async def drawing(request: Request, admission: Admission, stored: StoredFile | None, what: str) -> bytes:
    """The stored file.

    Raises:
        NotFound: `cover_not_found` or `waveform_not_found`, by `what`: the track has none.
    """
    if stored is None:
        raise NotFound(f"{what}_not_found", f"the track has no {what}")
    asset = admission.asset
    return await services_of(request).assets.file(asset.track_id, asset.version, stored.name)


OPERATIONS: Final = (
    Operation(
        path="/tracks/{track_id}/cover",
        handler=cover,
        summary="Cover art",
        caller=Caller.PLAYBACK,
        answers=(
            Answer(about="The picture", media_type="image/*"),
            Answer(status=206, about="One range of it", media_type="image/*"),
        ),
        problems=(416,),
    ),
)
