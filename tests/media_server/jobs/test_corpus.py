"""Every file of the corpus through a job: as long as it is, to the sample, and as loud as was planned.

What is made is judged by others: FFmpeg and libsndfile decode it, pyloudnorm and libavfilter measure it.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, field
from fractions import Fraction

import av
import corpus
import numpy as np
import pyloudnorm
import pytest
import soundfile
from av.filter import Graph
from e2e.presentation import Rung
from presentations import TRACK_ID
from signals import Pcm

from hls.asset import Asset, AssetRendition
from hls.mpegts import transport_segment
from hls.packets import read_packets
from media_server.jobs import cage
from media_server.jobs.assembly import Assembly, Identity
from media_server.jobs.child import Order, produce
from media_server.jobs.events import FileMade, LadderMade, PieceMade, Planned
from media_server.jobs.job import JobRequest, Options, Source
from pipeline.audit import is_faithful
from pipeline.errors import Malformed, MediaError
from pipeline.grid import at_rate
from pipeline.ladder import ladder_for
from pipeline.outputs import Format

GRID_HZ = 48_000
LONG_S = 60.0
"""From here on the lowest rungs alone, and no files: it would be said again for most of the time."""

LADDER = ("128k", "192k", "320k", "opus-96", "opus-128", "lossless")
FILES = ("mp3-320", "m4a-128", "ogg-128", "opus-128", "flac")
LOWEST = ("128k", "opus-96")
FLAC_BOTH_WAYS = {"lossless", "flac"}

FRAME_SAMPLES = {"mp4a.40.2": 1024, "Opus": 960, "fLaC": 1}
LEAST_MP3_SAMPLES = 47
"""A padding of more than a frame has no room in LAME's tag."""

LOUDNESS_S = 3.0
TOLERANCE_LU = 0.2
JUDGE_LU = 0.25
"""The same for pyloudnorm, which of some sources themselves says 0.1 LU less than `ebur128`."""

CUT_OFF_HZ = 15_000
ABOVE_THE_CODER = {
    "flac-test-files/subset/61 - predictor overflow check, 16-bit.flac",
    "flac-test-files/subset/63 - predictor overflow check, 24-bit.flac",
    "minimp3/performance/MEANDR_PHASE0.mp3",
    "minimp3/performance/MEANDR_PHASE90.mp3",
    "minimp3/performance/MIPSTest.mp3",
    "minimp3/performance/noise_meandr.mp3",
}
"""Test signals with as much power above 16 kHz as below. AAC at 128k and Opus leave it out, and a gain that
made up for it would lift everything that is heard: what is below is as loud as planned in every rendition."""

CONSTANTS = {"tinytag/flac453sStereo.flac"}
"""Every sample is -1.0: what a meter hears of it is its beginning and its end, as the coder has them."""

REFUSED = {"codec_not_allowed", "format_not_allowed", "bad_rate"}
"""A codec or a container that is not read here, and a rate under 8 kHz."""

HEADLESS = {"flac-test-files/uncommon/10 - file starting at frame header.flac"}
"""Frames of FLAC without the marker and the STREAMINFO that a FLAC file begins with."""


@pytest.fixture(autouse=True)
def _no_limit_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    # the CPU bound is the child's; set here, it would be the test runner's
    monkeypatch.setattr(cage, "allow_cpu", lambda _: None)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("listed", corpus.listed(), ids=str)


@dataclass(slots=True)
class Made:
    """What a job left behind: the asset, its stored files by their path, and whole files."""

    assembly: Assembly
    stored: dict[str, bytes] = field(default_factory=dict)
    pieces: dict[str, bytearray] = field(default_factory=dict)
    files: list[FileMade] = field(default_factory=list)
    plan: Planned | None = None

    @property
    def asset(self) -> Asset:
        return self.assembly.asset

    def rung(self, rendition: AssetRendition) -> Rung:
        names = [rendition.init.name, *(segment.name for segment in rendition.segments)]
        init, *segments = (self.stored[f"{rendition.name}/{name}"] for name in names)
        return Rung(name=rendition.name, init=init, segments=tuple(segments), extinf_s=())


def made(listed: corpus.Listed) -> Made:
    """As the server puts a track together, its files in memory.

    Raises:
        MediaError: the product does not take the file.
    """
    is_long = listed.duration_s >= LONG_S
    options = Options(ladder=LOWEST if is_long else LADDER, outputs=() if is_long else FILES)
    identity = Identity(job_id="j", created_at="c", order="o", source_sha256="0" * 64, source_bytes=1)
    job = Made(Assembly(JobRequest(track_id=TRACK_ID, source=Source(), options=options), identity))
    order = Order(
        source=corpus.FOLDER / listed.path,
        ladder=tuple(options.ladder or ()),
        mode="track",
        target_lufs=-14.0,
        ceiling_dbtp=-1.0,
        max_duration_s=600.0,
        memory_bytes=2 << 30,
        outputs=tuple(options.outputs or ()),
    )
    for event, payload in produce(order):
        if isinstance(event, Planned):
            job.plan, job.stored = event, {}
        job.stored |= {file.path: file.data for file in job.assembly.take(event, payload)}
        if isinstance(event, LadderMade):
            assert job.asset.state == "complete"
        if isinstance(event, PieceMade):
            file = job.pieces.setdefault(event.output, bytearray())
            file[event.offset : event.offset + len(payload)] = payload
        if isinstance(event, FileMade):
            job.files.append(event)
    return job


def decoded(file: bytes) -> Pcm:
    """What FFmpeg makes of it, as float: (channels, samples)."""
    with av.open(io.BytesIO(file), metadata_errors="ignore") as container:
        planar = av.AudioResampler("fltp")
        frames = [out for frame in container.decode(audio=0) for out in planar.resample(frame)]
        return np.concatenate([frame.to_ndarray() for frame in [*frames, *planar.resample(None)]], axis=1)


def whole_frames(samples: int, priming: int, frame: int) -> int:
    """What comes out of a decoder that cuts off the priming and keeps the padding."""
    return -(-(samples + priming) // frame) * frame - priming


def must_be_as_long(job: Made, samples: int, rate_hz: int) -> None:
    """0 samples of error by what the container says; without a word of it (TS), priming and whole frames."""
    on_grid = at_rate(samples, rate_hz, GRID_HZ)
    assert job.asset.duration_samples == on_grid
    for rendition in job.asset.renditions:
        rung, expected = job.rung(rendition), samples if rendition.name == "lossless" else on_grid
        assert rung.presented_samples == expected, rendition.name
        heard = decoded(rung.init + b"".join(rung.segments)).shape[1]
        frame = FRAME_SAMPLES[rendition.codec]
        assert heard == whole_frames(expected, rung.media_time, frame), rendition.name
        if rendition.codec == "mp4a.40.2":
            segments = (transport_segment(k, read_packets(data)) for k, data in enumerate(rung.segments))
            assert decoded(b"".join(segments)).shape[1] == whole_frames(expected + 1024, 0, 1024)
    for file in job.files:
        data = bytes(job.pieces[file.output])
        expected = samples if file.format is Format.FLAC else at_rate(on_grid, GRID_HZ, file.rate_hz)
        assert heard_samples(file, data, expected) == expected, file.output
    if {*job.pieces, *(rendition.name for rendition in job.asset.renditions)} >= FLAC_BOTH_WAYS:
        rung = next(job.rung(one) for one in job.asset.renditions if one.name == "lossless")
        assert np.array_equal(
            decoded(bytes(job.pieces["flac"])), decoded(rung.init + b"".join(rung.segments))
        )


def heard_samples(file: FileMade, data: bytes, expected: int) -> int:
    """Of Vorbis on a single page FFmpeg plays whole blocks, so libvorbis is asked; of M4A the edit list."""
    if file.format is Format.OGG:
        return len(soundfile.read(io.BytesIO(data))[0])
    heard = decoded(data).shape[1]
    if file.format is Format.MP3 and expected < LEAST_MP3_SAMPLES:
        assert heard == LEAST_MP3_SAMPLES
        return expected
    if file.format is Format.M4A:
        assert heard == whole_frames(expected, 1024, 1024)
        with av.open(io.BytesIO(data)) as container:
            return int(container.streams.audio[0].duration or 0)
    return heard


def loudness(pcm: Pcm) -> float:
    """BS.1770 as pyloudnorm has it, with the weighting of the Recommendation."""
    meter = pyloudnorm.Meter(GRID_HZ, filter_class="DeMan")
    return float(meter.integrated_loudness(pcm.T.astype(np.float64)))


def true_peak_dbtp(pcm: Pcm) -> float:
    """Four times oversampled, as libavfilter's `ebur128` has it."""
    layout = "mono" if len(pcm) == 1 else "stereo"
    graph, base = Graph(), Fraction(1, GRID_HZ)
    source = graph.add_abuffer(sample_rate=GRID_HZ, format="fltp", layout=layout, time_base=base)
    meter, sink = graph.add("ebur128", "metadata=1:peak=true:framelog=quiet"), graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    # it reports every 100 ms: with silence behind, what was in the last of them too
    padded = np.pad(pcm, ((0, 0), (0, GRID_HZ // 5)))
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(padded), format="fltp", layout=layout)
    frame.sample_rate, frame.pts, frame.time_base = GRID_HZ, 0, base
    source.push(frame)
    source.push(None)
    peaks = [0.0]
    while True:
        try:
            told = sink.pull().metadata
        except (av.error.BlockingIOError, av.error.EOFError):
            return 20 * math.log10(max(max(peaks), 1e-9))
        peaks += [float(value) for name, value in told.items() if name.startswith("lavfi.r128.true_peaks_ch")]


def below_the_cut(pcm: Pcm) -> Pcm:
    spectrum = np.fft.rfft(pcm, axis=1)
    spectrum[:, np.fft.rfftfreq(pcm.shape[1], 1 / GRID_HZ) > CUT_OFF_HZ] = 0
    return np.fft.irfft(spectrum, pcm.shape[1], axis=1).astype(np.float32)


def must_be_as_loud(job: Made, path: str) -> None:
    """AAC from 128k and Opus from 96k: within 0.2 LU of the final plan, and at most -1.0 dBTP."""
    assert job.plan is not None
    faithful = [r.name for r in ladder_for(job.plan.channels, LADDER) if is_faithful(r)]
    told = job.asset.loudness
    heard = {
        rendition.name: decoded((rung := job.rung(rendition)).init + b"".join(rung.segments))
        for rendition in job.asset.renditions
        if rendition.name in faithful
    }
    heard = {name: pcm[:, : job.asset.duration_samples] for name, pcm in heard.items()}
    assert max(map(true_peak_dbtp, heard.values())) <= -1.0
    assert ("loudness_missed" in job.asset.warnings) == (path in ABOVE_THE_CODER | CONSTANTS)
    if told.planned_lufs is None or path in CONSTANTS:
        return
    best = heard[[n for n in heard if n.endswith("k")][-1]]
    for name, pcm in heard.items():
        measured = told.measured[name]
        assert measured.integrated_lufs is not None
        off_lu, judged_lu = measured.integrated_lufs - told.planned_lufs, loudness(pcm) - told.planned_lufs
        if path in ABOVE_THE_CODER:
            assert off_lu < TOLERANCE_LU, name
            below = loudness(below_the_cut(pcm)) - loudness(below_the_cut(best))
            assert abs(below) <= JUDGE_LU, name
        else:
            assert abs(off_lu) <= TOLERANCE_LU, name
            assert abs(judged_lu) <= JUDGE_LU, name


@pytest.mark.slow
def test_what_comes_out_is_as_long_as_the_file_and_as_loud_as_planned(listed: corpus.Listed) -> None:
    """Of what the product does not read it says so; of what is broken beyond use too."""
    try:
        job = made(listed)
    except MediaError as refused:
        is_broken = listed.path in HEADLESS or not listed.is_whole
        assert isinstance(refused, Malformed) if is_broken else refused.code in REFUSED
        return
    must_be_as_long(job, *listed.length())
    if listed.duration_s >= LOUDNESS_S and "silent" not in job.asset.warnings:
        must_be_as_loud(job, listed.path)
