"""A delivery becomes a published track, or a failed job with a reason; nothing in between is ever visible."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
import signals

from hls.asset import Asset
from media_server.errors import NotFound, Unavailable
from media_server.jobs import handler
from media_server.jobs.fate import MAX_ATTEMPTS
from media_server.jobs.job import JobRequest, JobState, now_rfc3339
from media_server.jobs.publish import live_asset, point_to
from media_server.jobs.submission import Submission, submit
from media_server.profiles import BUILT_IN
from media_server.storage.assets import asset_key, download_key, version_prefix
from pipeline.grid import at_grid_rate

TRACK = "0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11"


async def test_a_song_becomes_a_track_whose_every_file_is_stored(embedded, song) -> None:
    """reliability.md I2, I3: all that a playlist names is there, the length exact, the callback safe."""
    delivery = await embedded.deliver(embedded.upload(song, title="Song", visibility="public", options={}))
    await embedded.handler.handle(delivery)
    asset = Asset.from_json(await embedded.storage.get(asset_key(TRACK)))
    assert asset.duration_samples == at_grid_rate(9 * 44_100, 44_100)
    assert [r.name for r in asset.renditions] == ["128k", "192k", "320k", "opus-128"]
    for rendition in asset.renditions:
        total = sum(segment.duration for segment in rendition.segments)
        assert total - rendition.priming_samples == asset.duration_samples
        folder = f"{version_prefix(asset.track_id, asset.version)}{rendition.name}/"
        for name in (rendition.init.name, *(s.name for s in rendition.segments)):
            assert await embedded.storage.get(folder + name)
    [download] = asset.downloads
    stored = await embedded.storage.get(download_key(TRACK, asset.version, download.file.name))
    assert (download.name, hashlib.sha256(stored).hexdigest()) == ("mp3-320", download.file.sha256)
    job = await embedded.state.get(delivery.job_id)
    assert (job.status, job.percent, job.attempt, job.error) == (JobState.COMPLETED, 100.0, 1, None)
    callback = await embedded.outbox.claim()
    assert callback.body["status"] == "completed"
    assert (callback.body["attempt"], callback.body["sequence"]) == (1, 1)
    assert {*embedded.published} == {asset.track_id}
    assert not list(embedded.folders.attempts.iterdir())
    assert (await embedded.broker.receive()) is None


async def test_a_profile_is_the_ladder_it_stands_for(embedded, song) -> None:
    """contract: CONFIG_DIR; looked up when the job runs."""
    submission = embedded.upload(song, options={"profile": "mobile"})
    await embedded.handler.handle(await embedded.deliver(submission))
    asset = Asset.from_json(await embedded.storage.get(asset_key(TRACK)))
    assert tuple(rendition.name for rendition in asset.renditions) == BUILT_IN["mobile"]


async def test_a_profile_that_nobody_made_fails_its_job(embedded, song) -> None:
    """A message of the broker is not looked at by an endpoint first."""
    delivery = await embedded.deliver(embedded.upload(song, options={"profile": "radio"}))
    await embedded.handler.handle(delivery)
    job = await embedded.state.get(delivery.job_id)
    assert (job.status, job.error.code, job.error.retryable) == (JobState.FAILED, "unknown_profile", False)
    assert job.error.message == "profile must be one of default, lossless, mobile"


async def test_what_misses_its_plan_is_heard_to_its_end(embedded, tmp_path) -> None:
    """Half a track below the absolute gate misses its plan; a second version follows, both stay stored."""
    path = tmp_path / "faint.wav"
    signals.write(path, signals.steps([(-69.4, 2), (-71.5, 2)]), 48_000, "wav", subtype="FLOAT")
    submission = embedded.upload(path.read_bytes(), options={"ladder": ["128k"], "outputs": ["opus-64"]})
    await embedded.handler.handle(await embedded.deliver(submission))
    asset = Asset.from_json(await embedded.storage.get(asset_key(TRACK)))
    stored = await embedded.storage.list("tracks/")
    [missed] = {key.split("/")[2] for key in stored if key != asset_key(TRACK)} - {asset.version}
    assert len([key for key in stored if key.startswith(f"{version_prefix(TRACK, missed)}128k/")]) == 2
    [download] = asset.downloads
    assert download_key(TRACK, asset.version, download.file.name) in stored
    assert asset.loudness.measured["128k"].integrated_lufs == pytest.approx(-14.0, abs=0.2)


async def test_a_picture_in_the_source_is_stored_with_the_track(embedded, tmp_path) -> None:
    path = tmp_path / "song.mp3"
    signals.write(path, signals.music(1.0, 44_100), 44_100, "mp3", cover=signals.picture(64, 64))
    submission = embedded.upload(path.read_bytes(), options={"ladder": ["128k"]})
    await embedded.handler.handle(await embedded.deliver(submission))
    asset = Asset.from_json(await embedded.storage.get(asset_key(TRACK)))
    assert asset.cover is not None
    assert await embedded.storage.get(version_prefix(TRACK, asset.version) + asset.cover.name)


async def test_the_same_delivery_twice_leaves_the_same_bytes_and_one_callback(embedded, song) -> None:
    """reliability.md I4: a crash after the pointer and before the acknowledgement."""
    submission = embedded.upload(song)
    delivery = await embedded.deliver(submission)
    await embedded.handler.handle(delivery)
    before = {key: await embedded.storage.get(key) for key in await embedded.storage.list("tracks/")}
    await embedded.broker.publish(delivery.job_id, submission.request.track_id, submission.to_json())
    again = await embedded.broker.receive()
    await embedded.handler.handle(again)
    assert {key: await embedded.storage.get(key) for key in await embedded.storage.list("tracks/")} == before
    assert (await embedded.outbox.counts()).pending == 1


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "empty"), (b"plain text named .mp3\n" * 99, "not_audio"), (b"#EXTM3U\n", "format_not_allowed")],
)
async def test_what_is_no_audio_fails_once_with_its_code_and_a_callback(
    embedded, content: bytes, code: str
) -> None:
    """reliability.md, bad inputs: one run, failed callback, no retry, nothing published, nothing left."""
    delivery = await embedded.deliver(embedded.upload(content))
    await embedded.handler.handle(delivery)
    job = await embedded.state.get(delivery.job_id)
    assert (job.status, job.error.code, job.error.retryable) == (JobState.FAILED, code, False)
    callback = await embedded.outbox.claim()
    assert (callback.body["status"], callback.body["error"]["code"]) == ("failed", code)
    assert await embedded.broker.receive() is None
    assert not list((embedded.folders.storage / "uploads").iterdir())
    with pytest.raises(NotFound):
        await embedded.storage.get(asset_key(TRACK))


async def test_a_cut_off_file_completes_with_a_warning(embedded, song) -> None:
    """Bad input 17."""
    delivery = await embedded.deliver(embedded.upload(song[: len(song) // 2]))
    await embedded.handler.handle(delivery)
    job = await embedded.state.get(delivery.job_id)
    assert job.status is JobState.COMPLETED
    assert "truncated" in job.warnings


async def test_an_older_upload_never_replaces_a_newer_one(embedded, song) -> None:
    """contract: of two uploads of a track the newer wins; the other ends `superseded`."""
    newer = embedded.upload(song, source_version=2)
    await embedded.handler.handle(await embedded.deliver(newer))
    older = embedded.upload(song, source_version=1)
    delivery = await embedded.deliver(older)
    await embedded.handler.handle(delivery)
    job = await embedded.state.get(delivery.job_id)
    assert job.error.code == "superseded"
    asset = Asset.from_json(await embedded.storage.get(asset_key(TRACK)))
    assert asset.source_version == 2


async def test_a_stop_gives_the_job_back_and_does_not_count_the_attempt(embedded, song) -> None:
    """F18: released, attempt not counted, child gone, nothing published."""
    delivery = await embedded.deliver(embedded.upload(song))
    working = asyncio.create_task(embedded.handler.handle(delivery))
    async with asyncio.timeout(30):
        while (await embedded.state.get(delivery.job_id)).stage != "analyze":  # noqa: ASYNC110 - its record is all it shows
            await asyncio.sleep(0)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert (await embedded.state.get(delivery.job_id)).status is JobState.QUEUED
    again = await embedded.broker.receive()
    assert again.attempt == 1
    assert not list(embedded.folders.attempts.iterdir())


async def test_a_delivery_that_killed_its_worker_each_time_is_given_up(embedded, song) -> None:
    """contract: given up is `failed` with `retries_exhausted`, its failed callback sent."""
    submission = embedded.upload(song)
    await submit(submission, broker=embedded.broker, state=embedded.state)
    delivery = None
    for _ in range(MAX_ATTEMPTS + 1):
        delivery = await embedded.broker.receive()
        await delivery.retry(0)
    delivery = await embedded.broker.receive()
    await embedded.handler.handle(delivery)
    job = await embedded.state.get(delivery.job_id)
    assert job.error.code == "retries_exhausted"
    assert (await embedded.outbox.counts()).pending == 1


async def test_a_track_that_is_live_is_not_given_up_because_its_acknowledgements_were_lost(
    embedded, song
) -> None:
    """The last attempt published it: however often it comes again, it is completed."""
    submission = embedded.upload(song)
    await submit(submission, broker=embedded.broker, state=embedded.state)
    delivery = await embedded.broker.receive()
    await embedded.handler.handle(delivery)
    await embedded.broker.publish(delivery.job_id, submission.request.track_id, delivery.body)
    for _ in range(MAX_ATTEMPTS + 1):
        delivery = await embedded.broker.receive()
        await delivery.retry(0)
    await embedded.handler.handle(await embedded.broker.receive())
    assert (await embedded.state.get(delivery.job_id)).status is JobState.COMPLETED


async def test_a_source_outside_the_upload_folder_is_refused(embedded) -> None:
    """Bad input 50, and the allow-lists of the contract: empty means refused."""
    for source in (
        {"path": "../secret.flac"},
        {"bucket": "b", "key": "k"},
        {"url": "https://example.test/a.flac"},
    ):
        request = JobRequest.model_validate({"track_id": TRACK, "source": source})
        delivery = await embedded.deliver(Submission(request=request, accepted_at=now_rfc3339()))
        await embedded.handler.handle(delivery)
        assert (await embedded.state.get(delivery.job_id)).error.code == "source_forbidden"


async def test_a_version_that_misses_its_plan_is_not_what_a_job_ends_with(embedded, song) -> None:
    """I4: the attempt before was killed between the version that missed and the one that does not."""
    delivery = await embedded.deliver(embedded.upload(song, options={"ladder": ["128k"], "outputs": []}))
    missed = embedded.asset(
        TRACK, job_id=delivery.job_id, order="2026-01-01", is_final=False, warnings=("loudness_missed",)
    )
    await point_to(embedded.storage, embedded.state, missed)
    await embedded.handler.handle(delivery)
    asset = await live_asset(embedded.storage, TRACK)
    assert (asset.is_final, asset.warnings, len(asset.renditions)) == (True, (), 1)
    assert asset.job_id == delivery.job_id


@pytest.mark.parametrize(("is_held", "left"), [(True, False), (False, True)], ids=["held", "lost"])
async def test_only_who_holds_the_job_takes_back_what_it_has_shown(
    embedded, monkeypatch: pytest.MonkeyPatch, is_held: bool, left: bool
) -> None:
    """Whoever lost it may meet an error while another attempt shows the same version."""
    delivery = await embedded.deliver(embedded.upload(b"this is no audio " * 100))
    await embedded.publish(TRACK, job_id=delivery.job_id, state="growing")

    async def extend(_: object) -> bool:
        return is_held

    monkeypatch.setattr(type(delivery), "extend", extend)
    await embedded.handler.handle(delivery)
    job = await embedded.state.get(delivery.job_id)
    assert (await live_asset(embedded.storage, TRACK) is not None) == left
    assert (job.status is JobState.FAILED, job.playable) == (not left, left)


async def test_what_was_shown_is_taken_back_before_a_job_is_called_failed(
    embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F12: while the storage is away nothing is said; the job comes again."""
    delivery = await embedded.deliver(embedded.upload(b"this is no audio " * 100))
    await embedded.publish(TRACK, job_id=delivery.job_id, state="growing")

    async def away(*_: object) -> bool:
        raise Unavailable("storage", "the storage is out of reach")

    monkeypatch.setattr(handler, "withdraw", away)
    await embedded.handler.handle(delivery)
    job = await embedded.state.get(delivery.job_id)
    assert (job.status, job.error) == (JobState.QUEUED, None)
    assert await embedded.outbox.claim() is None
