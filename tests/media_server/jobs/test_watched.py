"""media_server/jobs/watched.py: where a job stands, written down and announced now and then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from media_server.jobs.events import Finished, LadderMade, Planned, Probed, Progress
from media_server.jobs.job import Job, JobState, Stage
from media_server.jobs.watched import ANNOUNCE_EVERY_S, SAVE_EVERY_S, STAGE_SHARE, Watched, place_of

JOB = Job(job_id="j", track_id="t", created_at="2026-03-01T12:00:00.000Z")


@dataclass
class Listener:
    """A delivery that writes down what is announced of it; the embedded one tells nobody."""

    attempt: int = 2
    heard: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    async def announce(self, event_type: str, data: Mapping[str, Any]) -> None:
        self.heard.append((event_type, data))


@dataclass
class Clock:
    seconds: float = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watched(embedded, listener: Listener, clock: Clock) -> Watched:
    return Watched(JOB, listener, embedded.state, clock)  # type: ignore[arg-type] - announce is all it needs


async def test_the_start_is_on_record_and_told(embedded, watched: Watched, listener: Listener) -> None:
    """Contract: `transcoding.started` with `job_id`, `track_id`, `stage`, `percent`."""
    await watched.start()
    job = await embedded.state.get("j")
    assert job == watched.job
    assert (job.status, job.stage, job.percent, job.attempt) == (JobState.RUNNING, Stage.FETCH, 0.0, 2)
    [(event_type, data)] = listener.heard
    assert event_type == "transcoding.started"
    assert data == {"job_id": "j", "track_id": "t", "attempt": 2, "stage": "fetch", "percent": 0.0}


async def test_the_percentage_counts_over_all_stages_and_never_falls(
    embedded, watched: Watched, clock: Clock
) -> None:
    await watched.start()
    seen = []
    for stage, fraction in (
        (Stage.PROBE, 0.0),
        (Stage.ANALYZE, 1.0),
        (Stage.ENCODE, 0.5),
        (Stage.ENCODE, 0.1),
        (Stage.ENCODE, None),
        (Stage.PUBLISH, 0.0),
    ):
        clock.seconds += 1
        await watched.reach(stage, fraction)
        job = await embedded.state.get("j")
        seen.append((job.stage, job.percent))
    assert seen == [
        (Stage.PROBE, 2.0),
        (Stage.ANALYZE, 30.0),
        (Stage.ENCODE, 63.5),
        (Stage.ENCODE, 63.5),
        (Stage.ENCODE, 63.5),
        (Stage.PUBLISH, 97.0),
    ]


def test_the_stages_share_the_whole_without_a_gap() -> None:
    shares = [STAGE_SHARE[stage] for stage in Stage if stage is not Stage.DONE]
    assert [low for low, _ in shares] == [0, *(high for _, high in shares[:-1])]
    assert shares[-1][1] == 100


async def test_that_it_is_heard_is_written_once_and_taken_back_by_another_attempt(
    embedded, watched: Watched
) -> None:
    await watched.start()
    assert not (await embedded.state.get(watched.job.job_id)).playable
    await watched.is_heard()
    assert (await embedded.state.get(watched.job.job_id)).playable
    written = await embedded.state.revision()
    await watched.is_heard()
    assert await embedded.state.revision() == written
    await watched.start()
    assert not (await embedded.state.get(watched.job.job_id)).playable


async def test_progress_is_written_now_and_then_and_a_stage_at_once(
    embedded, watched: Watched, clock: Clock
) -> None:
    await watched.start()
    written = await embedded.state.revision()
    await watched.reach(Stage.ENCODE, 0.0)
    for step in range(10):
        clock.seconds += SAVE_EVERY_S / 10.5
        await watched.reach(Stage.ENCODE, (step + 1) / 100)
    assert await embedded.state.revision() == written + 1
    clock.seconds += SAVE_EVERY_S / 10
    await watched.reach(Stage.ENCODE, 0.2)
    assert await embedded.state.revision() == written + 2


async def test_progress_is_announced_rarely(watched: Watched, listener: Listener, clock: Clock) -> None:
    await watched.start()
    for step in range(1, 21):
        clock.seconds += ANNOUNCE_EVERY_S / 4
        await watched.reach(Stage.ENCODE, step / 20)
    told = [data["percent"] for event_type, data in listener.heard if event_type == "transcoding.progress"]
    assert len(told) == 5
    assert told == sorted(told)


def test_what_a_child_says_is_a_place() -> None:
    probed = Probed(container="wav", codec="pcm_s16le", rate_hz=48_000, channels=2)
    planned = Planned(
        samples=1, channels=2, integrated_lufs=None, range_lu=None, true_peak_dbtp=None, gain_db=0, reason=""
    )
    assert place_of(probed, Stage.PROBE) == (Stage.ANALYZE, 0.0)
    assert place_of(Progress(stage="encode", fraction=0.25), Stage.ANALYZE) == (Stage.ENCODE, 0.25)
    assert place_of(planned, Stage.ANALYZE) == (Stage.ENCODE, 0.0)
    assert place_of(LadderMade(), Stage.ENCODE) == (Stage.PUBLISH, 0.0)
    assert place_of(Finished(), Stage.PUBLISH) == (Stage.PUBLISH, None)
