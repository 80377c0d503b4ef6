"""The child's part in making renditions: a pass over a track in, their segments out."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from hls.cmaf import Track, init_segment
from hls.segmenter import Segment, Segmenter
from media_server.jobs.events import Initialised, Message, Progress, SegmentMade
from pipeline.audit import Audits, Given, is_audited
from pipeline.chain import Chain
from pipeline.encode import Encoder
from pipeline.grid import RATE_HZ
from pipeline.ladder import Ladder
from pipeline.media import Block, Packet
from pipeline.normalize import CodedLoudness
from pipeline.stage import Stage
from pipeline.transcode import encode_ladder

PROGRESS_STEP = 0.01


def make_renditions(
    blocks: Iterator[Block],
    ladder: Ladder,
    level: Stage[Block, Block],
    samples: int,
    span: tuple[float, float],
) -> Generator[Message, None, dict[str, CodedLoudness]]:
    """Segments of every rendition of one pass over the whole track; returns what they measure.

    Args:
        samples: of the track, at 48 kHz.
        span: what of the stage's progress the pass is.
    """
    if not ladder:
        return {}
    segmenters: dict[str, Segmenter] = {}
    lowest, duration_s, (told, until) = ladder[0], samples / RATE_HZ, span
    given = Given(lowest.channels) if any(map(is_audited, ladder)) else None
    stages = Chain(level, given) if given else level
    with Audits() as audits:
        for encoder, packets in encode_ladder(blocks, ladder, stages, samples):
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
        return audits.results(given.blocks) if given else {}


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


def _initialised(encoder: Encoder, track: Track) -> Initialised:
    return Initialised(
        rendition=encoder.rendition.name,
        codec=track.codec.rfc6381,
        bitrate_bps=track.bitrate_bps,
        rate_hz=track.rate_hz,
        channels=track.channels,
        priming_samples=track.priming_samples,
        bit_depth=track.bit_depth,
    )


def _made(rendition: str, segment: Segment) -> SegmentMade:
    return SegmentMade(rendition=rendition, number=segment.number, pts=segment.pts, duration=segment.duration)
