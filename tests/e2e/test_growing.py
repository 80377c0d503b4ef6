"""A track is heard while it is being made, by players that others wrote, and from then on to its end."""

from __future__ import annotations

import subprocess
from itertools import pairwise
from pathlib import Path

import httpx2
import m3u8
import numpy as np
import pytest
import signals
from e2e.conftest import StartServer
from e2e.listening import listening
from e2e.presentation import read
from e2e.server import Json, Server, eventually
from e2e.test_playback import newest_ffmpeg

DURATION_S = 64.0
"""Some seconds of work, and one more than a chunk."""

SAMPLES = round(DURATION_S * 48_000)


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("song") / "long.flac"
    signals.write(path, signals.music(DURATION_S), 48_000, "flac")
    return path


def playlist_of(server: Server, job: Json) -> httpx2.Response:
    return server.get(f"/hls/{job['track_id']}/stream_320k.m3u8")


def begun(server: Server, song: Path) -> Json:
    """A job that is at work, and of which something is heard."""
    job = server.upload(song)
    eventually(lambda: playlist_of(server, job).is_success or None, "the first segments", within_s=30)
    return job


def uris(text: str) -> list[str]:
    return [segment.uri for segment in m3u8.loads(text).segments]


def test_playlists_grow_from_the_first_segments_to_the_whole(start_server: StartServer, song: Path) -> None:
    """RFC 8216 4.3.3.5, 6.2.1: EVENT, only ever longer, not to be cached; at last VOD with the same files."""
    server = start_server()
    job = begun(server, song)
    eventually(lambda: server.job(job["job_id"])["playable"] or None, "that it is heard on the job's record")
    seen: list[httpx2.Response] = []

    def look() -> bool | None:
        answer = playlist_of(server, job)
        if not seen or seen[-1].text != answer.text:
            seen.append(answer)
        return "#EXT-X-ENDLIST" in answer.text or None

    eventually(look, "the whole playlist", within_s=60)
    *growing, whole = [m3u8.loads(answer.text) for answer in seen]
    assert growing, "it was heard before it was whole"
    for playlist, answer in zip(growing, seen, strict=False):
        assert (playlist.playlist_type, playlist.is_endlist) == ("event", False)
        assert (playlist.target_duration, playlist.start.time_offset) == (4, 0)
        assert "no-cache" in answer.headers["cache-control"]
    assert (whole.playlist_type, whole.is_endlist) == ("vod", True)
    for before, after in pairwise(answer.text for answer in seen):
        assert uris(after)[: len(uris(before))] == uris(before)
    assert server.wait_for(job["job_id"])["status"] == "completed"
    rungs = read(server.client, server.master_url(job["track_id"]))
    assert {rung.decoded().shape[1] for rung in rungs.values()} == {SAMPLES}


def test_a_player_that_joins_early_plays_to_the_end(start_server: StartServer, song: Path) -> None:
    """FFmpeg asks for the growing list again and again; what it has decoded in the end is the track."""
    server = start_server()
    job = begun(server, song)
    url = f"{server.url}/hls/{job['track_id']}/stream_320k.m3u8"
    words = ["-hide_banner", "-nostdin", "-xerror", "-v", "error", "-live_start_index", "0", "-i", url]
    player = subprocess.Popen(
        [newest_ffmpeg(), *words, "-ac", "1", "-f", "f32le", "-"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    still_made = "#EXT-X-ENDLIST" not in playlist_of(server, job).text
    pcm, said = player.communicate(timeout=90)
    assert still_made, "it joined while the track was being made"
    assert (player.returncode, said.decode()) == (0, "")
    assert np.frombuffer(pcm, "<f4").size == SAMPLES


async def test_a_listener_over_websocket_is_told_as_it_grows(start_server: StartServer, song: Path) -> None:
    """config/contract/websocket.md: `updated`, until it is complete; the frames are the segments of HLS."""
    server = start_server()
    job = begun(server, song)
    async with listening(server, f"track_id={job['track_id']}") as listener:
        await listener.ask("hello", rendition="320k", credit=4_000_000)
        assert not (await listener.said("ready"))["data"]["complete"]
        await listener.ask("play")
        _, *segments = await listener.to_the_end()
    rung = read(server.client, server.master_url(job["track_id"]))["320k"]
    assert tuple(payload for _, payload in segments) == rung.segments


@pytest.mark.slow
def test_what_was_shown_is_not_taken_back_by_a_crash(start_server: StartServer, song: Path) -> None:
    """The job is done again: the same segments, and the list goes on where it was."""
    server = start_server()
    job = begun(server, song)
    before = uris(playlist_of(server, job).text)
    server.kill()
    server.start()
    after = playlist_of(server, job)
    assert uris(after.text)[: len(before)] == before
    assert server.wait_for(job["job_id"])["status"] == "completed"
    whole = playlist_of(server, job).text
    assert "#EXT-X-ENDLIST" in whole
    assert uris(whole)[: len(before)] == before
