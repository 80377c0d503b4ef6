"""A file that is not there yet: made once for all who ask, within bounds, and its failure is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from hls.asset import Asset, AssetSource
from media_server.jobs.job import JobError, JobState, now_rfc3339
from media_server.jobs.making import Making

SOURCE = AssetSource(
    container="wav", codec="pcm_s16le", rate_hz=44_100, channels=2, bit_depth=16, bit_rate_bps=None
)


async def published(server: Any, **changes: Any) -> tuple[Asset, str]:
    asset = await server.publish(source=SOURCE, **changes)
    return asset, f"/tracks/{asset.track_id}/audio"


def making(asset: Asset, output: str) -> Making:
    return Making(track_id=asset.track_id, version=asset.version, output=output)


async def test_who_asks_is_told_to_come_again_and_a_worker_to_make_it(server: Any) -> None:
    asset, path = await published(server)
    for _ in range(3):
        answer = await server.ask(f"{path}.ogg?bitrate=192")
        assert (answer.status_code, answer.json()["code"]) == (503, "being_made")
        assert answer.headers["retry-after"] == "2"
    delivery = await server.services.broker.receive()
    assert Making.model_validate_json(delivery.body) == making(asset, "ogg-192")
    assert await server.services.broker.receive() is None


@pytest.mark.parametrize(
    ("query", "output"),
    [
        (".mp3", "mp3-320"),
        (".mp3?rate=44100", "mp3-320-44100"),
        (".m4a?bitrate=256", "m4a-256"),
        (".opus", "opus-192"),
        (".flac", "flac"),
    ],
)
async def test_without_a_bit_rate_the_best_is_made(server: Any, query: str, output: str) -> None:
    asset, path = await published(server)
    assert (await server.ask(path + query)).status_code == 503
    delivery = await server.services.broker.receive()
    assert Making.model_validate_json(delivery.body) == making(asset, output)


@pytest.mark.parametrize(
    ("query", "output"), [(".m4a?bitrate=256", "m4a-256"), (".m4a?rate=96000", "m4a-320-96000")]
)
async def test_a_rate_above_48_khz_is_for_those_who_ask_for_it(server: Any, query: str, output: str) -> None:
    """A lossy file has no more in it at that rate."""
    asset = await server.publish(source=replace(SOURCE, rate_hz=96_000))
    assert (await server.ask(f"/tracks/{asset.track_id}/audio{query}")).status_code == 503
    delivery = await server.services.broker.receive()
    assert Making.model_validate_json(delivery.body) == making(asset, output)


async def test_what_is_there_is_not_made_again(server: Any) -> None:
    """The M4A of a rendition's bit rate is that rendition; a lower one that is there goes before a better."""
    _, path = await published(server)
    for query in (".m4a", ".m4a?bitrate=128", ".m4a?rate=48000"):
        assert (await server.ask(path + query)).status_code == 200
    assert await server.services.broker.receive() is None


async def test_what_the_source_cannot_give_is_not_made(server: Any) -> None:
    _, path = await published(server)
    answer = await server.ask(f"{path}.flac?rate=96000")
    assert (answer.status_code, answer.json()["code"]) == (400, "rate_not_allowed")
    assert answer.json()["detail"].endswith("which are 44100")
    assert await server.services.broker.receive() is None


async def test_a_head_makes_nothing(server: Any) -> None:
    _, path = await published(server)
    assert (await server.ask(f"{path}.flac", "HEAD")).status_code == 503
    assert await server.services.broker.receive() is None


async def test_a_making_that_failed_says_why_and_is_tried_again_later(server: Any) -> None:
    asset, path = await published(server)
    await server.ask(f"{path}.flac")
    state, job_id = server.services.state, making(asset, "flac").job_id
    queued = await state.get(job_id)
    error = JobError(code="source_not_found", message="gone")
    failed = queued.to(JobState.FAILED, error=error, finished_at=now_rfc3339())
    await state.save(failed)
    answer = await server.ask(f"{path}.flac")
    assert (answer.status_code, answer.json()["code"]) == (409, "source_not_found")
    await state.save(failed.to(JobState.QUEUED).to(JobState.FAILED, finished_at="2026-01-01T00:00:00.000Z"))
    assert (await server.ask(f"{path}.flac")).json()["code"] == "being_made"
    assert (await state.get(job_id)).status is JobState.QUEUED


async def test_a_listener_has_only_so_many_made(start: Callable[..., Any]) -> None:
    """I16: by role; who is refused is told when to come again, and what is there plays on."""
    server = start(
        app_env="staging",
        jwt_secret="correct-horse-battery-staple-0123456789",
        rate_limit_guest_per_minute=0,
    )
    _, path = await published(server)
    queries = [".flac", ".opus?bitrate=64", ".opus?bitrate=96", ".ogg?bitrate=128"]
    answers = [await server.ask(path + query) for query in queries]
    assert [answer.status_code for answer in answers] == [503, 503, 429, 429]
    assert answers[-1].json()["code"] == "too_many_files"
    assert int(answers[-1].headers["retry-after"]) > 60
    user = await server.ask(path + queries[2], headers=server.bearer("ann", ("user",)))
    assert user.json()["code"] == "being_made"
    again = await server.ask(path + queries[2])
    assert again.json()["code"] == "being_made", "what somebody else had made costs nothing"
    assert (await server.ask(f"{path}.m4a")).status_code == 200


async def test_a_track_is_not_made_over_and_over(start: Callable[..., Any]) -> None:
    """However many ask: the files of one track are bounded too."""
    server = start(
        app_env="staging",
        jwt_secret="correct-horse-battery-staple-0123456789",
        rate_limit_token_per_minute=0,
    )
    _, path = await published(server)
    admin = server.bearer("root", ("admin",))
    kbits = [f".{fmt}?bitrate={kbit}&rate={rate}" for fmt in ("mp3", "ogg") for kbit in (128, 192, 256)
             for rate in (44100, 48000)]  # fmt: skip
    codes = [(await server.ask(path + query, headers=admin)).status_code for query in kbits]
    assert codes == [503] * 10 + [429] * 2
