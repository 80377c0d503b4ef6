"""An error class is a reaction: one table says what HTTP answers and what becomes of the job.

The media's own three (Malformed, Unsupported, LimitExceeded) come from `pipeline.errors`; adapters
translate what their library raises into one of these at their edge.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pipeline.errors import LimitExceeded, Malformed, MediaError, Unsupported

__all__ = ["LimitExceeded", "Malformed", "MediaError", "Unsupported"]


class ServiceError(Exception):
    """Something other than the media is wrong; `code` is stable, `message` a sentence for people."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        limits: Mapping[str, float] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.limits = dict(limits or {})
        self.retry_after_s = retry_after_s


class BadRequest(ServiceError):
    """The request itself is not understood."""


class NotFound(ServiceError):
    """No such thing, or none that the caller may know of."""


class Conflict(ServiceError):
    """The thing is in the wrong state for this."""


class Unauthenticated(ServiceError):
    """A valid token is needed and was not given."""


class Denied(ServiceError):
    """Not you, or not any more."""


class Busy(ServiceError):
    """Admission refused; `retry_after_s` says when to come again."""


class Unavailable(ServiceError):
    """Something we depend on is down."""


class Fate(StrEnum):
    """What becomes of the job that met the error."""

    FAIL = "fail"
    REQUEUE = "requeue"
    RETRY = "retry"
    RETRY_ONCE = "retry_once"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """What the outside is told, and what happens to the job."""

    status: int
    title: str
    fate: Fate


REACTIONS: Mapping[type[Exception], Reaction] = {
    Malformed: Reaction(status=422, title="The file is broken", fate=Fate.FAIL),
    Unsupported: Reaction(status=415, title="Not supported", fate=Fate.FAIL),
    LimitExceeded: Reaction(status=413, title="Over a limit", fate=Fate.FAIL),
    BadRequest: Reaction(status=400, title="Bad request", fate=Fate.FAIL),
    NotFound: Reaction(status=404, title="Not found", fate=Fate.FAIL),
    Conflict: Reaction(status=409, title="Conflict", fate=Fate.FAIL),
    Unauthenticated: Reaction(status=401, title="A token is needed", fate=Fate.FAIL),
    Denied: Reaction(status=403, title="Not allowed", fate=Fate.FAIL),
    Busy: Reaction(status=429, title="Busy", fate=Fate.REQUEUE),
    Unavailable: Reaction(status=503, title="Unavailable", fate=Fate.RETRY),
}
OUR_BUG = Reaction(status=500, title="Internal error", fate=Fate.RETRY_ONCE)


def reaction_to(error: BaseException) -> Reaction:
    """The row of the table for `error`; what is in no row is our bug."""
    return next((row for kind, row in REACTIONS.items() if isinstance(error, kind)), OUR_BUG)
