"""HLS: the multivariant playlists, one a codec, the media playlists, and their files.

Owns: what is cached for how long, and that only files that are or were published are served. Playlists are
rendered for each request, because each may carry signatures of its own. What is AAC is there in MPEG-TS too,
made of the stored segments. Source: RFC 8216 4 and 6.2.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from hls.asset import Asset
from hls.family import Family
from hls.segment_format import TRANSPORT_EXTENSION, TRANSPORT_MASTER, SegmentFormat, stored_name
from media_server.auth.signing import folder_scope
from media_server.endpoints.admission import Admission, admit
from media_server.endpoints.conditional import Representation, respond, tag_of
from media_server.endpoints.operation import Answer, Caller, Operation
from media_server.endpoints.services import Services, services_of
from media_server.errors import NotFound, Unavailable
from pipeline.ladder import RUNGS

PLAYLIST: Final = "application/vnd.apple.mpegurl"
MEDIA: Final = "audio/mp4"
"""Init and media segments alike: fMP4 that holds audio alone."""

TRANSPORT: Final = "video/mp2t"
"""Of sound too (A 10.4); the operating system's list may know the extension as something else."""

COMPLETE_FOR_S: Final = 5
"""A track that is taken down is gone from every cache within this time."""
GROWING: Final = "no-cache"
IMMUTABLE: Final = "max-age=31536000, immutable"
READY_SOON_S: Final = 1.0

_VERSION = re.compile(r"[0-9a-f]{16}")
_RENDITION = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
_INIT = re.compile(r"init-[0-9a-f]{8}\.mp4")
_SEGMENT = re.compile(r"(0|[1-9][0-9]{0,8})-[0-9a-f]{8}\.(?:m4s|ts)")


async def master(request: Request) -> Response:
    """GET /hls/{track_id}/master.m3u8: the AAC ladder"""
    return await _master(request, Family.AAC)


async def master_opus(request: Request) -> Response:
    """GET /hls/{track_id}/master-opus.m3u8: the Opus ladder"""
    return await _master(request, Family.OPUS)


async def master_lossless(request: Request) -> Response:
    """GET /hls/{track_id}/master-lossless.m3u8: the lossless rendition"""
    return await _master(request, Family.FLAC)


async def master_ts(request: Request) -> Response:
    """GET /hls/{track_id}/master-ts.m3u8: the AAC ladder in MPEG-TS"""
    return await _master(request, Family.AAC, SegmentFormat.TS)


async def _master(
    request: Request, family: Family, segment_format: SegmentFormat = SegmentFormat.FMP4
) -> Response:
    track_id = request.path_params["track_id"]
    admission = await admit(request, track_id)
    asset = admission.asset

    def query_for(rendition: str) -> str:
        return admission.query_for(f"/hls/{track_id}/{segment_format.playlist(rendition)}")

    if family not in asset.families and _is_to_come(asset, family):
        raise _not_yet()
    if family not in asset.families:
        raise NotFound("rendition_not_found", f"the track has no {family} rendition")
    if not any(rendition.segments for rendition in asset.family(family)):
        raise _not_yet()
    return _playlist(request, admission, asset.multivariant(query_for, family, segment_format).render())


async def media_playlist(request: Request) -> Response:
    """GET /hls/{track_id}/stream_{rendition}.m3u8"""
    return await _media_playlist(request, SegmentFormat.FMP4)


async def media_playlist_ts(request: Request) -> Response:
    """GET /hls/{track_id}/stream_{rendition}-ts.m3u8"""
    return await _media_playlist(request, SegmentFormat.TS)


async def _media_playlist(request: Request, segment_format: SegmentFormat) -> Response:
    admission = await admit(request, request.path_params["track_id"])
    asset, name = admission.asset, request.path_params["rendition"]
    try:
        rendition = asset.rendition(name)
    except KeyError:
        raise NotFound("rendition_not_found", "the track has no such rendition") from None
    if not segment_format.carries(rendition.codec, rendition.rate_hz):
        raise NotFound("rendition_not_found", f"the rendition is not offered as {segment_format}")
    if not rendition.segments:
        raise _not_yet()
    query = admission.query_for(folder_scope(asset.track_id, asset.version, name))
    return _playlist(request, admission, asset.media_playlist(name, query, segment_format).render())


def _is_to_come(asset: Asset, family: Family) -> bool:
    """Whether a track that grows may get a rendition of the family yet, if its source fills it."""
    asked = [RUNGS[name] for name in asset.options.get("ladder") or () if name in RUNGS]
    return asset.state == "growing" and any(rung.codec is family.codec for rung in asked)


def _not_yet() -> Unavailable:
    """A growing track without a segment: players give up for good on an empty playlist, not on a 503."""
    return Unavailable("track_not_ready", "the track is still being made", retry_after_s=READY_SOON_S)


def _playlist(request: Request, admission: Admission, text: str) -> Response:
    growing = admission.asset.state == "growing"
    body = text.encode()
    return respond(
        request,
        Representation(
            body=body,
            media_type=PLAYLIST,
            tag=tag_of(body),
            cache_control=admission.cache_control(GROWING if growing else f"max-age={COMPLETE_FOR_S}"),
            compressible=True,
        ),
    )


async def file(request: Request) -> Response:
    """GET /hls/{track_id}/{version}/{rendition}/{file}"""
    services, names = services_of(request), request.path_params
    admission = await admit(request, names["track_id"])
    body = await _stored(services, admission.asset, names["version"], names["rendition"], names["file"])
    rendered = names["file"].endswith(TRANSPORT_EXTENSION)
    response = respond(
        request,
        Representation(
            body=body,
            media_type=TRANSPORT if rendered else MEDIA,
            # the name holds the hash of what is stored, and it is the same whether the version is live or
            # replaced; a later server may render the same otherwise
            tag=tag_of(body) if rendered else names["file"],
            cache_control=admission.cache_control(IMMUTABLE),
            ranges=True,
        ),
    )
    if request.method == "GET":
        services.metrics.media_sent(len(response.body))
    return response


async def _stored(services: Services, asset: Asset, version: str, rendition: str, name: str) -> bytes:
    """A file of the live version if it lists it, or of another version if it is stored.

    One that grows may list more by now than was seen of it: another server has told the player.

    Raises:
        NotFound: `file_not_found`.
    """
    not_found = NotFound("file_not_found", "the track has no such file")
    well_named = _VERSION.fullmatch(version) and _RENDITION.fullmatch(rendition)
    if not well_named or not (_INIT.fullmatch(name) or _SEGMENT.fullmatch(name)):
        raise not_found
    is_whole = version == asset.version and asset.state == "complete"
    if is_whole and not _is_listed(asset, rendition, name):
        raise not_found
    misses = services.cache.misses
    try:
        body = await services.assets.file(asset.track_id, version, rendition, name)
    except NotFound:
        raise not_found from None
    # a hit never waits, so nobody else can have missed in between
    if services.cache.misses == misses:
        services.metrics.cache_hit()
    else:
        services.metrics.cache_missed()
    return body


def _is_listed(asset: Asset, rendition_name: str, name: str) -> bool:
    try:
        rendition = asset.rendition(rendition_name)
    except KeyError:
        return False
    if found := _SEGMENT.fullmatch(name):
        number = int(found[1])
        if name.endswith(TRANSPORT_EXTENSION) and not SegmentFormat.TS.carries(
            rendition.codec, rendition.rate_hz
        ):
            return False
        return number < len(rendition.segments) and rendition.segments[number].name == stored_name(name)
    return rendition.init.name == name


OPERATIONS: Final = (
    Operation(
        path=f"/hls/{{track_id}}/{Family.AAC.master}",
        handler=master,
        summary="Multivariant playlist of the AAC renditions",
        caller=Caller.PLAYBACK,
        answers=(Answer(about="The renditions, lowest bit rate first", media_type=PLAYLIST),),
        problems=(503,),
    ),
    Operation(
        path=f"/hls/{{track_id}}/{Family.OPUS.master}",
        handler=master_opus,
        summary="Multivariant playlist of the Opus renditions",
        caller=Caller.PLAYBACK,
        answers=(Answer(about="The renditions, lowest bit rate first", media_type=PLAYLIST),),
        problems=(503,),
    ),
    Operation(
        path=f"/hls/{{track_id}}/{Family.FLAC.master}",
        handler=master_lossless,
        summary="Multivariant playlist of the lossless rendition",
        caller=Caller.PLAYBACK,
        answers=(Answer(about="The one rendition", media_type=PLAYLIST),),
        problems=(503,),
    ),
    Operation(
        path=f"/hls/{{track_id}}/{TRANSPORT_MASTER}",
        handler=master_ts,
        summary="Multivariant playlist of the AAC renditions in MPEG-TS, for players without fMP4",
        caller=Caller.PLAYBACK,
        answers=(Answer(about="The renditions, lowest bit rate first", media_type=PLAYLIST),),
        problems=(503,),
    ),
    # before the next, which would take `-ts` for a part of a name
    Operation(
        path="/hls/{track_id}/stream_{rendition}-ts.m3u8",
        handler=media_playlist_ts,
        summary="Media playlist of one AAC rendition in MPEG-TS",
        caller=Caller.PLAYBACK,
        answers=(Answer(about="The media segments", media_type=PLAYLIST),),
        problems=(503,),
    ),
    Operation(
        path="/hls/{track_id}/stream_{rendition}.m3u8",
        handler=media_playlist,
        summary="Media playlist of one rendition",
        caller=Caller.PLAYBACK,
        answers=(Answer(about="The init segment and the media segments", media_type=PLAYLIST),),
        problems=(503,),
    ),
    Operation(
        path="/hls/{track_id}/{version}/{rendition}/{file}",
        handler=file,
        summary="Init or media segment; never changes",
        caller=Caller.PLAYBACK,
        answers=(
            Answer(about="The segment", media_type=MEDIA),
            Answer(about="The segment in MPEG-TS", media_type=TRANSPORT),
            Answer(status=206, about="One range of it", media_type=MEDIA),
            Answer(status=206, about="One range of it in MPEG-TS", media_type=TRANSPORT),
        ),
        problems=(416,),
    ),
)
