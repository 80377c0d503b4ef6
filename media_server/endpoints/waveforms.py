"""The waveform of a track, drawn on request from the one that is stored: data and pictures.

Owns: how fine, how large and in which colours it may be asked for, and how long it is cached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from media_server.endpoints.admission import admit
from media_server.endpoints.answer import JSON, one_of, whole_number
from media_server.endpoints.conditional import Representation, respond, tag_of
from media_server.endpoints.drawings import drawing
from media_server.endpoints.operation import Answer, Caller, Operation, Parameter
from media_server.errors import BadRequest
from pipeline.waveform import SAMPLES_PER_PIXEL, Bits, Waveform
from pipeline.waveform_image import MAX_HEIGHT, MAX_WIDTH, Colour, Look, png, svg

POINTS: Final = 1200
MAX_POINTS: Final = 20_000
MAX_ZOOM: Final = 1 << 24
"""Samples a pixel: nearly six minutes of sound in each."""

WIDTH: Final = 1200
HEIGHT: Final = 250
COLOUR: Final = "3f4d9b"
BACKGROUND: Final = "00000000"
"""audiowaveform's height and blue, on nothing: the picture lies on whatever page shows it."""

MAX_ZIPPED_BYTES: Final = 1 << 20
"""Zipped answers are kept in memory: a song at every zoom is smaller, four hours in JSON are 20 MB."""

KEPT_FOR: Final = "max-age=3600"
DAT: Final = "application/octet-stream"
PNG: Final = "image/png"
SVG: Final = "image/svg+xml"

BITS: Final[Mapping[str, Bits]] = {"8": 8, "16": 16}
YES_OR_NO: Final = {"true": True, "false": False}

Drawn = Callable[[Waveform], bytes]
View = Callable[[Waveform], Waveform]


async def waveform_json(request: Request) -> Response:
    """GET /tracks/{track_id}/waveform.json"""

    def asked() -> Drawn:
        view, bits = _view(request, POINTS), one_of(request, "bits", BITS, default="8")
        return lambda waveform: to_json(view(waveform), bits)

    return await _answer(request, asked, JSON, compressible=True)


async def waveform_dat(request: Request) -> Response:
    """GET /tracks/{track_id}/waveform.dat"""

    def asked() -> Drawn:
        view, bits = _view(request, 0), one_of(request, "bits", BITS, default="8")
        return lambda waveform: view(waveform).to_dat(bits)

    return await _answer(request, asked, DAT, ranges=True)


async def waveform_png(request: Request) -> Response:
    """GET /tracks/{track_id}/waveform.png"""
    return await _answer(request, lambda: _picture(request, png), PNG)


async def waveform_svg(request: Request) -> Response:
    """GET /tracks/{track_id}/waveform.svg"""
    return await _answer(request, lambda: _picture(request, svg), SVG, compressible=True)


def to_json(waveform: Waveform, bits: Bits) -> bytes:
    """The JSON format, byte for byte as audiowaveform writes it."""
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(waveform.to_json_object(bits), option=options)


async def _answer(
    request: Request,
    asked: Callable[[], Drawn],
    media_type: str,
    *,
    compressible: bool = False,
    ranges: bool = False,
) -> Response:
    """The answer to a request that was let in; what was asked for is read only then."""
    admission = await admit(request, request.path_params["track_id"])
    draw = asked()
    data = await drawing(request, admission, admission.asset.waveform, "waveform")

    def answer() -> Response:
        body = draw(Waveform.from_dat(data))
        return respond(
            request,
            Representation(
                body=body,
                media_type=media_type,
                tag=tag_of(body),
                cache_control=admission.cache_control(KEPT_FOR),
                compressible=compressible and len(body) <= MAX_ZIPPED_BYTES,
                ranges=ranges,
            ),
        )

    # four hours are millions of pixels to draw, hash and zip: not on the thread that everyone waits for
    return await asyncio.to_thread(answer)


def _view(request: Request, points: int) -> View:
    """The lanes and the zoom that are asked for; at most `points` pixels, 0 for all, where no zoom is said.

    Raises:
        BadRequest: `bad_parameter`.
    """
    zoom = whole_number(request, "zoom", default=0, least=SAMPLES_PER_PIXEL, most=MAX_ZOOM)
    most = whole_number(request, "width", default=0 if zoom else points, most=MAX_POINTS)
    if zoom and most:
        raise BadRequest("bad_parameter", "zoom and width exclude each other")
    lanes = _lanes(request)

    def view(waveform: Waveform) -> Waveform:
        chosen = lanes(waveform)
        return chosen.rescaled(zoom) if zoom else chosen.coarser(most) if most else chosen

    return view


def _lanes(request: Request) -> View:
    split = one_of(request, "split_channels", YES_OR_NO, default="false")
    return Waveform.split if split else Waveform.mix


def _picture(request: Request, render: Callable[[Waveform, Look], bytes]) -> Drawn:
    look = Look(
        width=whole_number(request, "width", default=WIDTH, most=MAX_WIDTH),
        height=whole_number(request, "height", default=HEIGHT, most=MAX_HEIGHT),
        waveform=_colour(request, "waveform_color", COLOUR),
        background=_colour(request, "background_color", BACKGROUND),
    )
    lanes = _lanes(request)
    return lambda waveform: render(lanes(waveform), look)


def _colour(request: Request, name: str, default: str) -> Colour:
    try:
        return Colour.parse(request.query_params.get(name, default))
    except ValueError as error:
        raise BadRequest("bad_parameter", f"{name}: {error}") from None


def _bounded(most: int, default: int | None = None, *, least: int = 1) -> Mapping[str, Any]:
    schema: dict[str, Any] = {"type": "integer", "minimum": least, "maximum": most}
    return schema if default is None else {**schema, "default": default}


def _hex(default: str) -> Mapping[str, Any]:
    return {"type": "string", "pattern": "^[0-9A-Fa-f]{6}([0-9A-Fa-f]{2})?$", "default": default}


_SPLIT: Final = Parameter(
    name="split_channels",
    about="A lane for each channel instead of one of their mean",
    schema={"type": "boolean", "default": False},
)
_DATA_PARAMETERS: Final = (
    Parameter(
        name="zoom",
        about="Samples of 48 kHz a point; a multiple of 256 is exactly what audiowaveform makes of the sound,"
        " another what it makes of its file of 256. Not together with width",
        schema=_bounded(MAX_ZOOM, least=SAMPLES_PER_PIXEL),
    ),
    Parameter(name="bits", about="Of each level", schema={"type": "integer", "enum": [8, 16], "default": 8}),
    _SPLIT,
)
_PICTURE_PARAMETERS: Final = (
    Parameter(
        name="width", about="In pixels; the whole track goes across it", schema=_bounded(MAX_WIDTH, WIDTH)
    ),
    Parameter(name="height", about="In pixels", schema=_bounded(MAX_HEIGHT, HEIGHT)),
    Parameter(name="waveform_color", about="rrggbb or rrggbbaa", schema=_hex(COLOUR)),
    Parameter(name="background_color", about="rrggbb or rrggbbaa", schema=_hex(BACKGROUND)),
    _SPLIT,
)

OPERATIONS: Final = (
    Operation(
        path="/tracks/{track_id}/waveform.json",
        handler=waveform_json,
        summary="Waveform for drawing, as audiowaveform writes it",
        caller=Caller.PLAYBACK,
        parameters=(
            Parameter(
                name="width",
                about="How many points, at most; 1200 where no zoom is said",
                schema=_bounded(MAX_POINTS),
            ),
            *_DATA_PARAMETERS,
        ),
        answers=(Answer(about="Lowest and highest level of each point and lane", media_type=JSON),),
        problems=(400,),
    ),
    Operation(
        path="/tracks/{track_id}/waveform.dat",
        handler=waveform_dat,
        summary="Waveform as the binary file that audiowaveform writes: version 1, split channels version 2",
        caller=Caller.PLAYBACK,
        parameters=(
            Parameter(
                name="width",
                about="How many points, at most; all, of 256 samples, where neither it nor a zoom is said",
                schema=_bounded(MAX_POINTS),
            ),
            *_DATA_PARAMETERS,
        ),
        answers=(
            Answer(about="The file", media_type=DAT),
            Answer(status=206, about="One range of it", media_type=DAT),
        ),
        problems=(400, 416),
    ),
    Operation(
        path="/tracks/{track_id}/waveform.png",
        handler=waveform_png,
        summary="Picture of the waveform",
        caller=Caller.PLAYBACK,
        parameters=_PICTURE_PARAMETERS,
        answers=(Answer(about="The picture", media_type=PNG),),
        problems=(400,),
    ),
    Operation(
        path="/tracks/{track_id}/waveform.svg",
        handler=waveform_svg,
        summary="Picture of the waveform that takes any size",
        caller=Caller.PLAYBACK,
        parameters=_PICTURE_PARAMETERS,
        answers=(Answer(about="The picture", media_type=SVG),),
        problems=(400,),
    ),
)
