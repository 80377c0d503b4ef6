"""A running job as others see it: where it stands is written down and announced, now and then.

The percentage counts over all stages and never falls.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from media_server.broker.base import Delivery
from media_server.jobs.events import Event, LadderMade, Planned, Probed, Progress
from media_server.jobs.job import Job, JobState, Stage, now_rfc3339
from media_server.state.base import State

SAVE_EVERY_S: Final = 0.25
"""Progress is written at most this often; a change of stage at once."""

ANNOUNCE_EVERY_S: Final = 1.0
"""Progress is announced at most this often; the start at once."""

STAGE_SHARE: Final = {
    Stage.FETCH: (0, 2),
    Stage.PROBE: (2, 3),
    Stage.ANALYZE: (3, 30),
    Stage.ENCODE: (30, 97),
    Stage.PUBLISH: (97, 100),
}
"""The part of the whole, in percent, that each stage stands for."""


class Watched:
    """One delivery's job; `job` is as it was last written.

    Args:
        clock: monotonic seconds.
    """

    def __init__(
        self, job: Job, delivery: Delivery, state: State, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.job = job
        self._delivery = delivery
        self._state = state
        self._clock = clock
        self._saved_at = self._announced_at = clock()

    async def start(self) -> None:
        """It runs."""
        self.job = self.job.to(
            JobState.RUNNING,
            stage=Stage.FETCH,
            percent=0.0,
            playable=False,
            attempt=self._delivery.attempt,
            started_at=now_rfc3339(),
            error=None,
        )
        await self._state.save(self.job)
        await self._delivery.announce("transcoding.started", self._news())

    async def reach(self, stage: Stage, fraction: float | None) -> None:
        """It is at that part of the stage; None where it has not moved."""
        low, high = STAGE_SHARE[stage]
        percent = self.job.percent if fraction is None else round(low + (high - low) * fraction, 1)
        percent, now = max(percent, self.job.percent), self._clock()
        moved = percent > self.job.percent and now - self._saved_at >= SAVE_EVERY_S
        if stage is self.job.stage and not moved:
            return
        self.job = replace(self.job, stage=stage, percent=percent)
        self._saved_at = now
        await self._state.save(self.job)
        if now - self._announced_at >= ANNOUNCE_EVERY_S:
            self._announced_at = now
            await self._delivery.announce("transcoding.progress", self._news())

    async def is_heard(self) -> None:
        """Listeners hear what there is; said once."""
        if not self.job.playable:
            self.job = replace(self.job, playable=True)
            await self._state.save(self.job)

    def _news(self) -> dict[str, Any]:
        job = self.job
        return {
            "job_id": job.job_id,
            "track_id": job.track_id,
            "attempt": job.attempt,
            "stage": job.stage.value if job.stage else None,
            "percent": job.percent,
        }


def place_of(event: Event, stage: Stage) -> tuple[Stage, float | None]:
    """Where a job stands after an event of its child, and how far in that stage; None if not told."""
    match event:
        case Probed():
            return Stage.ANALYZE, 0.0
        case Progress():
            return Stage(event.stage), event.fraction
        case Planned():
            return Stage.ENCODE, 0.0
        case LadderMade():
            return Stage.PUBLISH, 0.0
    return stage, None
