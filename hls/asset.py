"""The published track: what `asset.json` says, and the playlists it renders.

Owns: the pointer to a track's live version. It lists only files that are stored; playlists are rendered
from it for each request, so that each may carry its own query. A `growing` asset is a version in the making.
Source: bis 4.4 (playlists), 6.2.4 (variants must match).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter

from hls.family import Family
from hls.loudness import AssetAlbum, AssetLoudness, CodedLoudness
from hls.multivariant import MultivariantPlaylist, Variant, average_bandwidth_bps, peak_bandwidth_bps
from hls.playlist import MediaPlaylist, PlaylistSegment, PlaylistType, target_duration_s
from hls.segment_format import TRANSPORT_MASTER, SegmentFormat
from hls.stored import StoredFile, StoredSegment
from pipeline.grid import RATE_HZ, SEGMENT_SAMPLES

__all__ = [
    "Asset",
    "AssetAlbum",
    "AssetDownload",
    "AssetLoudness",
    "AssetRendition",
    "AssetSource",
    "CodedLoudness",
    "StoredFile",
    "StoredSegment",
]

GRID_TARGET_DURATION_S = target_duration_s(SEGMENT_SAMPLES, RATE_HZ)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetRendition:
    """One rung as it is stored, in the folder of its name.

    `codec` is RFC 6381's name; `bitrate_bps` is the encoder's setting, of a lossless rendition what it took.
    `bit_depth` is a lossless rendition's; an older version did not tell it.
    """

    name: str
    codec: str
    bitrate_bps: int
    rate_hz: int
    channels: int
    priming_samples: int
    init: StoredFile
    segments: tuple[StoredSegment, ...]
    bit_depth: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetSource:
    """What the track was made of, as the probe saw it, and where it lies; a lossy one has no `bit_depth`.

    Neither `bucket` and `key` nor `path`: it was uploaded, and is kept.
    """

    container: str
    codec: str
    rate_hz: int
    channels: int
    bit_depth: int | None
    bit_rate_bps: int | None
    bucket: str | None = None
    key: str | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetDownload:
    """The track as one file, stored in the folder `downloads`.

    `format` is the file's extension, `bitrate_bps` the encoder's setting, None for a lossless file.
    """

    name: str
    format: str
    bitrate_bps: int | None
    rate_hz: int
    channels: int
    file: StoredFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A version of a track.

    `order` says which upload is newer (RFC 3339, when it was accepted), unless `source_version` does.
    `duration_samples` counts presented samples at 48 kHz. Renditions stand in the order of the ladder.
    `is_final` unless its job still makes another version, for this one misses its plan.
    `options` are the job's: what a further file of the track is made by.
    `segment_format` is what its job asked to be offered first; the other is there as well.
    `job_id` is the upload's. `remade_by` is the job that made it anew since, for another gain of its album.
    Of an upload that does not call back nobody is told.
    """

    track_id: str
    version: str
    state: Literal["growing", "complete"]
    job_id: str
    created_at: str
    order: str
    source_version: int | None
    pipeline_version: str
    source_sha256: str
    source_bytes: int
    duration_samples: int
    visibility: Literal["public", "unlisted", "private"]
    user_id: str | None
    title: str | None
    artist: str | None
    tags: dict[str, str]
    loudness: AssetLoudness
    renditions: tuple[AssetRendition, ...]
    waveform: StoredFile | None
    cover: StoredFile | None
    warnings: tuple[str, ...]
    segment_format: SegmentFormat = SegmentFormat.FMP4
    downloads: tuple[AssetDownload, ...] = ()
    source: AssetSource | None = None
    options: dict[str, Any] = field(default_factory=dict)
    is_final: bool = True
    album_id: str | None = None
    remade_by: str | None = None
    calls_back: bool = True

    @classmethod
    def from_json(cls, text: bytes) -> Asset:
        """Read `asset.json`. Keys it does not know are left out: a newer server may have written it.

        Raises:
            ValueError: not JSON, or not an asset (pydantic's ValidationError names the field).
        """
        return _ADAPTER.validate_json(text)

    def to_json(self) -> bytes:
        """`asset.json`; the same asset gives the same bytes."""
        return _ADAPTER.dump_json(self)

    @property
    def duration_s(self) -> float:
        """Presented seconds."""
        return self.duration_samples / RATE_HZ

    def rendition(self, name: str) -> AssetRendition:
        """The rendition called `name`.

        Raises:
            KeyError: there is none.
        """
        for rendition in self.renditions:
            if rendition.name == name:
                return rendition
        raise KeyError(name)

    @property
    def master(self) -> str:
        """The file name of the multivariant playlist to play where nobody asks for another."""
        if self.segment_format is SegmentFormat.TS and self.carried(SegmentFormat.TS):
            return TRANSPORT_MASTER
        return next(iter(self.families), Family.AAC).master

    def carried(self, segment_format: SegmentFormat) -> tuple[AssetRendition, ...]:
        """The renditions that can be offered in the format, lowest first; there may be none."""
        return tuple(r for r in self.renditions if segment_format.carries(r.codec, r.rate_hz))

    def media_playlist(
        self, rendition_name: str, query: str = "", segment_format: SegmentFormat = SegmentFormat.FMP4
    ) -> MediaPlaylist:
        """The media playlist of a rendition; its URIs are relative to `/hls/{track_id}/`.

        Args:
            query: put behind every URI, init too; without the question mark.
            segment_format: one that carries the rendition.
        Raises:
            KeyError: no such rendition.
        """
        return self._media_playlist(self.rendition(rendition_name), query, segment_format)

    @property
    def families(self) -> tuple[Family, ...]:
        """The families that have a rendition here, the one to offer first in front."""
        return tuple(family for family in Family if self.family(family))

    def family(self, family: Family) -> tuple[AssetRendition, ...]:
        """Its renditions, lowest first; there may be none."""
        return tuple(r for r in self.renditions if r.codec == family.codec.rfc6381)

    def multivariant(
        self,
        query_for: Callable[[str], str] | None = None,
        family: Family = Family.AAC,
        segment_format: SegmentFormat = SegmentFormat.FMP4,
    ) -> MultivariantPlaylist:
        """The multivariant playlist of a family; its URIs are relative to `/hls/{track_id}/`.

        A rendition of which nothing is stored yet is left out: players give up on an empty list.

        Args:
            query_for: gives the query of a rendition's playlist (by the rendition's name), without the
                question mark, empty for none.
        Raises:
            ValueError: no rendition of the family has a segment yet.
        """
        return MultivariantPlaylist(
            variants=tuple(
                self._variant(rendition, query_for(rendition.name) if query_for else "", segment_format)
                for rendition in self.family(family)
                if rendition.segments and segment_format.carries(rendition.codec, rendition.rate_hz)
            )
        )

    def _media_playlist(
        self, rendition: AssetRendition, query: str, segment_format: SegmentFormat
    ) -> MediaPlaylist:
        folder = f"{self.version}/{rendition.name}/"
        growing = self.state == "growing"
        return MediaPlaylist(
            kind=PlaylistType.EVENT if growing else PlaylistType.VOD,
            rate_hz=rendition.rate_hz,
            map_uri=(
                _with_query(folder + rendition.init.name, query)
                if segment_format is SegmentFormat.FMP4
                else None
            ),
            segments=tuple(
                PlaylistSegment(uri=_with_query(folder + segment.name, query), duration=segment.duration)
                for segment in segment_format.offered(rendition.segments)
            ),
            ended=not growing,
            target_duration_at_least_s=self._least_target_duration_s,
        )

    @property
    def _least_target_duration_s(self) -> int:
        """bis 4.4.3.1: it must not change while the list grows."""
        return GRID_TARGET_DURATION_S if self.state == "growing" else 1

    def _variant(self, rendition: AssetRendition, query: str, segment_format: SegmentFormat) -> Variant:
        segments, rate_hz = segment_format.offered(rendition.segments), rendition.rate_hz
        longest = max(segment.duration for segment in segments)
        target_s = max(self._least_target_duration_s, target_duration_s(longest, rate_hz))
        peak_bps = peak_bandwidth_bps(segments, target_s, rate_hz)
        average_bps = average_bandwidth_bps(segments, rate_hz)
        if self.state == "growing":
            # A 1.26-1.30: before the content exists, the values of similar content; a quiet intro is not it
            peak_bps = max(peak_bps, rendition.bitrate_bps)
            average_bps = max(average_bps, rendition.bitrate_bps)
        return Variant(
            uri=_with_query(segment_format.playlist(rendition.name), query),
            bandwidth_bps=peak_bps,
            average_bandwidth_bps=average_bps,
            codecs=(rendition.codec,),
        )


def _with_query(uri: str, query: str) -> str:
    return f"{uri}?{query}" if query else uri


_ADAPTER = TypeAdapter(Asset)
