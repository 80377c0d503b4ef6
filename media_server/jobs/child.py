"""What runs in a job's child process: one source file in, events out.

`produce` is the whole pipeline as a generator, from the probe to the last file; `main` puts it into the
cage and onto the pipe.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from media_server.jobs import cage
from media_server.jobs.events import (
    Drawn,
    Finished,
    LadderMade,
    Message,
    Probed,
    Progress,
    failed,
    pack,
)
from media_server.jobs.filing import FileOrder, Source, make_file, shaped_blocks, shaper_of
from media_server.jobs.intent import WantedMode, intent_of
from media_server.jobs.renditions import PROGRESS_STEP
from media_server.jobs.rounds import make_ladder
from pipeline.album import Share
from pipeline.analyze import Analysis, Analyzer
from pipeline.carried import fill
from pipeline.chain import Chain
from pipeline.decode import Reader
from pipeline.equalizer import Band
from pipeline.errors import LimitExceeded, Malformed, MediaError, Unsupported
from pipeline.ladder import Ladder, ladder_for
from pipeline.media import Cover, MediaInfo
from pipeline.normalize import GainPlan
from pipeline.outputs import Output, has_left_out, outputs_for
from pipeline.probe import open_source, probe
from pipeline.replaygain import FileLoudness
from pipeline.tags import clean_tags, read_cover

NO_THREAD = "can't start new thread"
"""What Python says where there is no memory for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the child is asked to do, and within which limits.

    `tags` are the job's own and go before the source's in every file; `source_title` is behind both. In mode
    `album`, `others` is what the other tracks bring to it, and `most_gain_db` what this one was seen to bear
    when it was made before, if it was.
    """

    source: Path
    ladder: tuple[str, ...]
    mode: WantedMode
    target_lufs: float
    ceiling_dbtp: float
    max_duration_s: float
    memory_bytes: int
    equalizer: tuple[Band, ...] = ()
    outputs: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    source_title: str | None = None
    others: Share = field(default_factory=Share)
    most_gain_db: float | None = None


def main(order: Order | FileOrder, connection: Connection) -> None:
    """The child's life: cage, work, last word. Ends with its parent."""
    cage.enter(order.source, order.memory_bytes)
    try:
        for event, payload in produce(order) if isinstance(order, Order) else produce_file(order):
            connection.send_bytes(pack(event, payload))
    except MediaError as error:
        connection.send_bytes(pack(failed(error if cage.has_room() else _too_much(order))))
    except MemoryError:
        connection.send_bytes(pack(failed(_too_much(order))))
    except RuntimeError as error:
        if str(error) != NO_THREAD:
            raise
        connection.send_bytes(pack(failed(_too_much(order))))
    finally:
        connection.close()


def _too_much(order: Order | FileOrder) -> LimitExceeded:
    limits = {"JOB_MEMORY_BYTES": float(order.memory_bytes)}
    return LimitExceeded("limit_memory", "the file needs more memory than a job may use", limits)


def produce(order: Order) -> Iterator[Message]:
    """The pipeline over one source.

    Raises:
        MediaError: the source cannot become a track.
    """
    info = probe(order.source)
    yield _probed(info), b""
    cage.allow_cpu(order.max_duration_s)
    cover, cover_warnings = _cover(order.source, info)
    reader = Reader(order.source, order.max_duration_s)
    analysis = yield from _analyze(order, reader, info)
    assert reader.carried is not None  # its one pass is over
    ladder, ladder_warnings = fill(ladder_for(analysis.channels, order.ladder), reader.carried)
    outputs = outputs_for(order.outputs, info, analysis.channels)
    left_out = ("output_left_out",) if has_left_out(order.outputs, outputs) else ()
    has_lossless = any(made.codec.is_lossless for made in ladder) or any(
        o.format.is_lossless for o in outputs
    )
    clipped = ("clipped_lossless",) if has_lossless and reader.carried.passes_full_scale else ()
    silent = ("silent",) if analysis.true_peak_dbtp is None else ()
    warnings = (*reader.warnings, *cover_warnings, *silent, *ladder_warnings, *left_out, *clipped)

    intent = intent_of(
        analysis,
        ladder,
        mode=order.mode,
        target_lufs=order.target_lufs,
        ceiling_dbtp=order.ceiling_dbtp,
        others=order.others,
        most_gain_db=order.most_gain_db,
    )

    def opening(plan: GainPlan, ladder: Ladder) -> Iterator[Message]:
        yield intent.told(plan, ladder, warnings), b""
        yield Drawn(what="waveform", media_type="application/octet-stream"), analysis.waveform.to_dat(16)
        if cover is not None:
            yield Drawn(what="cover", media_type=cover.media_type), cover.data

    plan, missed = yield from make_ladder(
        ladder,
        intent,
        opening=opening,
        track=lambda: shaped_blocks(Reader(order.source, order.max_duration_s), order.equalizer),
        untouched=lambda: Reader(order.source, order.max_duration_s),
        max_duration_s=order.max_duration_s,
    )
    source = Source(
        path=order.source,
        max_duration_s=order.max_duration_s,
        equalizer=order.equalizer,
        samples=analysis.samples,
        plan=plan,
        loudness=FileLoudness(
            integrated_lufs=analysis.loudness.integrated_lufs, true_peak_dbtp=analysis.true_peak_dbtp
        ),
        album=intent.album,
        tags=clean_tags(order.tags, info.tags, {"title": order.source_title or ""}),
        cover=cover,
    )
    yield LadderMade(warnings=(*warnings, *(("loudness_missed",) if missed else ()))), b""
    yield from _make_files(source, outputs)
    yield Finished(), b""


def produce_file(order: FileOrder) -> Iterator[Message]:
    """One more file of a source.

    Raises:
        MediaError: as `produce`; `output_left_out`, the source cannot give it.
    """
    info = probe(order.source)
    yield _probed(info), b""
    cage.allow_cpu(order.max_duration_s)
    cover, _ = _cover(order.source, info)
    source = Source(
        path=order.source,
        max_duration_s=order.max_duration_s,
        equalizer=order.equalizer,
        samples=order.samples,
        plan=order.plan,
        loudness=order.loudness,
        album=order.album,
        tags=clean_tags(order.tags),
        cover=cover,
    )
    outputs = outputs_for((order.output,), info, order.channels)
    if order.output not in [output.name for output in outputs]:
        raise Unsupported("output_left_out", f"the source cannot give {order.output}")
    yield from make_file(source, outputs[0])
    yield Finished(), b""


def _make_files(source: Source, outputs: tuple[Output, ...]) -> Iterator[Message]:
    """Whole files, for which no listener waits: while they are made the track is live."""
    for number, output in enumerate(outputs, start=1):
        cage.allow_cpu(source.max_duration_s)
        yield from make_file(source, output)
        yield Progress(stage="publish", fraction=number / len(outputs)), b""


def _cover(source: Path, info: MediaInfo) -> tuple[Cover | None, tuple[str, ...]]:
    """The picture, if there is one; a bad picture costs a warning, never the track."""
    if not info.has_cover:
        return None, ()
    try:
        with open_source(source) as container:
            return read_cover(container), ()
    except Malformed:
        return None, ("bad_cover",)


def _analyze(order: Order, reader: Reader, info: MediaInfo) -> Generator[Message, None, Analysis]:
    analyzer: Analyzer | None = None
    shaper: Chain | None = None
    expected = (info.duration_s or 0.0) * info.rate_hz
    told = 0.0
    for block in reader:
        if shaper is None or analyzer is None:
            channels = block.pcm.shape[0]
            shaper = shaper_of(order.equalizer, reader.rate_hz, channels)
            analyzer = Analyzer(channels)
        for shaped in shaper.push(block):
            analyzer.push(shaped)
        fraction = min(block.end / expected, 1.0) if expected else 0.0
        if fraction - told >= PROGRESS_STEP:
            told = fraction
            yield Progress(stage="analyze", fraction=fraction), b""
    assert shaper is not None
    assert analyzer is not None
    for shaped in shaper.flush():
        analyzer.push(shaped)
    analysis = analyzer.result()
    if not analysis.samples:  # one sample at 192 kHz is less than half of one at 48 kHz
        raise Malformed("no_audio_data", "the audio is shorter than one sample at 48 kHz")
    return analysis


def _probed(info: MediaInfo) -> Probed:
    return Probed(
        container=info.container,
        codec=info.codec,
        rate_hz=info.rate_hz,
        channels=info.channels,
        bit_depth=info.bit_depth,
        bit_rate_bps=info.bit_rate_bps,
        duration_s=info.duration_s,
        tags=dict(info.tags),
    )
