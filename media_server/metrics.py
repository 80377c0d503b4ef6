"""What this server counts, under the contract's names.

Owns: one registry of its own and the label sets, which are finite: a method that HTTP does not know is
`OTHER`, an address is never a label, and an endpoint is the route's template or `unmatched`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED: Final = "unmatched"
NO_CODE: Final = "none"

# the platform's targets lie at 100 ms (p95), 200 ms (p99) and, for the alert, 500 ms
REQUEST_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# from the probe of a short file to the encoding of four hours
STAGE_BUCKETS_S: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 1800.0)

# a second series per counter, with the time it was born, would double the count for nothing
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves this one untyped


class Metrics:
    """The server's metrics. Several can live side by side: each has its own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "veza_http_requests_total",
            "Requests answered; 499: the client left first.",
            ("method", "endpoint", "status"),
            registry=self.registry,
        )
        self._request_duration = Histogram(
            "veza_http_request_duration_seconds",
            "From the request's head to the last byte of the answer.",
            ("method", "endpoint"),
            buckets=REQUEST_BUCKETS_S,
            registry=self.registry,
        )
        self._rate_limited = Counter(
            "veza_http_rate_limited_total",
            "Requests refused, by the limit that they passed.",
            ("limit",),
            registry=self.registry,
        )
        self._jobs = Counter(
            "veza_stream_jobs_total",
            "Jobs that ended, by how and by error code.",
            ("status", "code"),
            registry=self.registry,
        )
        self._job_stage = Histogram(
            "veza_stream_job_stage_seconds",
            "Time a job spent in a stage.",
            ("stage",),
            buckets=STAGE_BUCKETS_S,
            registry=self.registry,
        )
        self._queue_depth = self._gauge("veza_stream_queue_depth", "Jobs waiting.")
        self._queue_oldest = self._gauge(
            "veza_stream_queue_oldest_seconds", "Age of the job that has waited longest; 0 when none waits."
        )
        self._parked = self._gauge(
            "veza_stream_callbacks_parked", "Callbacks given up, waiting for an operator."
        )
        self._cache_hits = self._counter(
            "veza_stream_segment_cache_hits_total", "Segments served from memory."
        )
        self._cache_misses = self._counter(
            "veza_stream_segment_cache_misses_total", "Segments fetched from storage."
        )
        self._cache_bytes = self._gauge("veza_stream_segment_cache_bytes", "Size of the segments in memory.")
        self._media_bytes = self._counter("veza_stream_media_sent_bytes_total", "Audio sent to listeners.")
        self._websockets = self._gauge("veza_websocket_connections_active", "WebSockets that are open.")
        self._listeners = Gauge(
            "veza_stream_listeners",
            "Listeners that are connected, by transport.",
            ("transport",),
            registry=self.registry,
        )
        self._playback_start = Histogram(
            "veza_stream_playback_start_seconds",
            "From a listener's request to the first media sent to it.",
            ("transport",),
            buckets=REQUEST_BUCKETS_S,
            registry=self.registry,
        )

    def _gauge(self, name: str, documentation: str) -> Gauge:
        return Gauge(name, documentation, registry=self.registry)

    def _counter(self, name: str, documentation: str) -> Counter:
        return Counter(name, documentation, registry=self.registry)

    def request_answered(self, method: str, endpoint: str, status: int, duration_s: float) -> None:
        """Count one request.

        Args:
            endpoint: the route's template, or `UNMATCHED`.
        """
        known = method if method in METHODS else "OTHER"
        self._requests.labels(known, endpoint, str(status)).inc()
        self._request_duration.labels(known, endpoint).observe(max(0.0, duration_s))

    def rate_limited(self, limit: str) -> None:
        """Count a request refused by `limit`, one of `endpoints.budgets.Limit`."""
        self._rate_limited.labels(limit).inc()

    def job_ended(self, status: str, code: str | None = None) -> None:
        """Count one ended job; `code` is the error's stable code."""
        self._jobs.labels(status, code or NO_CODE).inc()

    def stage_ended(self, stage: str, duration_s: float) -> None:
        """Record how long a job spent in `stage`."""
        self._job_stage.labels(stage).observe(max(0.0, duration_s))

    def queue_measured(self, *, waiting: int, oldest_s: float | None) -> None:
        """Record the queue as it stands; `oldest_s` is None when nothing waits."""
        self._queue_depth.set(waiting)
        self._queue_oldest.set(max(0.0, oldest_s or 0.0))

    def callbacks_parked(self, count: int) -> None:
        """Record how many callbacks are parked."""
        self._parked.set(count)

    def cache_hit(self) -> None:
        """Count a segment found in memory."""
        self._cache_hits.inc()

    def cache_missed(self) -> None:
        """Count a segment that had to be fetched."""
        self._cache_misses.inc()

    def cache_measured(self, size_bytes: int) -> None:
        """Record the size of what is in memory."""
        self._cache_bytes.set(size_bytes)

    def media_sent(self, size_bytes: int) -> None:
        """Count audio bytes handed to a listener."""
        self._media_bytes.inc(size_bytes)

    @contextmanager
    def listening(self, transport: str) -> Iterator[None]:
        """Count a listener for as long as it is connected."""
        listeners = self._listeners.labels(transport)
        with listeners.track_inprogress():
            yield

    @contextmanager
    def websocket_open(self) -> Iterator[None]:
        """Count a WebSocket for as long as it is open."""
        with self._websockets.track_inprogress():
            yield

    def playback_started(self, transport: str, waited_s: float) -> None:
        """Record how long a listener waited for its first media."""
        self._playback_start.labels(transport).observe(max(0.0, waited_s))

    def render(self) -> bytes:
        """Everything in Prometheus' text format; send it as `CONTENT_TYPE`."""
        return generate_latest(self.registry)
