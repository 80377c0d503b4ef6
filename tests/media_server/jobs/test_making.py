"""The wish for a file: the same for all who have it, and only for what the source can give."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from pydantic import ValidationError

from hls.asset import AssetDownload, AssetRendition, AssetSource, StoredFile
from media_server.jobs.job import JobState
from media_server.jobs.making import LOST_AFTER_S, Making, ask, is_making, is_on_its_way, lacking, offered

TRACK = "0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11"
MAKING = Making(track_id=TRACK, version="0123456789abcdef", output="ogg-192")
SOURCE = AssetSource(
    container="wav", codec="pcm_s24le", rate_hz=96_000, channels=2, bit_depth=32, bit_rate_bps=None
)
FILE = StoredFile(name="init", bytes=1, sha256="", media_type="")
RENDITION = AssetRendition(
    name="128k",
    codec="mp4a.40.2",
    bitrate_bps=128_000,
    rate_hz=48_000,
    channels=2,
    priming_samples=1024,
    init=FILE,
    segments=(),
)


def test_the_same_wish_is_the_same_job_and_another_is_not() -> None:
    same = Making.model_validate_json(MAKING.to_json())
    assert (same, same.job_id) == (MAKING, MAKING.job_id)
    others = [{"output": "ogg-128"}, {"version": "0" * 16}]
    assert len({MAKING.job_id, *(MAKING.model_copy(update=other).job_id for other in others)}) == 3


def test_it_is_told_from_other_messages(embedded) -> None:
    assert is_making(MAKING.to_json())
    assert not is_making(embedded.upload(b"a").to_json())
    assert not is_making(b"\xff not JSON")
    assert not is_making(b"[]")


@pytest.mark.parametrize("wrong", [{"output": "mp3-7"}, {"version": "../x"}, {"track_id": "x"}])
def test_what_names_no_file_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Making.model_validate({**MAKING.model_dump(), **wrong})


async def test_many_who_ask_are_one_message(embedded) -> None:
    asset = embedded.asset(version=MAKING.version)
    for _ in range(3):
        known = await embedded.state.get(MAKING.job_id)
        await ask(asset, MAKING.output, broker=embedded.broker, state=embedded.state, known=known)
    assert (await embedded.broker.depth()).waiting == 1
    job = await embedded.state.get(MAKING.job_id)
    assert (job.status, job.title) == (JobState.QUEUED, "Song (ogg-192)")
    assert is_on_its_way(job, time.time())
    assert not is_on_its_way(None, time.time())


async def test_what_nobody_has_heard_of_for_long_is_asked_for_again(embedded) -> None:
    """Its message went with a track that was deleted, and is there again with the same version."""
    asset = embedded.asset(version=MAKING.version)
    await ask(asset, MAKING.output, broker=embedded.broker, state=embedded.state, known=None)
    await embedded.broker.withdraw(TRACK)
    lost = await embedded.state.get(MAKING.job_id)
    later = time.time() + LOST_AFTER_S
    assert not is_on_its_way(lost, later)
    await ask(asset, MAKING.output, broker=embedded.broker, state=embedded.state, known=lost)
    assert (await embedded.broker.depth()).waiting == 1
    assert (await embedded.state.get(MAKING.job_id)).created_at >= lost.created_at


async def test_one_whose_message_is_about_to_go_is_not_on_its_way_again(embedded) -> None:
    """Its end is on record and its acknowledgement is not: nothing more comes of a message of that moment."""
    asset = embedded.asset(version=MAKING.version)
    await ask(asset, MAKING.output, broker=embedded.broker, state=embedded.state, known=None)
    await embedded.broker.receive()
    ended = (await embedded.state.get(MAKING.job_id)).to(JobState.RUNNING).to(JobState.COMPLETED)
    await embedded.state.save(ended)
    await ask(asset, MAKING.output, broker=embedded.broker, state=embedded.state, known=ended)
    assert (await embedded.state.get(MAKING.job_id)).status is JobState.COMPLETED


def test_what_is_lacking_is_what_the_job_asked_for_and_the_source_can_give(embedded) -> None:
    """A lossy source has no FLAC, and none of it is a rate that the source has not."""
    options = {"outputs": ["mp3-320", "flac", "ogg-128"]}
    asset = embedded.asset(renditions=(RENDITION,), source=SOURCE, options=options)
    assert lacking(asset) == ("mp3-320", "flac", "ogg-128")
    ogg = AssetDownload(
        name="ogg-128", format="ogg", bitrate_bps=128_000, rate_hz=48_000, channels=2, file=FILE
    )
    assert lacking(replace(asset, downloads=(ogg,))) == ("mp3-320", "flac")
    lossy = replace(SOURCE, bit_depth=None, bit_rate_bps=200_000)
    assert lacking(replace(asset, source=lossy)) == ("mp3-192", "ogg-128")


def test_what_is_offered_is_what_the_source_can_give(embedded) -> None:
    asset = embedded.asset(renditions=(RENDITION,), source=SOURCE)
    names = [output.name for output in offered(asset)]
    assert {"mp3-320", "m4a-256", "ogg-128-44100", "opus-64", "flac"} <= set(names)
    lossy = replace(SOURCE, bit_depth=None, bit_rate_bps=160_000)
    assert [output.name for output in offered(replace(asset, source=lossy)) if output.rate_hz == 48_000] == [
        "mp3-128", "m4a-128", "ogg-128", "opus-64", "opus-96", "opus-128"
    ]  # fmt: skip
    assert offered(replace(asset, source=None)) == ()
