"""Tracks: the list that the page shows, and what a player wants to know of one.

Owns: the shape of a track in JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from hls.asset import Asset, AssetLoudness
from hls.family import Family
from hls.segment_format import TRANSPORT_MASTER, SegmentFormat
from media_server.endpoints.admission import admit, require_admin
from media_server.endpoints.answer import JSON, json_answer, whole_number
from media_server.endpoints.conditional import Representation, respond, tag_of
from media_server.endpoints.operation import Answer, Caller, Operation, Parameter
from media_server.endpoints.services import services_of
from media_server.jobs.making import offered
from media_server.jobs.report import codec_name, download_path, manifest_path
from media_server.state.base import TrackSummary
from pipeline.ladder import RUNGS
from pipeline.outputs import Format

LIST_LIMIT: Final = 50
MAX_LIST_LIMIT: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackInList:
    track_id: str
    title: str | None
    artist: str | None
    duration_seconds: float
    created_at: str
    renditions: tuple[str, ...]
    stream_manifest_url: str
    cover_url: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackList:
    """Newest first; `next_cursor` asks for what follows."""

    tracks: tuple[TrackInList, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RenditionLoudness:
    """What a rendition measures once it is decoded; null as of a source."""

    integrated_lufs: float | None
    true_peak_dbtp: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackLoudness:
    """The source as measured, null for silence; the gain that was planned, and why; what came of it.

    `reason` is `target`, `limited` (reached behind a limiter at `limit_dbtp`), `ceiling` (the peaks left no
    room for more), `silence` or `off`; `measured` has every lossy rendition. In mode `album` gain and reason
    are those of the album, and `album_lufs` is what all of it measured, before the gain. Null or empty where
    an older version of the server made the track.
    """

    integrated_lufs: float | None
    true_peak_dbtp: float | None
    range_lu: float | None
    gain_db: float
    target_lufs: float
    momentary_max_lufs: float | None
    short_term_max_lufs: float | None
    mode: str | None
    reason: str | None
    ceiling_dbtp: float | None
    limit_dbtp: float | None
    planned_lufs: float | None
    album_lufs: float | None
    measured: Mapping[str, RenditionLoudness]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackRendition:
    """`bit_depth` is a lossless rendition's, null where an older version of the server made it."""

    name: str
    codec: str
    bitrate: int
    sample_rate: int
    channels: int
    bit_depth: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackDownload:
    """The track as one file; `bitrate` in bit/s, null for a lossless one."""

    format: str
    bitrate: int | None
    sample_rate: int
    bytes: int
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """A track as its listeners see it.

    `manifest_urls` has a playlist for each family of codecs there is, and AAC's in MPEG-TS as `ts`.
    `downloads` are the files that are made, `formats` the kinds that `audio.{format}` answers with: what is
    not made yet is when it is asked for.
    """

    track_id: str
    title: str | None
    artist: str | None
    album: str | None
    tags: Mapping[str, str]
    duration_seconds: float
    loudness: TrackLoudness
    renditions: tuple[TrackRendition, ...]
    downloads: tuple[TrackDownload, ...]
    formats: tuple[Format, ...]
    stream_manifest_url: str
    manifest_urls: Mapping[str, str]
    waveform_url: str | None
    cover_url: str | None
    visibility: str
    created_at: str
    warnings: tuple[str, ...]


def cover_url(track_id: str) -> str:
    return f"/tracks/{track_id}/cover"


def in_list(track: TrackSummary) -> TrackInList:
    """A track as the list shows it."""
    return TrackInList(
        track_id=track.track_id,
        title=track.title,
        artist=track.artist,
        duration_seconds=round(track.duration_s, 3),
        created_at=track.created_at,
        renditions=track.renditions,
        stream_manifest_url=f"/hls/{track.track_id}/{_master(track)}",
        cover_url=cover_url(track.track_id) if track.has_cover else None,
    )


def _master(track: TrackSummary) -> str:
    """What to play of a track of which only the names of its renditions are known."""
    if track.segment_format is SegmentFormat.TS:
        return TRANSPORT_MASTER
    codecs = {RUNGS[name].codec for name in track.renditions if name in RUNGS}
    return next((family for family in Family if family.codec in codecs), Family.AAC).master


def in_detail(asset: Asset) -> Track:
    """A track by itself."""
    return Track(
        track_id=asset.track_id,
        title=asset.title,
        artist=asset.artist,
        album=asset.tags.get("album"),
        tags=asset.tags,
        duration_seconds=round(asset.duration_s, 3),
        loudness=_loudness(asset.loudness),
        renditions=tuple(
            TrackRendition(
                name=rendition.name,
                codec=codec_name(rendition),
                bitrate=rendition.bitrate_bps,
                sample_rate=rendition.rate_hz,
                channels=rendition.channels,
                bit_depth=rendition.bit_depth,
            )
            for rendition in asset.renditions
        ),
        downloads=tuple(
            TrackDownload(
                format=download.format,
                bitrate=download.bitrate_bps,
                sample_rate=download.rate_hz,
                bytes=download.file.bytes,
                url=download_path(asset.track_id, download),
            )
            for download in asset.downloads
        ),
        formats=_formats(asset),
        stream_manifest_url=manifest_path(asset),
        manifest_urls=_manifest_urls(asset),
        waveform_url=f"/tracks/{asset.track_id}/waveform.json" if asset.waveform else None,
        cover_url=cover_url(asset.track_id) if asset.cover else None,
        visibility=asset.visibility,
        created_at=asset.created_at,
        warnings=asset.warnings,
    )


def _formats(asset: Asset) -> tuple[Format, ...]:
    there = {download.format for download in asset.downloads} | {one.format for one in offered(asset)}
    as_streamed = {Format.M4A} if asset.family(Family.AAC) else set()
    return tuple(fmt for fmt in Format if fmt in there | as_streamed)


def _manifest_urls(asset: Asset) -> dict[str, str]:
    masters = {str(family): family.master for family in asset.families}
    if asset.carried(SegmentFormat.TS):
        masters[str(SegmentFormat.TS)] = TRANSPORT_MASTER
    return {name: f"/hls/{asset.track_id}/{master}" for name, master in masters.items()}


def _loudness(told: AssetLoudness) -> TrackLoudness:
    return TrackLoudness(
        integrated_lufs=_rounded(told.integrated_lufs),
        true_peak_dbtp=_rounded(told.true_peak_dbtp),
        range_lu=_rounded(told.range_lu),
        gain_db=round(told.gain_db, 2),
        target_lufs=told.target_lufs,
        momentary_max_lufs=_rounded(told.momentary_max_lufs),
        short_term_max_lufs=_rounded(told.short_term_max_lufs),
        mode=told.mode,
        reason=told.reason,
        ceiling_dbtp=told.ceiling_dbtp,
        limit_dbtp=_rounded(told.limit_dbtp),
        planned_lufs=_rounded(told.planned_lufs),
        album_lufs=None if told.album is None else _rounded(told.album.integrated_lufs),
        measured={
            name: RenditionLoudness(
                integrated_lufs=_rounded(coded.integrated_lufs), true_peak_dbtp=_rounded(coded.true_peak_dbtp)
            )
            for name, coded in told.measured.items()
        },
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


async def listed(request: Request) -> Response:
    """GET /tracks"""
    services = services_of(request)
    if not services.settings.playback_is_open:
        require_admin(request)
    limit = whole_number(request, "limit", default=LIST_LIMIT, most=MAX_LIST_LIMIT)
    page = await services.state.tracks(limit=limit, cursor=request.query_params.get("cursor"))
    return json_answer(
        TrackList(tracks=tuple(in_list(track) for track in page.items), next_cursor=page.next_cursor)
    )


async def detail(request: Request) -> Response:
    """GET /tracks/{track_id}"""
    admission = await admit(request, request.path_params["track_id"])
    body = orjson.dumps(in_detail(admission.asset))
    return respond(
        request,
        Representation(
            body=body,
            media_type=JSON,
            tag=tag_of(body),
            cache_control=admission.cache_control("no-cache"),
            compressible=True,
        ),
    )


OPERATIONS: Final = (
    Operation(
        path="/tracks",
        handler=listed,
        summary="Tracks, newest first; open where playback is, else for administrators",
        caller=Caller.ADMIN,
        parameters=(
            Parameter(
                name="limit",
                about="How many, at most",
                schema={"type": "integer", "minimum": 1, "maximum": MAX_LIST_LIMIT, "default": LIST_LIMIT},
            ),
            Parameter(name="cursor", about="next_cursor of the page before", schema={"type": "string"}),
        ),
        answers=(Answer(about="One page", media_type=JSON, body=TrackList),),
        problems=(400,),
    ),
    Operation(
        path="/tracks/{track_id}",
        handler=detail,
        summary="One track",
        caller=Caller.PLAYBACK,
        answers=(Answer(about="The track", media_type=JSON, body=Track),),
    ),
)
