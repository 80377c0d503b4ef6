"""A track as one file, over HTTP: the MP3 that every job makes, and every other that there is."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
import signals
import soundfile
import whole_files
from e2e.server import Json, Server, eventually

from pipeline.about import About
from pipeline.outputs import OUTPUTS, Format
from pipeline.replaygain import FileLoudness

DURATION_S = 2.0


@pytest.fixture(scope="module")
def job(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    path = tmp_path_factory.mktemp("song") / "song.wav"
    signals.write(
        path, signals.music(DURATION_S, 44_100), 44_100, "wav", tags={"title": "In the file", "album": "A"}
    )
    options = {"ladder": ["128k"], "outputs": ["mp3-320", "flac"]}
    return server.publish(path, title="Song", artist="Ann", options=options)


def test_the_mp3_is_the_whole_track_with_its_tags(server: Server, job: dict, tmp_path: Path) -> None:
    """To the sample, as loud as the callback's gain has made it."""
    [mp3, flac] = job["result"]["downloads"]
    assert (mp3["format"], mp3["bitrate"], flac["format"], flac["bitrate"]) == ("mp3", 320_000, "flac", None)
    answer = server.client.get(mp3["url"])
    assert answer.headers["content-type"] == "audio/mpeg"
    assert 'filename="Ann - Song.mp3"' in answer.headers["content-disposition"]
    assert whole_files.heard(answer.content, 2).shape[1] == DURATION_S * 48_000
    _, tags = whole_files.seen(answer.content, tmp_path)
    assert (tags["title"], tags["artist"], tags["album"]) == ("Song", "Ann", "A")
    loudness = job["result"]["loudness"]
    gain_db = -18 - loudness["integrated_lufs"] - loudness["gain_db"]
    assert float(tags["replaygain_track_gain"].split()[0]) == pytest.approx(gain_db, abs=0.02)
    part = server.get(f"/tracks/{job['track_id']}/audio.mp3", Range="bytes=1000-1999")
    assert (part.status_code, part.content) == (206, answer.content[1000:2000])


def test_the_flac_is_as_long_as_the_source(server: Server, job: dict) -> None:
    answer = server.client.get(job["result"]["downloads"][1]["url"])
    assert answer.headers["content-type"] == "audio/flac"
    assert whole_files.heard(answer.content, 2).shape[1] == DURATION_S * 44_100


def test_another_file_is_made_when_it_is_asked_for(server: Server, job: dict, tmp_path: Path) -> None:
    """I16: a 503 that says when to come again, then the file; once."""
    path = f"/tracks/{job['track_id']}/audio.ogg?bitrate=128"
    first = server.client.get(path)
    assert (first.status_code, first.json()["code"]) == (503, "being_made")
    assert int(first.headers["retry-after"]) > 0

    def made() -> httpx2.Response | None:
        answer = server.client.get(path)
        return answer if answer.status_code == httpx2.codes.OK else None

    answer = eventually(made, path)
    assert whole_files.heard(answer.content, 2).shape[1] == DURATION_S * 48_000
    _, tags = whole_files.seen(answer.content, tmp_path)
    assert (tags["title"], tags["artist"], tags["album"]) == ("Song", "Ann", "A")
    told = server.client.get(f"/tracks/{job['track_id']}").json()["downloads"]
    assert [one["format"] for one in told] == ["mp3", "flac", "ogg"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Files to have made of a FLAC of this rate and depth, in as many channels."""

    names: tuple[str, ...]
    rate_hz: int
    bit_depth: int = 24
    channels: int = 2

    def __str__(self) -> str:
        formats = "+".join(dict.fromkeys(name.split("-")[0] for name in self.names))
        return f"{formats} of {self.channels}x{self.rate_hz}"


def names_of(*formats: Format) -> tuple[str, ...]:
    return tuple(name for name, output in OUTPUTS.items() if output.format in formats)


ORDERS = (
    Order(names=names_of(Format.MP3, Format.OGG), rate_hz=96_000),
    Order(names=names_of(Format.M4A), rate_hz=96_000),
    Order(names=names_of(Format.OPUS, Format.FLAC), rate_hz=192_000),
    Order(names=("flac", "m4a-128-88200", "m4a-320-88200"), rate_hz=88_200),
    Order(names=("flac", "mp3-128-44100", "mp3-320"), rate_hz=44_100, bit_depth=16, channels=1),
)


def test_every_file_that_there_is_is_ordered_here() -> None:
    assert {name for order in ORDERS for name in order.names} == set(OUTPUTS)


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_every_file_is_as_long_as_the_track_and_says_what_it_is(
    server: Server, order: Order, tmp_path: Path
) -> None:
    """Requirements I5, D4: each bit rate at each rate, to the sample, its words, its picture and its loudness
    as an FFmpeg that is not ours reads them."""
    about = About(
        tags=whole_files.TAGS,
        loudness=FileLoudness(integrated_lufs=None, true_peak_dbtp=None),
        cover=whole_files.picture(),
    )
    flac = whole_files.output("flac", order.channels, rate_hz=order.rate_hz, bit_depth=order.bit_depth)
    song = tmp_path / "song.flac"
    pcm = signals.music(DURATION_S, order.rate_hz, order.channels)
    song.write_bytes(whole_files.made(flac, pcm, about))
    job = server.publish(song, options={"ladder": ["128k"], "outputs": order.names})
    sizes: dict[tuple[str, str], list[int]] = {}
    told = job["result"]["downloads"]
    assert len(told) == len(order.names)
    for name, one in zip(order.names, told, strict=True):
        data = server.client.get(one["url"]).content
        assert_is_whole(data, name, order, job["result"]["loudness"], tmp_path)
        fmt, _, rate = name.partition("-")
        sizes.setdefault((fmt, rate.partition("-")[2]), []).append(len(data))
    for rising in sizes.values():
        assert rising == sorted(set(rising)), "a higher bit rate takes more"


def assert_is_whole(data: bytes, name: str, order: Order, loudness: Json, tmp_path: Path) -> None:
    output = OUTPUTS[name]
    rate_hz = order.rate_hz if output.format.is_lossless else output.rate_hz
    samples = round(DURATION_S * rate_hz)
    audio, tags = whole_files.seen(data, tmp_path)
    assert (int(audio["sample_rate"]), audio["channels"]) == (rate_hz, order.channels), name
    if output.format is Format.OGG:
        assert len(soundfile.read(io.BytesIO(data))[0]) == samples, name
    elif output.format is Format.M4A:  # FFmpeg plays its last frame whole (hls.md 1.6)
        assert audio["duration_ts"] == samples, name
        assert 0 <= whole_files.heard(data, order.channels).shape[1] - samples < 1024, name
    else:
        assert whole_files.heard(data, order.channels).shape[1] == samples, name
    if output.format is Format.MP3:
        assert output.bitrate_bps is not None
        assert int(audio["bit_rate"]) == output.bitrate_bps * order.channels // 2, name
    words = {"tsrc" if word == "isrc" else word: text for word, text in whole_files.TAGS.items()}
    expected = words if output.format is Format.MP3 else whole_files.TAGS
    assert {word: tags.get(word) for word in expected} == expected, name
    assert audio["picture"] == ("mjpeg", 64, 48), name
    lufs = loudness["integrated_lufs"] + (0 if output.format.is_lossless else loudness["gain_db"])
    if output.format is Format.OPUS:
        assert int(tags["r128_track_gain"]) / 256 == pytest.approx(-23 - lufs, abs=0.02), name
    else:
        assert float(tags["replaygain_track_gain"].split()[0]) == pytest.approx(-18 - lufs, abs=0.02), name
        assert 0 < float(tags["replaygain_track_peak"]) <= 1, name
