"""A first run has something to play; no other run makes anything of its own."""

from __future__ import annotations

from pathlib import Path

import soundfile

from media_server.app import assembled
from media_server.first_run import offer_demo
from media_server.jobs import runner
from media_server.jobs.job import Job
from media_server.settings import Settings


async def test_an_empty_library_gets_a_demo_that_is_real_music_and_calls_nobody_back(tmp_path: Path) -> None:
    runner.prepare()
    async with assembled(Settings(data_dir=tmp_path, _env_file=None)) as parts:
        services = parts.services
        await offer_demo(services)
        (job,) = (await services.state.list(limit=2)).items
        (upload,) = (services.folders.storage / "uploads").iterdir()
        info = soundfile.info(upload)
        assert (info.channels, info.samplerate) == (2, 44_100)
        assert 20 < info.duration < 40
        assert b'"calls_back":false' in (await services.broker.receive()).body
        assert job.track_id
        assert not list(services.folders.incoming.iterdir())


async def test_a_library_that_was_ever_used_is_left_alone(tmp_path: Path) -> None:
    async with assembled(Settings(data_dir=tmp_path, _env_file=None)) as parts:
        await parts.services.state.save(Job(job_id="a", track_id="b", created_at="2026-01-01T00:00:00.000Z"))
        await offer_demo(parts.services)
        assert await parts.services.broker.receive() is None


async def test_outside_development_and_without_the_page_nothing_is_made(tmp_path: Path) -> None:
    for changed in ({"app_env": "staging"}, {"web_page": False}, {"demo_track": False}):
        async with assembled(Settings(data_dir=tmp_path, _env_file=None, **changed)) as parts:
            await offer_demo(parts.services)
            assert await parts.services.broker.receive() is None
