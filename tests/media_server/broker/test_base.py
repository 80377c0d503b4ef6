"""media_server/broker/base.py: what its values are; what the ports do is tests/contract/test_broker.py."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from media_server.broker.base import Callback, OutboxCounts, PendingCallback, QueueDepth


def test_what_is_to_be_told_cannot_change_on_its_way() -> None:
    callback = Callback(job_id="j", track_id="t", body={"status": "completed"})
    with pytest.raises(FrozenInstanceError):
        callback.job_id = "k"  # type: ignore[misc]
    assert callback.traceparent is None


def test_a_callback_that_was_never_refused_has_no_error_and_no_trace_of_its_own() -> None:
    pending = PendingCallback(
        id=1, job_id="j", track_id="t", sequence=1, body={"sequence": 1}, tries=1, created_at=0.0
    )
    assert (pending.error, pending.traceparent) == (None, None)


def test_counts_are_compared_by_what_they_count() -> None:
    assert QueueDepth(0, None) == QueueDepth(0, None) != QueueDepth(1, 0.0)
    assert OutboxCounts(pending=1, parked=2) == OutboxCounts(1, 2)
