"""The child's part in making whole files of a track: a source read once more, pieces of a file out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from media_server.jobs.events import FileMade, Message, PieceMade
from pipeline.about import About
from pipeline.chain import Chain
from pipeline.decode import Reader
from pipeline.equalizer import Band, Equalizer
from pipeline.files import writer_for
from pipeline.grid import RATE_HZ, at_rate
from pipeline.level import Level
from pipeline.media import Block, Cover
from pipeline.normalize import GainPlan
from pipeline.outputs import Output
from pipeline.replaygain import FileLoudness
from pipeline.resample import Resampler


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A source that was measured: `samples` at 48 kHz, its `loudness` before the plan of its ladder.

    `album` is the loudness of its album, of which all tracks have the plan's gain; None without one.
    """

    path: Path
    max_duration_s: float
    equalizer: tuple[Band, ...]
    samples: int
    plan: GainPlan
    loudness: FileLoudness
    tags: Mapping[str, str]
    cover: Cover | None
    album: FileLoudness | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOrder:
    """One more file of a track that was measured before; `tags` are the track's, `album` as of a Source."""

    source: Path
    output: str
    samples: int
    channels: int
    plan: GainPlan
    loudness: FileLoudness
    tags: Mapping[str, str]
    equalizer: tuple[Band, ...]
    max_duration_s: float
    memory_bytes: int
    album: FileLoudness | None = None


def make_file(source: Source, output: Output) -> Iterator[Message]:
    """The pieces of one file, then that it is whole.

    A lossy file sounds like the ladder: the same equalizer, gain and limiter. A lossless one is the source;
    its tags say how loud, unless an equalizer makes that the loudness of something else.

    Raises:
        MediaError: the source cannot be read (any more).
    """
    reader = Reader(source.path, source.max_duration_s)
    if output.format.is_lossless:
        output, blocks = _as_decoded(output, reader)
        # what was measured is the equalized sound, of which this file is not
        unknown = FileLoudness(integrated_lufs=None, true_peak_dbtp=None)
        loudness = unknown if source.equalizer else source.loudness
        album = None if source.equalizer else source.album
    else:
        blocks = _like_the_ladder(source, output, reader)
        loudness = source.loudness.planned(source.plan)
        album = None if source.album is None else source.album.amplified(source.plan.gain_db)
    samples = at_rate(source.samples, RATE_HZ, output.rate_hz)
    about = About(tags=source.tags, loudness=loudness, cover=source.cover, album=album)
    writer = writer_for(output, about, samples)
    for piece in (piece for block in blocks for piece in writer.push(block)):
        yield PieceMade(output=output.name, offset=piece.offset), piece.data
    for piece in writer.flush():
        yield PieceMade(output=output.name, offset=piece.offset), piece.data
    yield _made(output), b""


def shaped_blocks(reader: Reader, equalizer: tuple[Band, ...]) -> Iterator[Block]:
    """A source's Blocks as the ladder has them, before the gain."""
    shaper: Chain | None = None
    for block in reader:
        shaper = shaper or shaper_of(equalizer, reader.rate_hz, block.pcm.shape[0])
        yield from shaper.push(block)
    if shaper:
        yield from shaper.flush()


def shaper_of(equalizer: tuple[Band, ...], rate_hz: int, channels: int) -> Chain:
    """What the decoder's Blocks go through in every pass, so that what is measured is what is encoded."""
    return Chain(Resampler(rate_hz, channels), Equalizer(equalizer, channels))


def _like_the_ladder(source: Source, output: Output, reader: Reader) -> Iterator[Block]:
    """The plan first, at 48 kHz, then another rate: every file has the same gain, and the same limiter."""
    level, resampler = (
        Level(source.plan, output.channels),
        Resampler(RATE_HZ, output.channels, output.rate_hz),
    )
    stages = Chain(level, resampler)
    for block in shaped_blocks(reader, source.equalizer):
        yield from stages.push(block)
    yield from stages.flush()


def _as_decoded(output: Output, reader: Reader) -> tuple[Output, Iterable[Block]]:
    """Its rate and channels are those of the samples, whatever the source's header says."""
    blocks = iter(reader)
    first = next(blocks)  # what has none was refused when it was measured
    return replace(output, rate_hz=reader.rate_hz, channels=first.pcm.shape[0]), chain([first], blocks)


def _made(output: Output) -> FileMade:
    return FileMade(
        output=output.name,
        format=output.format,
        bitrate_bps=output.bitrate_bps,
        rate_hz=output.rate_hz,
        channels=output.channels,
    )
