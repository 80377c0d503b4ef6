"""What our own messages look like on RabbitMQ, and what their headers mean.

Pure. A message counts its attempts itself (`x-attempt`: those that are over), for brokers differ in what they
count, and one that stops counts every worker it hands the message to while it closes their connections: four
to ten of them. An attempt whose worker died is known by its mark in the state (see `rabbit_delivery`).
Source: reliability fact 6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractIncomingMessage, HeadersType

from media_server.broker.envelope import NO_CAUSES, Causes
from media_server.trace import TRACEPARENT

SUBMISSION: Final = "submission"
"""The type of a message that is ours."""

ATTEMPT, CRASHES = "x-attempt", "x-delivery-count"
TRACK, CAUSE = "x-track-id", "x-causation-id"
REASON, ERROR, PARKED_AT, BYTES = "x-reason", "x-error", "x-parked-at", "x-bytes"
Headers = Mapping[str, str | int]
LONGEST_ERROR: Final = 1024
EVIDENCE_BYTES: Final = 65_536
"""What is kept of a message that was too large to be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobMessage:
    """A job as it travels; `spent` counts the attempts that are over."""

    job_id: str
    track_id: str
    body: bytes
    spent: int = 0
    causes: Causes = NO_CAUSES

    def to_message(self, headers: Headers | None = None) -> Message:
        every: HeadersType = {
            TRACK: self.track_id,
            ATTEMPT: self.spent,
            **{
                name: value
                for name, value in ((CAUSE, self.causes.causation_id), (TRACEPARENT, self.causes.traceparent))
                if value is not None
            },
            **(headers or {}),
        }
        return Message(
            self.body,
            content_type="application/json",
            delivery_mode=DeliveryMode.PERSISTENT,
            message_id=self.job_id,
            correlation_id=self.causes.correlation_id,
            type=SUBMISSION,
            headers=every,
        )


def is_ours(message: AbstractIncomingMessage) -> bool:
    """Whether it came by a queue's name, not by the exchange where others publish."""
    return not message.exchange and message.type == SUBMISSION and bool(message.message_id)


def read_job(message: AbstractIncomingMessage) -> JobMessage:
    """A message of our own."""
    headers = message.headers
    return JobMessage(
        job_id=message.message_id or "",
        track_id=text(headers, TRACK) or "",
        body=message.body,
        spent=attempts_spent(message),
        causes=Causes(
            correlation_id=message.correlation_id,
            causation_id=text(headers, CAUSE),
            traceparent=text(headers, TRACEPARENT),
        ),
    )


def attempts_spent(message: AbstractIncomingMessage) -> int:
    """The attempts that are over, but those whose worker died."""
    return number(message.headers, ATTEMPT)


def again(message: AbstractIncomingMessage, headers: Headers) -> Message:
    """The same message once more, with these headers over its own.

    What the broker wrote into its headers is left out: it starts anew with each publishing.
    """
    kept = {
        name: value for name, value in message.headers.items() if not name.startswith(("x-death", "x-first"))
    }
    kept.pop(CRASHES, None)
    return Message(
        message.body,
        content_type=message.content_type,
        delivery_mode=DeliveryMode.PERSISTENT,
        message_id=message.message_id,
        correlation_id=message.correlation_id,
        timestamp=message.timestamp,
        type=message.type,
        headers={**kept, **headers},
    )


def poison(message: AbstractIncomingMessage, reason: str, error: str, *, at: float) -> Message:
    """The copy for the parking queue of a message that cannot be read; of a large one, its beginning."""
    return Message(
        message.body[:EVIDENCE_BYTES],
        content_type=message.content_type,
        delivery_mode=DeliveryMode.PERSISTENT,
        headers={
            REASON: reason,
            ERROR: error[:LONGEST_ERROR],
            PARKED_AT: stamp(at),
            BYTES: len(message.body),
            "x-routing-key": (message.routing_key or "")[:255],
        },
    )


def sent_at(message: AbstractIncomingMessage) -> datetime | None:
    """The publisher's time stamp, in UTC."""
    stamp = message.timestamp
    if stamp is None:
        return None
    return stamp.astimezone(UTC) if stamp.tzinfo else stamp.replace(tzinfo=UTC)


def number(headers: Mapping[str, Any], name: str) -> int:
    """A header that counts; 0 where it is absent or nonsense."""
    value = headers.get(name)
    return value if isinstance(value, int) and 0 <= value < 2**31 else 0


def stamp(seconds: float) -> int:
    """A moment of the wall clock as a header: whole milliseconds, for a float would have 32 bits there."""
    return round(seconds * 1000)


def moment(headers: Mapping[str, Any], name: str) -> float:
    """The seconds of the wall clock that a header holds; 0 where it is absent or nonsense."""
    value = headers.get(name)
    return value / 1000 if isinstance(value, int) else 0.0


def text(headers: Mapping[str, Any], name: str) -> str | None:
    """A header of text; bytes are UTF-8."""
    value = headers.get(name)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else None
