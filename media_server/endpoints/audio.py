"""A track as one file, for players that know no streaming and for those who keep it:
GET /tracks/{track_id}/audio.{mp3,m4a,ogg,opus,flac}

Owns: which file is meant, and that it is never whole in memory. A file of the asset's downloads is read in
parts; one that the source can give and nobody has asked for yet is made first. An M4A that was not made as a
file is a rendition as it is stored, its init segment and its media segments one after the other: nothing is
encoded and nothing muxed again.
Source: RFC 9110 14 (ranges); ISO/IEC 14496-12 8.8 (a movie in fragments is a file like any other).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from hls.asset import Asset, AssetDownload, AssetRendition
from hls.family import Family
from hls.whole import Slice, WholeFile
from media_server.endpoints.admission import admit
from media_server.endpoints.attachment import attachment
from media_server.endpoints.conditional import has_already, part_of
from media_server.endpoints.hls import COMPLETE_FOR_S
from media_server.endpoints.makings import refusal
from media_server.endpoints.operation import Answer, Caller, Handler, Operation, Parameter
from media_server.endpoints.services import Services, services_of
from media_server.errors import BadRequest, NotFound, Unavailable
from media_server.jobs.making import offered
from media_server.storage.assets import download_key
from pipeline.grid import RATE_HZ
from pipeline.outputs import Format, Output

READY_SOON_S: Final = 1.0
BITS_PER_KBIT: Final = 1000
PART_BYTES: Final = 1 << 19
"""Read from the storage at once: some seconds of sound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """One file: `read` gives the bytes from the first to the last, both included.

    It is None where the file is to be made first, as `output`.
    """

    name: str
    bitrate_bps: int | None
    rate_hz: int
    size_bytes: int
    read: Callable[[int, int], AsyncIterator[bytes]] | None
    output: Output | None = None


def _handler(fmt: Format) -> Handler:
    async def handle(request: Request) -> Response:
        try:
            return await _answer(request, fmt)
        except NotFound as gone:
            if gone.code != "object_not_found":
                raise
            # another process has put a file with other words in its place since this one read the asset
            services_of(request).assets.forget(request.path_params["track_id"])
            return await _answer(request, fmt)

    return handle


async def _answer(request: Request, fmt: Format) -> Response:
    services = services_of(request)
    admission = await admit(request, request.path_params["track_id"])
    asset = admission.asset
    if asset.state == "growing":
        raise Unavailable("track_not_ready", "the track is still being made", retry_after_s=READY_SOON_S)
    file = chosen(_files(services, asset, fmt), fmt, request.query_params)
    if file.read is None:
        assert file.output is not None
        raise await refusal(request, asset, file.output)
    tag = f'"{asset.version}-{file.name}"'
    headers = {
        "ETag": tag,
        "Cache-Control": admission.cache_control(f"max-age={COMPLETE_FOR_S}"),
        "Accept-Ranges": "bytes",
        "Content-Disposition": attachment(asset.title, asset.artist, asset.track_id, fmt.value),
    }
    if has_already(request, tag):
        return Response(status_code=304, headers=headers)
    part = part_of(request, tag, file.size_bytes)
    first, last = (part.first, part.last) if part else (0, file.size_bytes - 1)
    headers["Content-Length"] = str(last + 1 - first)
    if part:
        headers["Content-Range"] = f"bytes {first}-{last}/{file.size_bytes}"
    if request.method == "HEAD":
        return Response(headers=headers, media_type=fmt.media_type)
    pieces = file.read(first, last)
    begun = await anext(pieces)  # before the headers promise what is not there any more
    body = _counted(services, begun, pieces)
    return StreamingResponse(body, 206 if part else 200, headers, fmt.media_type)


async def _counted(services: Services, begun: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    services.metrics.media_sent(len(begun))
    yield begun
    async for data in pieces:
        services.metrics.media_sent(len(data))
        yield data


def _files(services: Services, asset: Asset, fmt: Format) -> list[_File]:
    """The files of a format that there are or can be, each once, the best last; what is made goes first."""
    made = [_download(services, asset, one) for one in asset.downloads if one.format == fmt.value]
    renditions = asset.family(Family.AAC) if fmt is Format.M4A else ()
    as_streamed = [_rendition(services, asset, one) for one in renditions]
    to_make = [_to_make(output) for output in offered(asset) if output.format is fmt]
    best: dict[tuple[int | None, int], _File] = {}
    for file in [*made, *as_streamed, *to_make]:
        best.setdefault((file.bitrate_bps, file.rate_hz), file)
    return sorted(best.values(), key=_quality)


def chosen(files: list[_File], fmt: Format, asked: Mapping[str, str]) -> _File:
    """The file of the bit rate (in kbit/s) and the sample rate that are asked for; without one the best.

    What is there goes before what is to be made.

    Raises:
        BadRequest: `bitrate_not_allowed`, `rate_not_allowed`.
        NotFound: `rendition_not_found`, the track has no file of this format at all.
    """
    if not files:
        raise NotFound("rendition_not_found", f"the track has no {fmt} file")
    for name in ("bitrate", "rate"):
        if name in asked:
            found = [file for file in files if _value(file, name) == asked[name]]
            if not found:
                there = ", ".join(dict.fromkeys(_value(file, name) for file in files))
                raise BadRequest(
                    f"{name}_not_allowed", f"{name} is not one of this track's, which are {there}"
                )
            files = found
    return max(files, key=lambda file: (file.read is not None, *_quality(file)))


def _quality(file: _File) -> tuple[int, int]:
    # of a lossy file a rate over 48 kHz is for those who ask for it: there is no more in it
    has_more = file.bitrate_bps is None or file.rate_hz <= RATE_HZ
    return (file.bitrate_bps or 0, file.rate_hz if has_more else 0)


def _value(file: _File, name: str) -> str:
    if name == "rate":
        return str(file.rate_hz)
    return str(file.bitrate_bps // BITS_PER_KBIT) if file.bitrate_bps else "lossless"


def _download(services: Services, asset: Asset, one: AssetDownload) -> _File:
    key = download_key(asset.track_id, asset.version, one.file.name)

    async def read(first: int, last: int) -> AsyncIterator[bytes]:
        for start in range(first, last + 1, PART_BYTES):
            yield await services.assets.part(key, start, min(start + PART_BYTES, last + 1))

    return _File(
        name=one.file.name,
        bitrate_bps=one.bitrate_bps,
        rate_hz=one.rate_hz,
        size_bytes=one.file.bytes,
        read=read,
    )


def _to_make(output: Output) -> _File:
    return _File(
        name=output.name,
        bitrate_bps=output.bitrate_bps,
        rate_hz=output.rate_hz,
        size_bytes=0,
        read=None,
        output=output,
    )


def _rendition(services: Services, asset: Asset, rendition: AssetRendition) -> _File:
    whole = WholeFile.of(rendition)

    async def read(first: int, last: int) -> AsyncIterator[bytes]:
        for piece in whole.slices(first, last):
            yield await _slice(services, asset, rendition.name, piece)

    return _File(
        name=rendition.name,
        bitrate_bps=rendition.bitrate_bps,
        rate_hz=rendition.rate_hz,
        size_bytes=whole.size_bytes,
        read=read,
    )


async def _slice(services: Services, asset: Asset, rendition: str, piece: Slice) -> bytes:
    data = await services.assets.file(asset.track_id, asset.version, rendition, piece.name)
    return data[piece.first : piece.last + 1]


def _operation(fmt: Format) -> Operation:
    return Operation(
        path=f"/tracks/{{track_id}}/audio.{fmt}",
        handler=_handler(fmt),
        summary=f"The track as one {fmt} file",
        caller=Caller.PLAYBACK,
        parameters=(
            Parameter(
                name="bitrate",
                about="In kbit/s; without, the highest that is there",
                schema={"type": "integer", "minimum": 1},
            ),
            Parameter(
                name="rate",
                about="The sample rate in Hz; without, the best that is there, of lossy files up to 48000",
                schema={"type": "integer", "minimum": 1},
            ),
        ),
        answers=(
            Answer(about="The file", media_type=fmt.media_type),
            Answer(status=206, about="One range of it", media_type=fmt.media_type),
        ),
        problems=(400, 409, 416, 503),
    )


OPERATIONS: Final = tuple(_operation(fmt) for fmt in Format)
