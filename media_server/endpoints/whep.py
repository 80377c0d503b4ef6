"""Playback over WebRTC: POST /whep/{track_id}, DELETE on what its Location names.

Owns: who is let in, where playback begins, which packets a listener gets, and for how long. Trickle ICE and
restarts are not offered: the answer carries every candidate, and the listener's are learned from its checks.
Source: draft-ietf-wish-whep 4, RFC 9725 4 (which it builds on).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import Response

from hls.asset import Asset, AssetRendition
from hls.family import Family
from media_server.endpoints.admission import admit
from media_server.endpoints.body import Body, takes_body
from media_server.endpoints.ice_servers import ice_server_links
from media_server.endpoints.listeners import Sound
from media_server.endpoints.operation import Answer, Caller, Operation, Parameter
from media_server.endpoints.readmission import Readmission
from media_server.endpoints.services import services_of
from media_server.errors import BadRequest, NotFound, Unavailable, Unsupported
from media_server.storage.packets import StoredPacket, StoredPackets
from pipeline.grid import RATE_HZ
from webrtc.answer import Content
from webrtc.reach import Reach, reach_of
from webrtc.sdp import MAX_OFFER_BYTES, Offer, OfferRefused, OfferUnsupported, read_offer

log = structlog.get_logger()

SDP: Final = "application/sdp"
MOST_BPS: Final = 128_000
"""What is asked of a listener's network, which nothing measures here: the best rendition up to this."""
READY_SOON_S: Final = 1.0
TURN_MARGIN_S: Final = 3600
"""A password of the relay outlives the track by this, for pauses in the network and wrong clocks."""
ASK_AGAIN_S: Final = 2
LOOK_WITHIN_S: Final = 2.0
"""How much is played until it is asked again who may hear: a change is in force within 5 s."""


@takes_body
async def post(request: Request, body: Body) -> Response:
    """POST /whep/{track_id}"""
    asked_s = time.monotonic()
    services, track_id = services_of(request), request.path_params["track_id"]
    asset = (await admit(request, track_id)).asset
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != SDP:
        raise Unsupported("unsupported_media_type", f"the body must be {SDP}")
    peer = _peer(request)
    offer = _read(await body.whole(MAX_OFFER_BYTES), peer)
    listener = await services.listeners.begin(offer, _sound(request, asset), peer, asked_s)
    response = Response(
        listener.answer,
        status_code=201,
        headers={
            "Location": f"/whep/{asset.track_id}/{listener.session_id}",
            "Cache-Control": "no-store",
        },
        media_type=SDP,
    )
    expires = math.ceil(services.now() + asset.duration_s) + TURN_MARGIN_S
    for link in ice_server_links(services.settings, expires):
        response.headers.append("Link", link)
    return response


async def delete(request: Request) -> Response:
    """DELETE /whep/{track_id}/{session_id}"""
    names = request.path_params
    await services_of(request).listeners.end(names["track_id"], names["session_id"])
    return Response(status_code=200)


def _peer(request: Request) -> Reach:
    """How far inside the listener is. In development whoever asks counts as one of the same network."""
    found = reach_of(request.client.host) if request.client else None
    reach = Reach.WORLD if found is None else found
    return min(reach, Reach.SITE) if services_of(request).settings.development else reach


def _read(body: bytes, peer: Reach) -> Offer:
    try:
        return read_offer(body, peer)
    except OfferUnsupported as error:
        raise Unsupported("offer_not_supported", str(error)) from None
    except OfferRefused as error:
        raise BadRequest("offer_malformed", str(error)) from None


def _sound(request: Request, asset: Asset) -> Sound:
    """The packets from where the listener wants to begin.

    Raises:
        NotFound: `no_opus_rendition`.
        BadRequest: `position_invalid`.
        Unavailable: `track_not_ready`, or as `StoredPackets`.
    """
    rendition = heard_of(asset)
    position = _position(request.query_params.get("position"), asset)
    if asset.state == "growing":
        raise Unavailable("track_not_ready", "the track is still being made", retry_after_s=READY_SOON_S)
    stored = StoredPackets(services_of(request).assets, asset, rendition.name)
    return Sound(
        track_id=asset.track_id,
        packets=_heard(request, asset, stored, position),
        content=Content(
            channels=rendition.channels,
            bitrate_bps=rendition.bitrate_bps,
            start_s=position / RATE_HZ,
            end_s=asset.duration_s,
        ),
    )


def heard_of(asset: Asset) -> AssetRendition:
    """The best rendition of Opus up to MOST_BPS; the lowest where all are above.

    Raises:
        NotFound: `no_opus_rendition`.
    """
    renditions = asset.family(Family.OPUS)
    if not renditions:
        raise NotFound("no_opus_rendition", "the track has no rendition of Opus")
    return [one for one in renditions if one is renditions[0] or one.bitrate_bps <= MOST_BPS][-1]


async def _heard(
    request: Request, asset: Asset, stored: StoredPackets, position: int
) -> AsyncGenerator[StoredPacket]:
    """The packets as long as the listener may hear them, counted as they go."""
    services = services_of(request)
    asked_at, readmission = position, Readmission(request, asset)
    packets = stored.from_sample(position)
    assert isinstance(packets, AsyncGenerator)  # made by `yield`, so that it can be closed
    async with aclosing(packets):
        async for packet in packets:
            if packet.pts - asked_at >= ASK_AGAIN_S * RATE_HZ:
                asked_at = packet.pts
                await _still_admitted(readmission)
            yield packet
            services.metrics.media_sent(len(packet.data))


async def _still_admitted(readmission: Readmission) -> None:
    """Return unless the track is gone, or this listener may not hear it any more.

    A storage that is away stops nobody: what is in memory plays on, and what is not will say so itself.

    Raises:
        NotFound, Unauthenticated, Denied: as `Readmission.asset`.
    """
    try:
        async with asyncio.timeout(LOOK_WITHIN_S):
            await readmission.asset()
    except (TimeoutError, Unavailable) as error:
        log.info("whep.track_not_seen", reason=str(error) or type(error).__name__)


def _position(text: str | None, asset: Asset) -> int:
    """The presented sample that the query names.

    Raises:
        BadRequest: `position_invalid`.
    """
    try:
        position_s = float(text or 0)
    except ValueError:
        position_s = math.nan
    if not 0 <= position_s <= asset.duration_s:
        raise BadRequest("position_invalid", f"position is a number of seconds, 0 to {asset.duration_s:g}")
    return round(position_s * RATE_HZ)


OPERATIONS: Final = (
    Operation(
        path="/whep/{track_id}",
        method="POST",
        handler=post,
        summary="Begin to hear a track over WebRTC (WHEP)",
        caller=Caller.PLAYBACK,
        parameters=(
            Parameter(
                name="position",
                about="Where to begin, in seconds",
                schema={"type": "number", "minimum": 0, "default": 0},
            ),
        ),
        takes={SDP: None},
        answers=(
            Answer(
                status=201,
                about="The SDP answer; Location names the session, Link the ICE servers",
                media_type=SDP,
            ),
        ),
        problems=(400, 413, 415, 503),
    ),
    Operation(
        path="/whep/{track_id}/{session_id}",
        method="DELETE",
        handler=delete,
        summary="End a WebRTC session; whoever knows its address may",
        caller=Caller.OPEN,
        answers=(Answer(about="It has ended"),),
        problems=(404,),
    ),
)
