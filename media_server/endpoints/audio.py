"""A track as one file, for players that know no streaming: GET /tracks/{track_id}/audio.m4a

Owns: which rendition is meant, and that the file is never whole in memory. It is a rendition as it is stored,
its init segment and its media segments one after the other: nothing is encoded and nothing muxed again.
Source: RFC 9110 14 (ranges); ISO/IEC 14496-12 8.8 (a movie in fragments is a file like any other).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from hls.asset import Asset, AssetRendition
from hls.family import Family
from hls.whole import Slice, WholeFile
from media_server.endpoints.admission import admit
from media_server.endpoints.conditional import has_already, part_of
from media_server.endpoints.hls import COMPLETE_FOR_S, MEDIA
from media_server.endpoints.operation import Answer, Caller, Operation, Parameter
from media_server.endpoints.services import Services, services_of
from media_server.errors import BadRequest, NotFound, Unavailable

READY_SOON_S: Final = 1.0
BITS_PER_KBIT: Final = 1000


async def m4a(request: Request) -> Response:
    """GET /tracks/{track_id}/audio.m4a"""
    services = services_of(request)
    admission = await admit(request, request.path_params["track_id"])
    asset = admission.asset
    rendition = _asked_for(request.query_params.get("bitrate"), asset)
    if asset.state == "growing":
        raise Unavailable("track_not_ready", "the track is still being made", retry_after_s=READY_SOON_S)
    file = WholeFile.of(rendition)
    tag = f'"{asset.version}-{rendition.name}"'
    headers = {
        "ETag": tag,
        "Cache-Control": admission.cache_control(f"max-age={COMPLETE_FOR_S}"),
        "Accept-Ranges": "bytes",
    }
    if has_already(request, tag):
        return Response(status_code=304, headers=headers)
    part = part_of(request, tag, file.size_bytes)
    first, last = (part.first, part.last) if part else (0, file.size_bytes - 1)
    headers["Content-Length"] = str(last + 1 - first)
    if part:
        headers["Content-Range"] = f"bytes {first}-{last}/{file.size_bytes}"
    if request.method == "HEAD":
        return Response(headers=headers, media_type=MEDIA)
    body = _read(services, asset, rendition.name, file.slices(first, last))
    return StreamingResponse(body, 206 if part else 200, headers, MEDIA)


async def _read(
    services: Services, asset: Asset, rendition: str, slices: tuple[Slice, ...]
) -> AsyncIterator[bytes]:
    for piece in slices:
        data = await services.assets.file(asset.track_id, asset.version, rendition, piece.name)
        wanted = data[piece.first : piece.last + 1]
        services.metrics.media_sent(len(wanted))
        yield wanted


def _asked_for(bitrate: str | None, asset: Asset) -> AssetRendition:
    """The rendition of this bit rate, in kbit/s; the best one where none is named.

    Raises:
        BadRequest: `bitrate_not_allowed`.
        NotFound: `rendition_not_found`, the track has no AAC at all.
    """
    found = {str(one.bitrate_bps // BITS_PER_KBIT): one for one in asset.family(Family.AAC)}
    if not found:
        raise NotFound("rendition_not_found", f"the track has no {Family.AAC} rendition")
    if bitrate is None:
        return list(found.values())[-1]
    if bitrate not in found:
        allowed = ", ".join(found)
        raise BadRequest("bitrate_not_allowed", f"bitrate is not one of this track's, which are {allowed}")
    return found[bitrate]


OPERATIONS: Final = (
    Operation(
        path="/tracks/{track_id}/audio.m4a",
        handler=m4a,
        summary="The track as one AAC file",
        caller=Caller.PLAYBACK,
        parameters=(
            Parameter(
                name="bitrate",
                about="In kbit/s, one of the track's AAC renditions; the highest without",
                schema={"type": "integer", "minimum": 1},
            ),
        ),
        answers=(
            Answer(about="The file", media_type=MEDIA),
            Answer(status=206, about="One range of it", media_type=MEDIA),
        ),
        problems=(400, 416, 503),
    ),
)
