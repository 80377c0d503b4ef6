"""An album on a real server: one gain for its tracks, whoever comes, goes or is killed."""

from __future__ import annotations

import uuid
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import signals
from albums import OPTIONS
from companion.callbacks import Callback, Companion
from e2e.conftest import StartServer
from e2e.presentation import read
from e2e.server import Json, Server, eventually

LEVELS_DB = (-6.0, -18.0, -12.0)
"""Of three tracks; a fourth is louder than all, and puts the quietest under the gate."""

TARGET_LUFS = -24.0
"""Low enough for every peak."""

ALBUM_OPTIONS = {**OPTIONS, "loudness": {"mode": "album", "target_lufs": TARGET_LUFS}}
OWNER = {"user_id": "7", "album_id": "Greatest Hits", "options": ALBUM_OPTIONS}
DURATION_S = 0.8


def published(server: Server, folder: Path, level_db: float, **said: object) -> str:
    """The id of a track of that level."""
    path = folder / f"{level_db}.flac"
    signals.write(path, tone(level_db), 48_000, "flac")
    track_id: str = server.publish(path, **{**OWNER, "track_id": str(uuid.uuid4()), **said})["track_id"]
    return track_id


def gain_of(server: Server, track_id: str) -> float | None:
    """None until it is live."""
    answer = server.get(f"/tracks/{track_id}")
    return answer.json()["loudness"]["gain_db"] if answer.is_success else None


def in_one(server: Server, track_ids: list[str], lufs: float) -> float:
    """The gain in dB that all of them have, once it is the one for an album of that loudness."""

    def look() -> float | None:
        gain_db, *others = {gain_of(server, track_id) for track_id in track_ids}
        wanted_db = pytest.approx(TARGET_LUFS - lufs, abs=0.15)
        return gain_db if not others and gain_db == wanted_db else None

    return eventually(look, f"one gain for {len(track_ids)} tracks", within_s=60.0)


def heard_lufs(server: Server, track_id: str) -> float:
    """What a player decodes, judged by pyloudnorm."""
    pcm = read(server.client, server.master_url(track_id))["128k"].decoded()
    return float(pyloudnorm.Meter(48_000).integrated_loudness(pcm.T.astype(np.float64)))


def tone(level_db: float) -> signals.Pcm:
    """A steady tone: each of its blocks is as loud as the whole."""
    return signals.sine(997, DURATION_S, amplitude=0.5 * 10 ** (level_db / 20))


def album_lufs(*levels_db: float) -> float:
    """Of steady tracks of one length, each measured by pyloudnorm: BS.1770-5 (6) and (7)."""
    meter = pyloudnorm.Meter(48_000)
    lufs = np.array([meter.integrated_loudness(tone(db).T.astype(np.float64)) for db in levels_db])
    mean_lufs = 10 * np.log10(np.mean(10 ** (lufs / 10)))
    return float(10 * np.log10(np.mean(10 ** (lufs[lufs > mean_lufs - 10] / 10))))


def test_an_album_has_one_gain_as_it_grows_and_shrinks(
    server: Server, server_companion: Companion, tmp_path: Path
) -> None:
    """ReplayGain album gain: quiet tracks stay as much quieter as they are (0.2 LU of what is delivered)."""
    tracks = [published(server, tmp_path, level_db) for level_db in LEVELS_DB]
    gain_db = in_one(server, tracks, album_lufs(*LEVELS_DB))
    heard = [heard_lufs(server, track_id) for track_id in tracks]
    for (one, other), (level_db, other_db) in zip(pairwise(heard), pairwise(LEVELS_DB), strict=True):
        assert other - one == pytest.approx(other_db - level_db, abs=0.2)

    before = [server.get(f"/tracks/{track_id}").json() for track_id in tracks]
    stranger = published(server, tmp_path, 0.0, user_id="8")
    assert gain_of(server, stranger) != gain_db
    assert [server.get(f"/tracks/{track_id}").json() for track_id in tracks] == before, "I6"

    loud = published(server, tmp_path, 0.0)
    lower_db = in_one(server, [*tracks, loud], album_lufs(*LEVELS_DB, 0.0))
    assert lower_db < gain_db - 2
    for track_id, was in zip(tracks, heard, strict=True):
        assert heard_lufs(server, track_id) - was == pytest.approx(lower_db - gain_db, abs=0.2)

    assert server.client.delete(f"/api/v1/internal/tracks/{loud}").status_code == 204
    assert in_one(server, tracks, album_lufs(*LEVELS_DB)) == gain_db

    def mine(came: list[Callback]) -> list[Json]:
        return [one.body for one in came if one.body["track_id"] == tracks[0]]

    def gains(came: list[Callback]) -> list[float]:
        return [body["loudness"]["gain_db"] for body in mine(came)]

    told = server_companion.wait_until(lambda came: gains(came)[-2:] == [lower_db, gain_db], "each is told")
    sequences = [body["sequence"] for body in mine(told)]
    assert sequences == sorted(set(sequences))
    assert len({body["job_id"] for body in mine(told)}) == len(mine(told)), "each an end of its own"
    assert {body["status"] for body in mine(told)} == {"completed"}


def test_without_an_album_the_mode_is_refused(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "song.flac"
    signals.write(path, tone(0.0), 48_000, "flac")
    answer = server.submit(path, options=OPTIONS)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_job")
    assert "needs an album_id" in answer.json()["detail"]


KILLS = 4
"""Fewer than the attempts that a job has."""


@pytest.mark.slow
def test_a_server_that_is_killed_again_and_again_ends_with_one_gain(
    start_server: StartServer, tmp_path: Path
) -> None:
    """kill -9 while a track is made again; nothing is lost, and nothing is left to make."""
    server = start_server()
    path, tracks, uploads = tmp_path / "song.flac", [], set()
    for level_db in LEVELS_DB:
        signals.write(path, tone(level_db), 48_000, "flac")
        job = server.upload(path, **OWNER, track_id=str(uuid.uuid4()))
        tracks.append(job["track_id"])
        uploads.add(job["job_id"])

    def makes_again() -> bool | None:
        running = server.get("/api/v1/internal/jobs?status=running").json()["jobs"]
        return bool({job["job_id"] for job in running} - uploads) or None

    for _ in range(KILLS):
        eventually(makes_again, "a track that is made again", every_s=0.01)
        server.kill()
        server.start()
    in_one(server, tracks, album_lufs(*LEVELS_DB))

    def is_idle() -> bool | None:
        jobs = server.get("/status").json()["jobs"]
        return not (jobs["waiting"] or jobs["running"]) or None

    eventually(is_idle, "the end", within_s=60.0)
    jobs = server.get("/api/v1/internal/jobs?limit=200").json()["jobs"]
    assert {job["status"] for job in jobs} == {"completed"}
    assert max(job["attempt"] for job in jobs) > 1
    in_one(server, tracks, album_lufs(*LEVELS_DB))
