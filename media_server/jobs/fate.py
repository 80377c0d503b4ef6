"""What becomes of a job that met an error: pure decisions over the error's class and the attempt."""

from __future__ import annotations

from dataclasses import dataclass

from media_server.errors import Fate, MediaError, ServiceError, reaction_to
from media_server.jobs.job import JobError
from media_server.jobs.runner import DecoderCrash

RETRY_DELAYS_S = (10.0, 60.0, 600.0)
"""The contract's tiers; the last one repeats."""

MAX_ATTEMPTS = 6
"""More than a quarter of an hour of outage is survived: 10 + 60 + 3 x 600 s."""

CRASH_ATTEMPTS = 2
BUSY_DELAY_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """The job ends failed; `park` keeps a copy for people to look at."""

    error: JobError
    park: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """The job waits `delay_s` in the queue."""

    delay_s: float
    reason: str


Verdict = Fail | Retry


def decide(error: Exception, attempt: int) -> Verdict:
    """The fate of a job whose `attempt` (from 1) ended in `error`."""
    code, message, limits = _told(error)
    if isinstance(error, DecoderCrash):
        if attempt < CRASH_ATTEMPTS:
            return Retry(delay_s=0.0, reason=code)
        return Fail(error=JobError(code=code, message=message), park=True)
    match reaction_to(error).fate:
        case Fate.FAIL:
            return Fail(error=JobError(code=code, message=message, limits=limits))
        case Fate.REQUEUE:
            return Retry(delay_s=BUSY_DELAY_S, reason=code)
        case Fate.RETRY if attempt < MAX_ATTEMPTS:
            return Retry(delay_s=RETRY_DELAYS_S[min(attempt, len(RETRY_DELAYS_S)) - 1], reason=code)
        case Fate.RETRY_ONCE if attempt < CRASH_ATTEMPTS:
            return Retry(delay_s=RETRY_DELAYS_S[0], reason=code)
        case Fate.RETRY_ONCE:
            return Fail(error=JobError(code=code, message=message), park=True)
    gave_up = f"given up after {attempt} attempts, the last failed with {code}: {message}"
    return Fail(error=JobError(code="retries_exhausted", message=gave_up, retryable=True), park=True)


def given_up(attempt: int) -> Fail:
    """A job that was delivered too often: each time the worker died with it."""
    message = f"given up after {attempt - 1} attempts that each ended with the worker's death"
    return Fail(error=JobError(code="retries_exhausted", message=message, retryable=True), park=True)


def _told(error: Exception) -> tuple[str, str, dict[str, float]]:
    if isinstance(error, MediaError | ServiceError):
        return error.code, error.message, error.limits
    if isinstance(error, DecoderCrash):
        return error.code, error.message, {}
    return "internal_error", "something went wrong on our side", {}
