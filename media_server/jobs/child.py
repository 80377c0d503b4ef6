"""What runs in a job's child process: one source file in, events out.

`produce` is the whole pipeline as a generator, from the probe to the last segment; `main` puts it into the
cage and onto the pipe.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from hls.cmaf import Track, init_segment
from hls.segmenter import Segment, Segmenter
from media_server.jobs import cage
from media_server.jobs.events import (
    Drawn,
    Event,
    Finished,
    Initialised,
    Planned,
    Probed,
    Progress,
    Remeasured,
    SegmentMade,
    failed,
    pack,
)
from pipeline.analyze import Analysis, Analyzer
from pipeline.audit import Audits, is_faithful
from pipeline.carried import fill
from pipeline.chain import Chain
from pipeline.decode import Reader
from pipeline.encode import Encoder
from pipeline.equalizer import Band, Equalizer
from pipeline.errors import LimitExceeded, Malformed, MediaError
from pipeline.ladder import Ladder, ladder_for
from pipeline.level import Level
from pipeline.media import Block, MediaInfo, Packet
from pipeline.normalize import CodedLoudness, Gain, GainPlan, Mode, corrected, misses, plan_gain
from pipeline.plan import final
from pipeline.probe import open_source, probe
from pipeline.resample import Resampler
from pipeline.stage import Stage
from pipeline.tags import read_cover
from pipeline.transcode import encode_ladder

PROGRESS_STEP = 0.01
LOSSY_SHARE = 0.9
"""Of the time that the default ladder and a lossless rendition take together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the child is asked to do, and within which limits."""

    source: Path
    ladder: tuple[str, ...]
    mode: Mode
    target_lufs: float
    ceiling_dbtp: float
    max_duration_s: float
    memory_bytes: int
    equalizer: tuple[Band, ...] = ()


Message = tuple[Event, bytes]


def main(order: Order, connection: Connection) -> None:
    """The child's life: cage, work, last word. Ends with its parent."""
    cage.enter(order.source, order.memory_bytes)
    try:
        for event, payload in produce(order):
            connection.send_bytes(pack(event, payload))
    except MediaError as error:
        connection.send_bytes(pack(failed(error)))
    except MemoryError:
        limits = {"JOB_MEMORY_BYTES": float(order.memory_bytes)}
        too_much = LimitExceeded("limit_memory", "the file needs more memory than a job may use", limits)
        connection.send_bytes(pack(failed(too_much)))
    finally:
        connection.close()


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
    silent = ("silent",) if analysis.true_peak_dbtp is None else ()
    warnings = (*reader.warnings, *cover_warnings, *silent, *ladder_warnings)
    wanted = plan_gain(
        analysis.loudness,
        analysis.true_peak_dbtp,
        target_lufs=order.target_lufs,
        ceiling_dbtp=order.ceiling_dbtp,
        mode=order.mode,
    )
    lossy = tuple(rendition for rendition in ladder if not rendition.codec.is_lossless)
    lossless = tuple(rendition for rendition in ladder if rendition.codec.is_lossless)
    until = LOSSY_SHARE if lossless else 1.0
    plan = final(wanted, analysis, lossy, lambda: _track_of(order))

    def round_of(plan: GainPlan) -> Generator[Message, None, dict[str, CodedLoudness]]:
        yield _planned(analysis, plan, warnings), b""
        yield Drawn(what="waveform", media_type="application/octet-stream"), analysis.waveform.to_dat(16)
        yield from cover
        level = Level(plan, analysis.channels)
        return (yield from _encode(_track_of(order), lossy, level, analysis.duration_s, (0.0, until)))

    coded = yield from round_of(plan)
    better = corrected(plan, _held_to_it(lossy, coded))
    if better is not None:  # once: what still misses is published with a warning
        plan = final(better, analysis, lossy, lambda: _track_of(order))
        coded = yield from round_of(plan)
    for name, measured in coded.items():
        yield _remeasured(name, measured), b""
    # listeners wait for the others; it has the samples of the source as they are, whatever the plan
    source = Reader(order.source, order.max_duration_s)
    yield from _encode(iter(source), lossless, Gain(0.0), analysis.duration_s, (until if lossy else 0.0, 1.0))
    missed = any(misses(plan, each) for each in _held_to_it(lossy, coded))
    yield Finished(warnings=(*warnings, *(("loudness_missed",) if missed else ()))), b""


def _held_to_it(ladder: Ladder, coded: dict[str, CodedLoudness]) -> list[CodedLoudness]:
    """What was measured of the renditions that the plan must hold for."""
    return [coded[rung.name] for rung in ladder if rung.name in coded and is_faithful(rung)]


def _track_of(order: Order) -> Iterator[Block]:
    """A pass over the source, at 48 kHz and equalized."""
    return _shaped(order, Reader(order.source, order.max_duration_s))


def _cover(source: Path, info: MediaInfo) -> tuple[list[Message], tuple[str, ...]]:
    """The picture, if there is one; a bad picture costs a warning, never the track."""
    if not info.has_cover:
        return [], ()
    try:
        with open_source(source) as container:
            cover = read_cover(container)
    except Malformed:
        return [], ("bad_cover",)
    return [(Drawn(what="cover", media_type=cover.media_type), cover.data)] if cover else [], ()


def _analyze(order: Order, reader: Reader, info: MediaInfo) -> Generator[Message, None, Analysis]:
    analyzer: Analyzer | None = None
    shaper: Chain | None = None
    expected = (info.duration_s or 0.0) * info.rate_hz
    told = 0.0
    for block in reader:
        if shaper is None or analyzer is None:
            channels = block.pcm.shape[0]
            shaper, analyzer = _shaper(order, reader.rate_hz, channels), Analyzer(channels)
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


def _encode(
    blocks: Iterator[Block],
    ladder: Ladder,
    level: Stage[Block, Block],
    duration_s: float,
    span: tuple[float, float],
) -> Generator[Message, None, dict[str, CodedLoudness]]:
    """Segments of every rendition of one pass over the whole track; returns what they measure.

    Args:
        span: what of the stage's progress the pass is.
    """
    if not ladder:
        return {}
    segmenters: dict[str, Segmenter] = {}
    lowest, (told, until) = ladder[0], span
    with Audits() as audits:
        for encoder, packets in encode_ladder(blocks, ladder, level):
            audits.push(encoder, packets)
            name = encoder.rendition.name
            if name not in segmenters:
                track = _track(encoder, packets)
                segmenters[name] = Segmenter(track)
                yield _initialised(encoder, track), init_segment(track)
            for segment in (s for packet in packets for s in segmenters[name].push(packet)):
                yield _made(name, segment), segment.data
            done = min(packets[-1].pts / lowest.rate_hz / duration_s, 1.0)
            fraction = span[0] + (until - span[0]) * done
            if name == lowest.name and fraction - told >= PROGRESS_STEP:
                told = fraction
                yield Progress(stage="encode", fraction=fraction), b""
        for name, segmenter in segmenters.items():
            for segment in segmenter.flush():
                yield _made(name, segment), segment.data
        return audits.results()


def _shaped(order: Order, reader: Reader) -> Iterator[Block]:
    shaper: Chain | None = None
    for block in reader:
        shaper = shaper or _shaper(order, reader.rate_hz, block.pcm.shape[0])
        yield from shaper.push(block)
    if shaper:
        yield from shaper.flush()


def _shaper(order: Order, rate_hz: int, channels: int) -> Chain:
    """What the decoder's Blocks go through in both passes, so that what is measured is what is encoded."""
    return Chain(Resampler(rate_hz, channels), Equalizer(order.equalizer, channels))


def _track(encoder: Encoder, packets: list[Packet]) -> Track:
    rendition = encoder.rendition
    return Track(
        codec=rendition.codec,
        rate_hz=rendition.rate_hz,
        channels=rendition.channels,
        bitrate_bps=rendition.bitrate_bps,
        priming_samples=packets[0].trim_start,
        codec_config=encoder.codec_config,
        bit_depth=rendition.bit_depth,
    )


def _probed(info: MediaInfo) -> Probed:
    return Probed(
        container=info.container,
        codec=info.codec,
        rate_hz=info.rate_hz,
        channels=info.channels,
        bit_depth=info.bit_depth,
        duration_s=info.duration_s,
        tags=dict(info.tags),
    )


def _planned(analysis: Analysis, plan: GainPlan, warnings: tuple[str, ...]) -> Planned:
    return Planned(
        samples=analysis.samples,
        channels=analysis.channels,
        integrated_lufs=analysis.loudness.integrated_lufs,
        range_lu=analysis.loudness.range_lu,
        true_peak_dbtp=analysis.true_peak_dbtp,
        gain_db=plan.gain_db,
        reason=plan.reason,
        planned_lufs=plan.planned_lufs,
        limit_dbtp=plan.limit_dbtp,
        momentary_max_lufs=analysis.levels.momentary_max_lufs,
        short_term_max_lufs=analysis.levels.short_term_max_lufs,
        warnings=warnings,
    )


def _initialised(encoder: Encoder, track: Track) -> Initialised:
    return Initialised(
        rendition=encoder.rendition.name,
        codec=track.codec.rfc6381,
        bitrate_bps=track.bitrate_bps,
        rate_hz=track.rate_hz,
        channels=track.channels,
        priming_samples=track.priming_samples,
    )


def _remeasured(rendition: str, coded: CodedLoudness) -> Remeasured:
    return Remeasured(
        rendition=rendition, integrated_lufs=coded.integrated_lufs, true_peak_dbtp=coded.true_peak_dbtp
    )


def _made(rendition: str, segment: Segment) -> SegmentMade:
    return SegmentMade(rendition=rendition, number=segment.number, pts=segment.pts, duration=segment.duration)
