"""Puts a published track together from its child's events.

Pure: events in, files to store out, and at the end the Asset that names them all. Both the server and
`media-server transcode` use it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Literal

import orjson

from hls.asset import (
    Asset,
    AssetDownload,
    AssetSource,
    CodedLoudness,
    StoredFile,
)
from hls.segment_format import SegmentFormat
from media_server.errors import Unavailable
from media_server.jobs.downloads import LocalFile, download_of
from media_server.jobs.events import (
    Drawn,
    Event,
    FileMade,
    Initialised,
    LadderMade,
    Planned,
    Probed,
    Remeasured,
    SegmentMade,
)
from media_server.jobs.job import JobRequest
from media_server.jobs.loudness import told_loudness
from media_server.jobs.rungs import MEDIA_TYPE, Rungs

PIPELINE_VERSION = "7"
"""Raised whenever the same source and options would give other bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """Something to store under the version's folder: `path` is relative to it, with slashes."""

    path: str
    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whose bytes these are: what the Asset says of the job and the source beside the sound.

    `warnings` are of what was done with the source before its child began. `remade_by` is the job that makes
    another version of the same upload, `job_id` stays the upload's.
    """

    job_id: str
    created_at: str
    order: str
    source_sha256: str
    source_bytes: int
    source_title: str | None = None
    warnings: tuple[str, ...] = ()
    remade_by: str | None = None
    calls_back: bool = True


class Assembly:
    """Take events in order with `take`; after `LadderMade`, `asset` is the whole."""

    def __init__(self, request: JobRequest, identity: Identity) -> None:
        self._request = request
        self._identity = identity
        self._probed: Probed | None = None
        self._planned: Planned | None = None
        self._rungs = Rungs()
        self._drawn: dict[str, StoredFile] = {}
        self._downloads: list[AssetDownload] = []
        self._measured: dict[str, CodedLoudness] = {}
        self._dropped: list[str] = []
        self._made: LadderMade | None = None

    @property
    def track_id(self) -> str:
        return self._request.track_id

    @property
    def is_public(self) -> bool:
        """Whoever asks may hear it."""
        return self._request.visibility == "public"

    @property
    def version(self) -> str:
        """The name of what is made: a hash of the source, the options, the plan and the pipeline.

        Raises:
            Unavailable: `child_protocol`, asked for before the plan was told.
        """
        made_of = {
            "source": self._identity.source_sha256,
            "options": self._request.options.model_dump(mode="json"),
            "gain_db": round(self._plan.gain_db, 6),
            "limit_dbtp": None if self._plan.limit_dbtp is None else round(self._plan.limit_dbtp, 6),
            "is_thorough": self._plan.is_thorough,
            "pipeline": PIPELINE_VERSION,
        }
        return hashlib.sha256(orjson.dumps(made_of, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]

    @property
    def dropped(self) -> tuple[str, ...]:
        """Versions of which files were stored before the plan was taken back: nothing will name them."""
        return tuple(version for version in self._dropped if version != self.version)

    def take(self, event: Event, payload: bytes) -> list[File]:
        """What is to be stored because of this event.

        Raises:
            Unavailable: `child_protocol`, the event does not follow from those before it.
        """
        match event:
            case Probed():
                self._probed = event
            case Planned():
                self._plan_anew(event)
            case Remeasured():
                self._measured[event.rendition] = CodedLoudness(
                    integrated_lufs=event.integrated_lufs, true_peak_dbtp=event.true_peak_dbtp
                )
            case LadderMade():
                self._made = event
            case Drawn():
                return [self._drawing(event, payload)]
            case Initialised():
                return [_media(self._rungs.begin(event, payload), payload)]
            case SegmentMade():
                return [_media(self._rungs.add(event, payload), payload)]
        return []

    def take_download(self, event: FileMade, made: LocalFile) -> StoredFile:
        """What a whole file is stored as, in the folder `downloads`."""
        download = download_of(event, made)
        self._downloads.append(download)
        return download.file

    def _plan_anew(self, event: Planned) -> None:
        if self._planned is not None:
            self._dropped.append(self.version)
        self._planned = event
        self._rungs, self._drawn, self._downloads = Rungs(), {}, []

    def _drawing(self, event: Drawn, payload: bytes) -> File:
        extension = "dat" if event.what == "waveform" else "jpg"
        sha256 = hashlib.sha256(payload).hexdigest()
        name = f"{event.what}-{sha256[:8]}.{extension}"
        self._drawn[event.what] = StoredFile(
            name=name, bytes=len(payload), sha256=sha256, media_type=event.media_type
        )
        return File(path=name, data=payload, media_type=event.media_type)

    @property
    def _plan(self) -> Planned:
        if self._planned is None:
            raise Unavailable("child_protocol", "the job's process has not told its plan")
        return self._planned

    @property
    def probed(self) -> Probed:
        """What the source is; see `version` for when it may be asked."""
        if self._probed is None:
            raise Unavailable("child_protocol", "the job's process has not told what the source is")
        return self._probed

    @property
    def asset(self) -> Asset:
        """The whole, complete; with the files beside the ladder that are there by now.

        Raises:
            Unavailable: `child_protocol`, before `LadderMade`, or a rendition is not as long as planned.
        """
        if self._made is None or not self._rungs:
            raise Unavailable("child_protocol", "the job's process has not made the ladder")
        return self._as_whole(self._made.warnings)

    @property
    def missed(self) -> Asset:
        """After `LadderMissed`: complete as well, but not as loud as planned; another version follows.

        Raises:
            Unavailable: `child_protocol`, a rendition is not as long as planned.
        """
        return replace(self._as_whole((*self._plan.warnings, "loudness_missed")), is_final=False)

    @property
    def growing(self) -> Asset | None:
        """What can be heard so far; None until there is a segment of every rendition that begins."""
        if self._planned is None or not self._planned.begins:
            return None
        if not self._rungs.have_begun(self._planned.begins):
            return None
        return self._of("growing", self._planned.warnings)

    def _as_whole(self, warnings: tuple[str, ...]) -> Asset:
        self._rungs.must_be_whole(self._plan.samples)
        return self._of("complete", warnings)

    def _of(self, state: Literal["growing", "complete"], warnings: tuple[str, ...]) -> Asset:
        plan, request, identity = self._plan, self._request, self._identity
        tags, renditions = self.probed.tags, self._rungs.renditions
        return Asset(
            track_id=request.track_id,
            version=self.version,
            state=state,
            job_id=identity.job_id,
            created_at=identity.created_at,
            order=identity.order,
            source_version=request.source_version,
            pipeline_version=PIPELINE_VERSION,
            source_sha256=identity.source_sha256,
            source_bytes=identity.source_bytes,
            duration_samples=plan.samples,
            visibility=request.visibility,
            user_id=request.user_id,
            title=request.title or tags.get("title") or identity.source_title,
            artist=request.artist or tags.get("artist"),
            tags=dict(tags),
            loudness=told_loudness(
                plan,
                request.options.loudness,
                {one.name: self._measured[one.name] for one in renditions if one.name in self._measured},
            ),
            renditions=renditions,
            waveform=self._drawn.get("waveform"),
            cover=self._drawn.get("cover"),
            warnings=(*identity.warnings, *warnings),
            segment_format=SegmentFormat(request.options.segment_format),
            downloads=tuple(self._downloads),
            source=self._source,
            options=request.options.model_dump(mode="json"),
            album_id=request.album_id,
            remade_by=identity.remade_by,
            calls_back=identity.calls_back,
        )

    @property
    def _source(self) -> AssetSource:
        probed, where = self.probed, self._request.source
        return AssetSource(
            container=probed.container,
            codec=probed.codec,
            rate_hz=probed.rate_hz,
            channels=probed.channels,
            bit_depth=probed.bit_depth,
            bit_rate_bps=probed.bit_rate_bps,
            bucket=where.bucket,
            key=where.key,
            path=where.path,
        )


def _media(path: str, payload: bytes) -> File:
    return File(path=path, data=payload, media_type=MEDIA_TYPE)
