"""media_server/broker/rabbit_message.py"""

from __future__ import annotations

from typing import Any, cast

from aio_pika import IncomingMessage, Message
from aio_pika.abc import AbstractIncomingMessage
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from media_server.broker.envelope import Causes
from media_server.broker.rabbit_message import (
    JobMessage,
    again,
    attempts_spent,
    is_ours,
    moment,
    number,
    poison,
    read_job,
    stamp,
    text,
)

JOB = JobMessage(
    job_id="j",
    track_id="t",
    body=b"{}",
    spent=2,
    causes=Causes(correlation_id="c", causation_id="e", traceparent="00-1-2-01"),
)


def came(message: Message, *, exchange: str = "", crashes: int | None = None) -> AbstractIncomingMessage:
    """The message as the broker hands it over."""
    frame = Basic.Deliver("tag", 1, False, exchange, "queue")
    properties = message.properties
    if crashes is not None:
        properties.headers = {**properties.headers, "x-delivery-count": crashes}
    header = ContentHeader(properties=properties)
    delivered = DeliveredMessage(delivery=frame, header=header, body=message.body, channel=cast(Any, None))
    return IncomingMessage(delivered)


def test_a_job_is_read_as_it_was_written() -> None:
    message = came(JOB.to_message())
    assert is_ours(message)
    assert read_job(message) == JOB


def test_attempts_are_counted_by_a_header_of_our_own() -> None:
    """Fact 6: brokers differ in what they count, and one that stops counts far too much."""
    assert attempts_spent(came(JOB.to_message(), crashes=4)) == 2
    assert attempts_spent(came(JobMessage(job_id="j", track_id="t", body=b"").to_message())) == 0


def test_what_came_through_an_exchange_is_not_ours_whatever_it_says() -> None:
    assert not is_ours(came(JOB.to_message(), exchange="veza.events"))


def test_a_message_that_goes_round_again_keeps_its_own_headers_and_none_of_the_brokers() -> None:
    message = came(JOB.to_message({"x-tries": 1, "x-death": "broker", "x-first-death-queue": "q"}), crashes=4)
    copy = again(message, {"x-tries": 2})
    assert copy.headers == {
        "x-track-id": "t",
        "x-attempt": 2,
        "x-causation-id": "e",
        "traceparent": "00-1-2-01",
        "x-tries": 2,
    }
    assert (copy.body, copy.message_id, copy.type) == (b"{}", "j", "submission")


def test_poison_is_kept_as_evidence_as_far_as_it_is_small() -> None:
    message = came(JobMessage(job_id="j", track_id="t", body=b"x" * 100_000).to_message())
    copy = poison(message, "too_large", "e" * 5000, at=12.5)
    assert len(copy.body) == 65_536
    assert copy.headers["x-bytes"] == 100_000
    assert (copy.headers["x-reason"], copy.headers["x-parked-at"]) == ("too_large", 12_500)
    assert len(str(copy.headers["x-error"])) == 1024


def test_headers_of_others_may_be_nonsense() -> None:
    assert moment({"at": stamp(1_795_000_000.125)}, "at") == 1_795_000_000.125
    headers = {"n": "7", "big": 2**40, "minus": -1, "bytes": b"a\xff", "list": [1]}
    assert [number(headers, name) for name in ("n", "big", "minus", "absent")] == [0, 0, 0, 0]
    assert [text(headers, name) for name in ("bytes", "list", "absent")] == ["a\ufffd", None, None]
    assert [moment(headers, name) for name in ("n", "big")] == [0.0, 2**40 / 1000]
