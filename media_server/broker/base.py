"""The broker port: messages that must be acknowledged, and the callbacks they leave behind.

A message stays until it is acknowledged. Whoever receives it holds its track's lease with a fencing number
that only ever rises; a worker that lost the lease can no longer change anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """Messages that wait to be received, and the age of the oldest in seconds; None where none waits."""

    waiting: int
    oldest_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedMessage:
    """The copy of a message that was given up, for people to look at; `parked_at` as the broker's clock."""

    job_id: str
    track_id: str
    parked_at: float
    attempt: int
    reason: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """What is to be told; `body` without its `sequence`, which the outbox gives.

    `traceparent` is the job's, as the one who asked for it told; None if it told none.
    """

    job_id: str
    track_id: str
    body: Mapping[str, Any]
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingCallback:
    """A callback in hand; `tries` counts this one, `body` carries the `sequence`.

    `created_at` is when its job ended, in seconds of the wall clock; `error` is why the last try failed.
    """

    id: int
    job_id: str
    track_id: str
    sequence: int
    body: Mapping[str, Any]
    tries: int
    created_at: float
    error: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class OutboxCounts:
    """Callbacks that are still to be delivered, and those that were given up."""

    pending: int
    parked: int


Told = tuple[str, Mapping[str, Any]]
"""An event's type and data."""


class Delivery(Protocol):
    """A message in hand. `attempt` counts from 1; ack, park, retry and release each end it.

    `body` is a Submission as JSON. Two deliveries of one track are never in hand at once.

    Raises (all but `announce`, `is_current` and `extend`):
        Conflict: `lease_lost`; nothing was changed.
        Unavailable: the broker is out of reach; the message will come again.
    """

    @property
    def job_id(self) -> str: ...
    @property
    def track_id(self) -> str: ...
    @property
    def body(self) -> bytes: ...
    @property
    def attempt(self) -> int: ...
    @property
    def fence(self) -> int: ...

    async def announce(self, event_type: str, data: Mapping[str, Any]) -> None:
        """Tell the others on the broker of this job, such as `transcoding.progress`; nobody, if embedded.

        It never raises and never waits long: what must arrive goes with `ack`.
        """
        ...

    async def ack(self, callback: Callback | None = None, told: Told | None = None) -> None:
        """Done: the callback is safe in the outbox, the event `told` is out, the message goes."""
        ...

    async def park(self, reason: str, callback: Callback | None = None, told: Told | None = None) -> None:
        """Given up: as `ack`, and a copy of the message stays for people to look at."""
        ...

    async def retry(self, delay_s: float) -> None:
        """Once more, about `delay_s` from now."""
        ...

    async def release(self) -> None:
        """Back to the queue as if it had not been received."""
        ...

    async def extend(self) -> bool:
        """Hold it for another lease; False if it is somebody else's already."""
        ...

    async def is_current(self) -> bool:
        """Whether the lease still holds, at this moment."""
        ...


class Broker(Protocol):
    """The queue of jobs.

    Raises:
        Unavailable: `broker`, it is out of reach.
    """

    async def publish(
        self,
        job_id: str,
        track_id: str,
        body: bytes,
        *,
        delay_s: float = 0,
        traceparent: str | None = None,
    ) -> bool:
        """Make the message durable; False if that job is known to be in the queue already.

        What is told of the job on the way carries `traceparent`.
        """
        ...

    async def receive(self) -> Delivery | None:
        """The next message that is due and whose track nobody works on; None if there is none.

        A cancelled receive leaves the queue as it was.
        """
        ...

    async def wait(self, timeout_s: float) -> None:
        """Until something may have made a receive worthwhile, or the time is over."""
        ...

    async def depth(self) -> QueueDepth:
        """What waits, retries that are not due yet included."""
        ...

    async def withdraw(self, track_id: str) -> int:
        """Take the messages of a track that nobody works on out of the queue, where that can be done."""
        ...

    async def parked(self) -> list[ParkedMessage]:
        """What was given up, oldest first."""
        ...

    async def stop_receiving(self) -> None:
        """Nothing more is received here; what is on its way to this process goes to others."""
        ...

    async def check(self) -> None:
        """Raise if a message could not be published now."""
        ...


class Outbox(Protocol):
    """The callbacks that are due to the companion API, in order for each track."""

    async def claim(self) -> PendingCallback | None:
        """The next callback that is due, held by this process until it says what became of it."""
        ...

    async def done(self, callback_id: int) -> None:
        """It was delivered."""
        ...

    async def again(self, callback_id: int, delay_s: float, error: str) -> None:
        """It is due again `delay_s` from now; nothing happens if the claim was lost meanwhile."""
        ...

    async def park(self, callback_id: int, error: str) -> None:
        """It is given up, for people to look at; nothing happens if the claim was lost meanwhile."""
        ...

    async def retry_parked(self, callback_id: int) -> bool:
        """Due now and for another day; False if it is not parked, or its track was told something newer."""
        ...

    async def parked(self) -> list[PendingCallback]:
        """What was given up, oldest first."""
        ...

    async def counts(self) -> OutboxCounts: ...


class Locks(Protocol):
    """Leases by name, kept by the state: one holder at a time, with a fencing number that only ever rises."""

    async def acquire(self, name: str, ttl_s: float) -> int | None:
        """The fencing number (>= 1) of a new lease on `name`, None while somebody holds it."""
        ...

    async def renew(self, name: str, fence: int, ttl_s: float) -> bool:
        """Hold it on; False if the lease is not ours any more."""
        ...

    async def release(self, name: str, fence: int) -> None:
        """Give it back; nothing happens if it is not ours any more."""
        ...

    async def next_number(self, name: str) -> int:
        """1, 2, 3 ... for each name; never the same twice."""
        ...
