"""Playback over a WebSocket: WS /stream?track_id=&position=

Owns: who is let in, and where playback begins. A refusal is an HTTP answer, before there is a WebSocket; what
is said afterwards is `media_server.websocket`'s.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import Final

import structlog
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from hls.asset import Asset
from media_server.endpoints.admission import admit
from media_server.endpoints.readmission import Readmission
from media_server.endpoints.services import services_of
from media_server.errors import BadRequest, Unavailable
from media_server.websocket.protocol import Playback
from media_server.websocket.session import Session
from media_server.websocket.timeline import listened_to_first
from media_server.websocket.wire import WRITABLE
from pipeline.grid import RATE_HZ

PATH: Final = "/stream"
READY_SOON_S: Final = 1.0

log = structlog.get_logger()


async def stream(websocket: WebSocket) -> None:
    """WS /stream"""
    asked_s = time.monotonic()
    services = services_of(websocket)
    if services.stopping.is_set():
        raise Unavailable("server_stopping", "the server stops, come again", retry_after_s=READY_SOON_S)
    track_id = websocket.query_params.get("track_id", "")
    if not track_id:
        raise BadRequest("track_id_missing", "the query needs track_id")
    asset = (await admit(websocket, track_id)).asset
    position = _position(websocket.query_params.get("position"), asset)
    if listened_to_first(asset) is None:
        raise Unavailable("track_not_ready", "the track is still being made", retry_after_s=READY_SOON_S)
    await websocket.accept()
    session = Session(
        websocket,
        Playback(asset, position=position, now_s=time.monotonic(), unix_ms=round(services.now() * 1000)),
        assets=services.assets,
        metrics=services.metrics,
        admitted=Readmission(websocket, asset).asset,
        stopping=services.stopping,
        writable=websocket.scope["extensions"].get(WRITABLE) or _always(),
        asked_s=asked_s,
    )
    await session.run(asset.track_id)


def _always() -> asyncio.Event:
    """For a server that does not tell whether a client reads."""
    event = asyncio.Event()
    event.set()
    return event


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
        allowed = f"position is a number of seconds, 0 to {asset.duration_s:g}"
        raise BadRequest("position_invalid", allowed)
    return round(position_s * RATE_HZ)


ROUTES: Final = (WebSocketRoute(PATH, stream),)
