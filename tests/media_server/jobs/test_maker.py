"""A delivery becomes one more file of a live track; whatever else happens, nothing is left half made."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
import signals
import whole_files

from hls.asset import Asset, AssetDownload, AssetSource, StoredFile
from media_server.broker.base import Delivery
from media_server.jobs.addition import order_of
from media_server.jobs.fate import MAX_ATTEMPTS
from media_server.jobs.job import JobRequest, JobState, now_rfc3339
from media_server.jobs.maker import Maker
from media_server.jobs.making import Making, ask
from media_server.jobs.publish import live_asset
from media_server.jobs.submission import Submission
from media_server.jobs.worker import Worker
from media_server.metrics import Metrics
from media_server.storage.assets import asset_key, download_key, original_key, track_prefix
from pipeline.equalizer import PRESETS

TRACK = "0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11"
OPTIONS = {"ladder": ["128k"], "outputs": [], "eq": {"preset": "warm"}}
LIVE = {
    "version": "0" * 16,
    "source": AssetSource(
        container="flac", codec="flac", rate_hz=44_100, channels=2, bit_depth=16, bit_rate_bps=None
    ),
}
"""What an upload would have left, without the work; its original is not kept."""


@pytest.fixture
def maker(embedded) -> Maker:
    return Maker(
        settings=embedded.settings,
        folders=embedded.folders,
        storage=embedded.storage,
        state=embedded.state,
        published=embedded.published.append,
    )


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("short") / "short.flac"
    signals.write(path, signals.music(0.5, 44_100), 44_100, "flac", tags={"album": "A"})
    return path.read_bytes()


async def published(embedded, data: bytes) -> Asset:
    """The track of an upload, made by a job."""
    submission = embedded.upload(data, title="Song", options=OPTIONS)
    await embedded.handler.handle(await embedded.deliver(submission))
    asset = await live_asset(embedded.storage, TRACK)
    assert asset is not None
    return asset


async def asked(embedded, asset: Asset, output: str = "opus-64") -> tuple[Making, Delivery]:
    making = Making(track_id=asset.track_id, version=asset.version, output=output)
    known = await embedded.state.get(making.job_id)
    await ask(asset, output, broker=embedded.broker, state=embedded.state, known=known)
    delivery = await embedded.broker.receive()
    assert delivery is not None
    return making, delivery


async def test_a_file_is_made_of_the_kept_original_and_listed(embedded, maker, short, tmp_path) -> None:
    """With the track's own words and gain; the worker knows whom to give the message to."""
    asset = await published(embedded, short)
    making = Making(track_id=TRACK, version=asset.version, output="opus-64")
    await ask(asset, "opus-64", broker=embedded.broker, state=embedded.state, known=None)
    assert await Worker(embedded.broker, embedded.handler, Metrics(), 1, maker).burst() == 1
    live = await live_asset(embedded.storage, TRACK)
    assert live is not None
    order = order_of(live, "opus-64", tmp_path, embedded.settings)
    assert order.equalizer == PRESETS["warm"]
    assert (order.plan.gain_db, order.plan.reason) == (asset.loudness.gain_db, asset.loudness.reason)
    loudness = replace(live.loudness, reason="limited", limit_dbtp=-1.5, planned_lufs=-14.2)
    limited = order_of(replace(live, loudness=loudness), "opus-64", tmp_path, embedded.settings).plan
    assert (limited.limit_dbtp, limited.planned_lufs) == (-1.5, -14.2)
    [download] = live.downloads
    data = await embedded.storage.get(download_key(TRACK, asset.version, download.file.name))
    assert hashlib.sha256(data).hexdigest() == download.file.sha256
    assert whole_files.heard(data, 2).shape[1] == 24_000
    _, tags = whole_files.seen(data, tmp_path)
    assert (tags["title"], tags["album"]) == ("Song", "A")
    r128 = -23 - asset.loudness.planned_lufs
    assert int(tags["r128_track_gain"]) == pytest.approx(r128 * 256, abs=1)
    job = await embedded.state.get(making.job_id)
    assert (job.status, job.percent) == (JobState.COMPLETED, 100.0)
    assert embedded.published == [TRACK] * 3, "as it grows, when it is whole, with the file"
    assert not list(embedded.folders.attempts.iterdir())


async def test_a_source_that_others_keep_is_brought_again(embedded, maker, short) -> None:
    """Nobody uploaded it: asset.json says where it lies."""
    (embedded.settings.upload_dir / "song.flac").write_bytes(short)
    request = JobRequest.model_validate(
        {"track_id": TRACK, "source": {"path": "song.flac"}, "options": OPTIONS}
    )
    submission = Submission(request=request, accepted_at=now_rfc3339())
    await embedded.handler.handle(await embedded.deliver(submission))
    asset = await live_asset(embedded.storage, TRACK)
    _, delivery = await asked(embedded, asset)
    await maker.handle(delivery)
    assert [one.name for one in (await live_asset(embedded.storage, TRACK)).downloads] == ["opus-64"]


async def test_a_file_that_is_there_is_not_made_again(embedded, maker) -> None:
    """A crash between the asset and the acknowledgement."""
    file = StoredFile(name="opus-64-00000000.opus", bytes=1, sha256="0" * 64, media_type="audio/ogg")
    there = AssetDownload(
        name="opus-64", format="opus", bitrate_bps=64_000, rate_hz=48_000, channels=2, file=file
    )
    asset = await embedded.publish(**LIVE, downloads=(there,))
    making, delivery = await asked(embedded, asset)
    await maker.handle(delivery)
    assert (await embedded.state.get(making.job_id)).status is JobState.COMPLETED
    assert await live_asset(embedded.storage, TRACK) == asset
    assert embedded.published == []


async def test_of_a_deleted_track_nothing_is_left(embedded, maker) -> None:
    asset = await embedded.publish(**LIVE)
    making, delivery = await asked(embedded, asset)
    await embedded.storage.delete(asset_key(TRACK))
    await maker.handle(delivery)
    assert (await embedded.state.get(making.job_id)).error.code == "track_not_found"
    assert await embedded.storage.list(track_prefix(TRACK)) == []
    assert await embedded.broker.receive() is None


@pytest.mark.parametrize(
    ("original", "code"), [(None, "source_not_found"), (b"another file", "source_changed")]
)
async def test_without_its_original_a_file_fails_once(
    embedded, maker, original: bytes | None, code: str
) -> None:
    asset = await embedded.publish(**LIVE)
    if original:
        await embedded.storage.put(original_key(TRACK), original, media_type="")
    making, delivery = await asked(embedded, asset)
    await maker.handle(delivery)
    job = await embedded.state.get(making.job_id)
    assert (job.status, job.error.code) == (JobState.FAILED, code)
    assert await embedded.broker.receive() is None
    assert (await live_asset(embedded.storage, TRACK)).downloads == ()


async def test_of_a_replaced_track_nothing_is_made(embedded, maker) -> None:
    asset = await embedded.publish(**LIVE)
    making, delivery = await asked(embedded, asset)
    await embedded.publish(version="f" * 16, order="2999-01-01T00:00:00.000Z")
    await maker.handle(delivery)
    assert (await embedded.state.get(making.job_id)).error.code == "superseded"


async def test_what_kills_its_worker_again_and_again_is_given_up(embedded, maker) -> None:
    asset = await embedded.publish(**LIVE)
    making = Making(track_id=TRACK, version=asset.version, output="opus-64")
    await ask(asset, "opus-64", broker=embedded.broker, state=embedded.state, known=None)
    for _ in range(MAX_ATTEMPTS):
        delivery = await embedded.broker.receive()
        await delivery.retry(0)
    await maker.handle(await embedded.broker.receive())
    assert (await embedded.state.get(making.job_id)).error.code == "retries_exhausted"
    assert [message.job_id for message in await embedded.broker.parked()] == [making.job_id]


async def test_a_message_of_another_version_is_parked(embedded, maker) -> None:
    job_id = "11111111-1111-4111-8111-111111111111"
    await embedded.broker.publish(job_id, TRACK, b'{"kind": "file", "schema_version": 2}')
    await maker.handle(await embedded.broker.receive())
    assert [message.reason for message in await embedded.broker.parked()] == ["bad_job"]
