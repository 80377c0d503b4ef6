"""media_server/broker/rabbit_topology.py"""

from __future__ import annotations

import pytest

from media_server.broker.rabbit_topology import Topology

TOPOLOGY = Topology(exchange="veza.events", queue="media-server.transcode")
QUEUES = {planned.name: planned for planned in TOPOLOGY.planned()}


def test_the_names_are_those_of_the_contract() -> None:
    assert set(QUEUES) == {
        "media-server.transcode",
        *(f"media-server.transcode.retry.{tier}" for tier in ("10s", "60s", "10m")),
        "media-server.transcode.parked",
        "media-server.transcode.catalogue",
        *(f"media-server.transcode.catalogue.retry.{tier}" for tier in ("10s", "60s", "10m")),
        "media-server.transcode.callbacks",
        *(f"media-server.transcode.callbacks.retry.{tier}" for tier in ("1s", "10s", "60s", "10m")),
        "media-server.transcode.callbacks.parked",
    }


def test_every_queue_is_a_quorum_queue_with_a_net_for_crashes() -> None:
    """Contract: quorum queues. Fact 6: `x-delivery-limit` is only the net, far above our own attempts."""
    for planned in QUEUES.values():
        assert planned.arguments["x-queue-type"] == "quorum"
        assert int(planned.arguments["x-delivery-limit"]) >= 20


def test_a_retry_queue_leads_back_and_loses_nothing_on_the_way() -> None:
    """Contract: TTL, dead-lettered back, at-least-once, reject-publish."""
    for queue, tier, milliseconds in (
        ("", "10s", 10_000),
        (".catalogue", "60s", 60_000),
        (".callbacks", "10m", 600_000),
    ):
        arguments = QUEUES[f"media-server.transcode{queue}.retry.{tier}"].arguments
        assert arguments["x-message-ttl"] == milliseconds
        assert arguments["x-dead-letter-exchange"] == ""
        assert arguments["x-dead-letter-routing-key"] == f"media-server.transcode{queue}"
        assert arguments["x-dead-letter-strategy"] == "at-least-once"
        assert arguments["x-overflow"] == "reject-publish"


def test_uploads_and_changes_are_bound_by_their_names() -> None:
    assert set(QUEUES["media-server.transcode"].bindings) == {
        "track.uploaded",
        "TrackUploaded",
        "streaming.track.uploaded.v1",
    }
    assert set(QUEUES["media-server.transcode.catalogue"].bindings) == {
        "track.updated",
        "track.deleted",
        "user.deleted",
    }
    assert not any(
        planned.bindings for name, planned in QUEUES.items() if "retry" in name or "parked" in name
    )


@pytest.mark.parametrize(
    ("delay_s", "tier"),
    [
        (0.1, "10s"),
        (5, "10s"),
        (10, "10s"),
        (59, "10s"),
        (60, "60s"),
        (599, "60s"),
        (600, "10m"),
        (86_400, "10m"),
    ],
)
def test_a_delay_finds_the_longest_tier_that_is_not_longer(delay_s: float, tier: str) -> None:
    """What is left of a callback's delay is waited for again; a job comes about then."""
    queue = TOPOLOGY.queue
    assert TOPOLOGY.waiting_room(queue, delay_s) == f"{queue}.retry.{tier}"
    assert TOPOLOGY.waiting_room(queue, 0) == queue
    assert TOPOLOGY.waiting_room(TOPOLOGY.callbacks, 2) == f"{TOPOLOGY.callbacks}.retry.1s"
