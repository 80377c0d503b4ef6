"""A file that is added to a live track has the words that the track has, or is not listed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import signals
import whole_files

from hls.asset import Asset, AssetSource
from media_server.errors import Unavailable
from media_server.jobs.addition import Additions
from media_server.jobs.downloads import words_of
from media_server.jobs.fate import MAX_ATTEMPTS
from media_server.jobs.handler import Handler
from media_server.jobs.job import Job, JobState
from media_server.jobs.making import lacking
from media_server.jobs.publish import live_asset, put_pointer
from media_server.metrics import Metrics
from media_server.storage.assets import download_key, downloads_prefix

TRACK = "0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11"
OPTIONS = {"ladder": ["128k"], "outputs": ["mp3-128"]}


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("short") / "short.flac"
    signals.write(path, signals.music(0.5, 44_100), 44_100, "flac", tags={"title": "In the file"})
    return path.read_bytes()


class Renaming:
    """A storage in which the track is called otherwise as soon as a file of it has been put."""

    def __init__(self, embedded: Any, title: str) -> None:
        self._storage, self._state, self._title = embedded.storage, embedded.state, title

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    async def put_file(self, key: str, path: Path, **about: str) -> None:
        await self._storage.put_file(key, path, **about)
        title, self._title = self._title, ""
        if title:
            live = await live_asset(self._storage, TRACK)
            await put_pointer(self._storage, self._state, replace(live, title=title))


def additions(embedded: Any, storage: Any = None) -> Additions:
    return Additions(
        settings=embedded.settings,
        storage=storage or embedded.storage,
        state=embedded.state,
        published=embedded.published.append,
    )


async def published(embedded: Any, data: bytes, storage: Any = None) -> tuple[Job, Asset]:
    """A job as it ended, and what is live of its track."""
    handler = Handler(
        settings=embedded.settings,
        folders=embedded.folders,
        storage=storage or embedded.storage,
        state=embedded.state,
        broker=embedded.broker,
        metrics=Metrics(),
        published=embedded.published.append,
    )
    delivery = await embedded.deliver(embedded.upload(data, options=OPTIONS, title="Old"))
    await handler.handle(delivery)
    return await embedded.state.get(delivery.job_id), await live_asset(embedded.storage, TRACK)


async def stored(embedded, asset: Asset) -> list[str]:
    return [
        key.rpartition("/")[2] for key in await embedded.storage.list(downloads_prefix(TRACK, asset.version))
    ]


async def title_of(embedded, asset: Asset, tmp_path: Path) -> str | None:
    [download] = asset.downloads
    assert await stored(embedded, asset) == [download.file.name]
    data = await embedded.storage.get(download_key(TRACK, asset.version, download.file.name))
    return whole_files.seen(data, tmp_path)[1].get("title")


def test_its_words_are_the_sources_but_for_what_it_is_called_now(embedded) -> None:
    """A title that was emptied is not the source's again."""
    asset = embedded.asset(tags={"title": "In the file", "artist": "A", "album": "B"}, artist="Band")
    assert words_of(asset) == {"title": "Song", "artist": "Band", "album": "B"}
    assert words_of(replace(asset, title=None, artist=None)) == {"album": "B"}


async def test_words_that_change_while_a_job_makes_its_file_are_in_it(embedded, short, tmp_path) -> None:
    """Nothing with the old ones is listed or left; the job ends once, with its file."""
    job, asset = await published(embedded, short, Renaming(embedded, "New"))
    assert (job.status, job.attempt, job.warnings) == (JobState.COMPLETED, 1, ())
    assert [one["format"] for one in job.result["downloads"]] == ["mp3"]
    assert await title_of(embedded, asset, tmp_path) == "New"


@pytest.mark.slow
async def test_words_that_change_while_a_file_is_added_have_it_made_again(embedded, short, tmp_path) -> None:
    _, before = await published(embedded, short)
    await put_pointer(embedded.storage, embedded.state, replace(before, downloads=()))
    await embedded.storage.delete(downloads_prefix(TRACK, before.version))
    racing = additions(embedded, Renaming(embedded, "New"))
    with pytest.raises(Unavailable, match="words"):
        await racing.add(TRACK, before.version, "mp3-128", tmp_path / "attempt")
    assert await stored(embedded, before) == []
    after = await racing.add(TRACK, before.version, "mp3-128", tmp_path / "attempt")
    assert await title_of(embedded, after, tmp_path) == "New"


async def test_a_file_that_cannot_be_had_costs_one_warning(embedded, tmp_path) -> None:
    """However often its job comes again; and none of it where the files may be what kills the worker."""
    source = AssetSource(
        container="flac", codec="flac", rate_hz=44_100, channels=2, bit_depth=16, bit_rate_bps=None
    )
    asset = await embedded.publish(version="0" * 16, source=source)  # whose original is not kept
    wanted = {"outputs": ("mp3-128",), "upload": None, "folder": tmp_path}
    assert await additions(embedded).complete(asset, attempt=MAX_ATTEMPTS + 1, **wanted) == asset
    for _ in range(2):
        asset = await additions(embedded).complete(asset, attempt=1, **wanted)
        assert asset == await live_asset(embedded.storage, TRACK)
        assert asset.warnings == ("output_left_out",)


async def test_a_job_that_comes_again_makes_what_its_track_lacks_and_no_more(embedded, short) -> None:
    """Its worker died between going live and its files; the ladder stays as it is."""
    submission = embedded.upload(short, options=OPTIONS, title="Old")
    await embedded.handler.handle(await embedded.deliver(submission))
    before = await live_asset(embedded.storage, TRACK)
    await put_pointer(embedded.storage, embedded.state, replace(before, downloads=()))
    assert lacking(await live_asset(embedded.storage, TRACK)) == ("mp3-128",)
    await embedded.broker.publish(before.job_id, TRACK, submission.to_json())
    await embedded.handler.handle(await embedded.broker.receive())
    assert await live_asset(embedded.storage, TRACK) == before
    job = await embedded.state.get(before.job_id)
    assert (job.status, len(job.result["downloads"])) == (JobState.COMPLETED, 1)
