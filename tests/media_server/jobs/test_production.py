"""A version goes live when it can be heard; whole files of it follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import signals

from hls.asset import Asset
from media_server.jobs.handler import Handler
from media_server.jobs.job import JobState
from media_server.metrics import Metrics
from media_server.settings import Settings
from media_server.storage.assets import asset_key

TRACK = "0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11"
OPTIONS = {"ladder": ["128k"], "outputs": ["mp3-320"]}


class Seen:
    """What is live each time that something has gone live."""

    def __init__(self, storage: Path) -> None:
        self._pointer = storage / asset_key(TRACK)
        self.assets: list[Asset] = []

    def look(self, _: str) -> None:
        self.assets.append(Asset.from_json(self._pointer.read_bytes()))


def handler(embedded: Any, seen: Seen, settings: Settings) -> Handler:
    return Handler(
        settings=settings,
        folders=embedded.folders,
        storage=embedded.storage,
        state=embedded.state,
        broker=embedded.broker,
        metrics=Metrics(),
        published=seen.look,
    )


def quiet_song(folder: Path) -> bytes:
    """Few bytes as FLAC, many as MP3."""
    path = folder / "song.flac"
    signals.write(path, signals.sine(440, 5.0), 48_000, "flac")
    return path.read_bytes()


async def test_the_ladder_is_heard_before_its_files_are_made(embedded: Any, tmp_path: Path) -> None:
    """contract, outputs: made after the ladder is playable; of that, listeners hear what there is."""
    seen = Seen(embedded.folders.storage)
    delivery = await embedded.deliver(embedded.upload(quiet_song(tmp_path), options=OPTIONS))
    await handler(embedded, seen, embedded.settings).handle(delivery)
    assert [asset.state for asset in seen.assets] == ["growing", "complete", "complete"]
    assert [[one.name for one in asset.downloads] for asset in seen.assets] == [[], [], ["mp3-320"]]
    assert len({asset.version for asset in seen.assets}) == 1
    callback = await embedded.outbox.claim()
    assert [one["format"] for one in callback.body["downloads"]] == ["mp3"]


async def test_a_file_that_cannot_be_had_costs_a_warning_and_not_the_track(
    embedded: Any, tmp_path: Path
) -> None:
    """Whoever listens already must not be told that there is no track."""
    seen = Seen(embedded.folders.storage)
    source = quiet_song(tmp_path)
    settings = embedded.settings.model_copy(update={"max_source_bytes": len(source)})
    delivery = await embedded.deliver(embedded.upload(source, options=OPTIONS))
    await handler(embedded, seen, settings).handle(delivery)
    job = await embedded.state.get(delivery.job_id)
    assert (job.status, job.warnings) == (JobState.COMPLETED, ("output_left_out",))
    assert seen.assets[-1].downloads == ()
    assert seen.assets[-1].warnings == ("output_left_out",)
    assert (await embedded.outbox.claim()).body["status"] == "completed"
