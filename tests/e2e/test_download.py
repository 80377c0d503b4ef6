"""A track as one file, over HTTP: the MP3 that every job makes."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
import signals
import whole_files
from e2e.server import Server, eventually

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
