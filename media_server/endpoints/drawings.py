"""What players draw of a track: its waveform and its cover.

Owns: how long they are cached, and how fine a waveform may be asked for.
"""

from __future__ import annotations

import asyncio
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from hls.asset import StoredFile
from media_server.endpoints.admission import Admission, admit
from media_server.endpoints.answer import JSON, whole_number
from media_server.endpoints.conditional import Representation, respond, tag_of
from media_server.endpoints.operation import Answer, Caller, Operation, Parameter
from media_server.endpoints.services import services_of
from media_server.errors import NotFound
from pipeline.waveform import Waveform

WAVEFORM_WIDTH: Final = 1200
MAX_WAVEFORM_WIDTH: Final = 20_000
WAVEFORM_FOR: Final = "max-age=3600"
COVER_FOR: Final = "max-age=2592000"
DAT: Final = "application/octet-stream"


async def waveform_json(request: Request) -> Response:
    """GET /tracks/{track_id}/waveform.json"""
    admission = await admit(request, request.path_params["track_id"])
    width = whole_number(request, "width", default=WAVEFORM_WIDTH, most=MAX_WAVEFORM_WIDTH)
    data = await _drawing(request, admission, admission.asset.waveform, "waveform")
    # four hours are millions of pixels: not on the thread that everyone waits for
    body = await asyncio.to_thread(_drawn, data, width)
    return respond(
        request,
        Representation(
            body=body,
            media_type=JSON,
            tag=tag_of(body),
            cache_control=admission.cache_control(WAVEFORM_FOR),
            compressible=True,
        ),
    )


def _drawn(data: bytes, width: int) -> bytes:
    return orjson.dumps(Waveform.from_dat(data).coarser(width).to_json_object())


async def waveform_dat(request: Request) -> Response:
    """GET /tracks/{track_id}/waveform.dat"""
    admission = await admit(request, request.path_params["track_id"])
    data = await _drawing(request, admission, admission.asset.waveform, "waveform")
    return _bytes(request, admission, data, DAT, WAVEFORM_FOR)


async def cover(request: Request) -> Response:
    """GET /tracks/{track_id}/cover"""
    admission = await admit(request, request.path_params["track_id"])
    stored = admission.asset.cover
    data = await _drawing(request, admission, stored, "cover")
    return _bytes(request, admission, data, stored.media_type if stored else DAT, COVER_FOR)


async def _drawing(request: Request, admission: Admission, stored: StoredFile | None, what: str) -> bytes:
    if stored is None:
        raise NotFound(f"{what}_not_found", f"the track has no {what}")
    asset = admission.asset
    return await services_of(request).assets.file(asset.track_id, asset.version, stored.name)


def _bytes(request: Request, admission: Admission, body: bytes, media_type: str, directives: str) -> Response:
    control = admission.cache_control(directives)
    return respond(
        request,
        Representation(
            body=body, media_type=media_type, tag=tag_of(body), cache_control=control, ranges=True
        ),
    )


OPERATIONS: Final = (
    Operation(
        path="/tracks/{track_id}/waveform.json",
        handler=waveform_json,
        summary="Waveform for drawing, as audiowaveform writes it (version 2)",
        caller=Caller.PLAYBACK,
        parameters=(
            Parameter(
                name="width",
                about="How many points, at most",
                schema={
                    "type": "integer",
                    "minimum": 1,
                    "maximum": MAX_WAVEFORM_WIDTH,
                    "default": WAVEFORM_WIDTH,
                },
            ),
        ),
        answers=(Answer(about="Lowest and highest sample of each point", media_type=JSON),),
        problems=(400,),
    ),
    Operation(
        path="/tracks/{track_id}/waveform.dat",
        handler=waveform_dat,
        summary="Waveform at its full resolution, as audiowaveform writes it",
        caller=Caller.PLAYBACK,
        answers=(
            Answer(about="The file", media_type=DAT),
            Answer(status=206, about="One range of it", media_type=DAT),
        ),
        problems=(416,),
    ),
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
