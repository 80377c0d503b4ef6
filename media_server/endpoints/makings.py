"""Files of a track that are made when somebody first asks for them.

Owns: who may have how many made, and what is answered until the file is there: a 503 that says when to come
again, the code of a making that failed. The file itself is made by a worker, once for all who ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from starlette.requests import Request

from hls.asset import Asset
from media_server.auth.principal import ANONYMOUS, Principal, Role
from media_server.endpoints.admission import identify
from media_server.endpoints.budgets import network_of
from media_server.endpoints.services import Services, services_of
from media_server.errors import Busy, Conflict, Denied, ServiceError, Unauthenticated, Unavailable
from media_server.jobs.job import Job, JobState
from media_server.jobs.making import Making, ask, is_on_its_way
from media_server.state.buckets import Budget
from pipeline.outputs import Output

HOUR_S: Final = 3600.0
COME_AGAIN_S: Final = 2.0

FAILED_FOR_S: Final = 600.0
"""How long a making that failed answers for itself before it is tried again."""

PER_HOUR: Final[Mapping[Role, int]] = {Role.GUEST: 6, Role.USER: 18, Role.PREMIUM: 60, Role.CREATOR: 120}
"""Files that one listener may have made, a third of them at once; moderators and admins as many as they want.

A song costs a worker some seconds, and uploads wait in the same queue.
"""

PER_TRACK: Final = Budget.of(30, HOUR_S, burst=10)
"""All listeners together; there are 37 files of a track, so this is for tracks that are replaced."""


async def refusal(request: Request, asset: Asset, output: Output) -> ServiceError:
    """See to it that the file is made, if that is not so yet; the error that is the answer meanwhile.

    Raises:
        Busy: `too_many_files`.
        Unavailable: the queue or the state is out of reach.
    """
    services = services_of(request)
    making = Making(track_id=asset.track_id, version=asset.version, output=output.name)
    known = await services.state.get(making.job_id)
    if is_on_its_way(known, services.now()) or await _is_just_made(services, making, known):
        return _being_made(output)
    if known is not None and known.error is not None and _age_s(known, services.now()) < FAILED_FOR_S:
        return Conflict(known.error.code, f"{output.name} could not be made: {known.error.message}")
    if request.method != "GET":
        return Unavailable("not_made", f"{output.name} is made when it is asked for with GET")
    await _admit(services, request, asset.track_id)
    await ask(asset, output.name, broker=services.broker, state=services.state, known=known)
    return _being_made(output)


def _being_made(output: Output) -> Unavailable:
    return Unavailable("being_made", f"{output.name} is being made", retry_after_s=COME_AGAIN_S)


async def _is_just_made(services: Services, making: Making, known: Job | None) -> bool:
    """Whether it is there, and only the asset that this process remembers is older."""
    if known is None or known.status is not JobState.COMPLETED:
        return False
    services.assets.forget(making.track_id)
    asset = await services.assets.asset(making.track_id)
    return any(download.name == making.output for download in asset.downloads)


def _age_s(job: Job, now: float) -> float:
    ended = datetime.fromisoformat(job.finished_at) if job.finished_at else datetime.fromtimestamp(0, UTC)
    return now - ended.timestamp()


async def _admit(services: Services, request: Request, track_id: str) -> None:
    """Count the file for who asks, then for the track.

    Raises:
        Busy: `too_many_files`.
    """
    principal = _principal(request, track_id)
    count = PER_HOUR.get(principal.rank)
    if count is not None and not services.settings.playback_is_open:
        who = principal.subject or network_of(request.client.host if request.client else None)
        budget = Budget.of(count, HOUR_S, burst=count // 3)
        await _spend(
            services, f"files {who}", budget, f"more than {count} files an hour are asked for from here"
        )
    await _spend(services, f"files-of {track_id}", PER_TRACK, "too many files of this track are asked for")


async def _spend(services: Services, name: str, budget: Budget, why: str) -> None:
    if wait_s := await services.buckets.take(name, budget):
        raise Busy("too_many_files", why, retry_after_s=wait_s)


def _principal(request: Request, track_id: str) -> Principal:
    """Who asks; a credential that does not hold is as good as none, for who may listen was decided before."""
    try:
        return identify(request, track_id)
    except (Unauthenticated, Denied):
        return ANONYMOUS
