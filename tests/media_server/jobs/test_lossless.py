"""The lossless rendition is the source, bit by bit, through the stored segments and a decoder of others."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import av
import corpus
import numpy as np
import pytest
import signals
import soundfile
from numpy.typing import NDArray

from hls.packets import read_packets
from media_server.jobs import cage
from media_server.jobs.child import Order, produce
from media_server.jobs.events import Initialised, LadderMade, Planned, Progress, SegmentMade
from pipeline.decode import Reader
from pipeline.encode import Encoder
from pipeline.errors import Unsupported
from pipeline.ladder import Codec, Rendition
from pipeline.media import Block

RATES_HZ = [44_100, 48_000, 88_200, 96_000, 176_400, 192_000]
BENCH = corpus.FOLDER / "flac-test-files"
ON_EVERY_RUN = {
    "60 - mono audio.flac",
    "62 - predictor overflow check, 20-bit.flac",
    "63 - predictor overflow check, 24-bit.flac",
}
Integers = NDArray[np.int32]


@pytest.fixture(autouse=True)
def _no_limit_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    # the CPU bound is the child's; set here, it would be the test runner's
    monkeypatch.setattr(cage, "allow_cpu", lambda _: None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a job told of its renditions: their files, by the rendition's name."""

    inits: dict[str, Initialised]
    files: dict[str, list[bytes]]
    segments: list[SegmentMade]
    plan: Planned
    progress: list[float]
    warnings: tuple[str, ...]

    def decoded(self, name: str = "lossless") -> Integers:
        """(channels, samples) of the init and the segments in one piece, at the depth they have."""
        return decode(b"".join(self.files[name]))


def decode(file: bytes) -> Integers:
    with av.open(BytesIO(file)) as container:
        stream = container.streams.audio[0]
        frames = [frame.to_ndarray() for frame in container.decode(stream)]
        joined = np.concatenate(frames, axis=1).reshape(-1, stream.channels).T
    return joined.astype(np.int32) >> (8 if frames[0].dtype == np.int32 else 0)


def made(path: Path, *ladder: str, outputs: tuple[str, ...] = ()) -> Made:
    order = Order(
        source=path,
        ladder=ladder or ("lossless",),
        mode="track",
        target_lufs=-14.0,
        ceiling_dbtp=-1.0,
        max_duration_s=600.0,
        memory_bytes=2 << 30,
        outputs=outputs,
    )
    told = list(produce(order))
    # a plan that was missed is taken back with all that came of it
    story = told[max(place for place, (event, _) in enumerate(told) if isinstance(event, Planned)) :]
    inits = [(event, data) for event, data in story if isinstance(event, Initialised)]
    segments = [(event, data) for event, data in story if isinstance(event, SegmentMade)]
    (plan,) = [event for event, _ in story if isinstance(event, Planned)]
    (finished,) = [event for event, _ in story if isinstance(event, LadderMade)]
    return Made(
        inits={event.rendition: event for event, _ in inits},
        files={
            init.rendition: [header, *(data for event, data in segments if event.rendition == init.rendition)]
            for init, header in inits
        },
        segments=[event for event, _ in segments],
        plan=plan,
        progress=[
            event.fraction for event, _ in story if isinstance(event, Progress) and event.stage == "encode"
        ],
        warnings=finished.warnings,
    )


def integers(samples: int, channels: int, bit_depth: int) -> Integers:
    """Noise over the whole range, its ends included."""
    full_scale = 1 << (bit_depth - 1)
    noise = np.random.default_rng(bit_depth).integers(-full_scale, full_scale, (channels, samples), np.int32)
    noise[:, :2] = -full_scale, full_scale - 1
    return noise


def write(path: Path, pcm: Integers, rate_hz: int, bit_depth: int, fmt: str = "FLAC") -> None:
    """libsndfile takes integers at the upper end of 32 bits."""
    with soundfile.SoundFile(path, "w", rate_hz, len(pcm), f"PCM_{bit_depth}", format=fmt) as file:
        file.write(np.ascontiguousarray(pcm.T << (32 - bit_depth)))


def md5(pcm: Integers, bit_depth: int) -> str:
    """RFC 9639 8.2: of the samples, interleaved, little-endian, in whole bytes."""
    rows = np.ascontiguousarray(pcm.T).astype("<i4").view(np.uint8).reshape(-1, 4)
    return hashlib.md5(rows[:, : (bit_depth + 7) // 8].tobytes(), usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("bit_depth", [16, 24])
@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_what_comes_out_is_what_went_in(tmp_path: Path, rate_hz: int, bit_depth: int, channels: int) -> None:
    """Requirements I5: FLAC at 44.1 to 192 kHz; mono stays mono, and nothing is normalized."""
    path = tmp_path / "a.flac"
    pcm = integers(rate_hz // 5 + 1, channels, bit_depth)
    write(path, pcm, rate_hz, bit_depth)
    job = made(path)
    assert md5(job.decoded(), bit_depth) == md5(pcm, bit_depth)
    assert job.plan.gain_db != 0
    about = job.inits["lossless"]
    assert (about.codec, about.rate_hz, about.channels) == ("fLaC", rate_hz, channels)
    assert about.priming_samples == 0


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """RFC 9639 8.2: what a FLAC file says of itself; of zeros where it was not computed."""

    rate_hz: int
    channels: int
    bit_depth: int
    md5: str

    @classmethod
    def of(cls, path: Path) -> StreamInfo:
        with path.open("rb") as file:
            info = file.read(42)[8:]
        word = int.from_bytes(info[10:18], "big")
        return cls(word >> 44, (word >> 41 & 7) + 1, (word >> 36 & 31) + 1, info[18:].hex())

    @property
    def has_rendition(self) -> bool:
        """At most stereo and 24 bits, its rate on the grid."""
        return self.channels <= 2 and self.bit_depth <= 24 and self.rate_hz % 25 == 0


def good_files() -> list[Path]:
    """All of the working group's decoder test bench that state a hash; its faulty ones apart."""
    found = [*sorted(BENCH.glob("subset/*.flac")), *sorted(BENCH.glob("uncommon/*.flac"))]
    return [path for path in found if path.read_bytes()[:4] == b"fLaC" and int(StreamInfo.of(path).md5, 16)]


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.name, marks=[pytest.mark.slow] * (path.name not in ON_EVERY_RUN))
        for path in good_files()
        if StreamInfo.of(path).has_rendition
    ],
)
def test_files_of_other_encoders_keep_the_hash_of_their_header(path: Path) -> None:
    """RFC 9639 8.2: STREAMINFO ends with the MD5 of the samples; the rendition's decode to the same."""
    info = StreamInfo.of(path)
    stored = made(path).decoded() >> ((16 if info.bit_depth <= 16 else 24) - info.bit_depth)
    assert md5(stored, info.bit_depth) == info.md5


@pytest.mark.slow
def test_every_good_file_of_the_test_bench_decodes_to_its_hash(corpus_dir: Path) -> None:
    """56 of them, 8 to 32 bits, one to eight channels; of 48 there is a lossless rendition."""
    files = good_files()
    assert (len(files), sum(StreamInfo.of(path).has_rendition for path in files)) == (56, 48)
    for path in files:
        reader = Reader(path, 60.0)
        assert sum(block.samples for block in reader)
        assert reader.warnings == (), path.name


@pytest.mark.parametrize(("fmt", "bit_depth"), [("WAV", 24), ("AIFF", 16)])
def test_pcm_is_a_lossless_source_too(tmp_path: Path, fmt: str, bit_depth: int) -> None:
    pcm = integers(10_001, 2, bit_depth)
    write(tmp_path / "a", pcm, 44_100, bit_depth, fmt)
    assert np.array_equal(made(tmp_path / "a").decoded(), pcm)


def test_the_segments_lie_on_the_grid_and_hold_the_packets_of_one_encode(tmp_path: Path) -> None:
    """3.84 s each, a tail under half a second joined; byte for byte what one encoder made of the whole."""
    path = tmp_path / "a.flac"
    pcm = signals.music(5, 44_100, 1)
    signals.write(path, pcm, 44_100, "flac", subtype="PCM_16")
    job = made(path)
    assert [segment.duration for segment in job.segments] == [169_344, pcm.shape[1] - 169_344]
    stored = [packet.data for segment in job.files["lossless"][1:] for packet in read_packets(segment)]
    read, _ = soundfile.read(path, dtype="float32")
    encoder = Encoder(
        Rendition(name="x", codec=Codec.FLAC, bitrate_bps=0, channels=1, rate_hz=44_100, bit_depth=16)
    )
    whole = [*encoder.push(Block(pts=0, pcm=read[None, :])), *encoder.flush()]
    assert stored == [packet.data for packet in whole]


def test_it_comes_after_the_others_and_their_progress_goes_on(tmp_path: Path) -> None:
    """Listeners wait for the first rendition's first segments."""
    path = tmp_path / "a.flac"
    signals.write(path, signals.music(4.5, 48_000, 1), 48_000, "flac")
    job = made(path, "lossless", "128k", "opus-64")
    assert [segment.rendition for segment in job.segments[-2:]] == ["lossless", "lossless"]
    assert list(job.inits) == ["128k", "opus-64", "lossless"]
    assert job.progress == sorted(set(job.progress))
    assert job.progress[-1] > 0.9


def test_a_lossy_source_has_none_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    signals.write(path, signals.music(1, 44_100, 1), 44_100, "mp3")
    job = made(path, "128k", "lossless")
    assert list(job.inits) == ["128k"]
    assert "lossless_of_lossy" in job.warnings
    with pytest.raises(Unsupported) as refused:
        made(path, "lossless")
    assert refused.value.code == "no_rendition"


LOUD = np.float32(1.5) * signals.sine(440, 0.2, channels=2, amplitude=1.0)


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_what_float_holds_and_flac_does_not_is_warned_of(tmp_path: Path, subtype: str) -> None:
    """The lossless rendition is the source but for its peaks over full scale, which are cut."""
    path = tmp_path / "hot.wav"
    soundfile.write(path, LOUD.T, 48_000, subtype, format="WAV")
    story = made(path)
    assert story.warnings == ("clipped_lossless",)
    full_scale = 1 << 23
    expected = np.rint(LOUD * full_scale).clip(-full_scale, full_scale - 1)
    assert (story.decoded() == expected).all()


@pytest.mark.parametrize(
    ("peak", "ladder"),
    [(1.0, ("lossless",)), (1.5, ("128k",))],
    ids=["up to full scale", "nothing lossless is made"],
)
def test_where_nothing_is_cut_there_is_no_such_warning(
    tmp_path: Path, peak: float, ladder: tuple[str, ...]
) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, (LOUD * np.float32(peak / 1.5)).T, 48_000, "FLOAT", format="WAV")
    assert made(path, *ladder).warnings == ()


def test_the_warning_is_of_a_flac_file_too(tmp_path: Path) -> None:
    path = tmp_path / "hot.wav"
    soundfile.write(path, LOUD.T, 48_000, "FLOAT", format="WAV")
    assert made(path, "128k", outputs=("flac",)).warnings == ("clipped_lossless",)
    assert made(path, "128k", outputs=("mp3-128",)).warnings == ()
