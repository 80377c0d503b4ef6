"""media_server/metrics.py: the contract's names with finite labels."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from media_server.metrics import CONTENT_TYPE, UNMATCHED, Metrics


def _samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}


def test_every_metric_has_the_contracts_name() -> None:
    """Contract, metrics: the names that dashboards and alerts are written against."""
    metrics = Metrics()
    metrics.request_answered("GET", "/healthz", 200, 0.01)
    metrics.job_ended("completed")
    metrics.stage_ended("encode", 3.0)
    metrics.queue_measured(waiting=3, oldest_s=7.5)
    metrics.callbacks_parked(2)
    metrics.cache_hit()
    metrics.cache_missed()
    metrics.cache_measured(4096)
    metrics.media_sent(1000)
    assert (
        _samples(metrics).items()
        >= {
            (
                "veza_http_requests_total",
                (("endpoint", "/healthz"), ("method", "GET"), ("status", "200")),
            ): 1.0,
            ("veza_http_request_duration_seconds_count", (("endpoint", "/healthz"), ("method", "GET"))): 1.0,
            ("veza_stream_jobs_total", (("code", "none"), ("status", "completed"))): 1.0,
            ("veza_stream_job_stage_seconds_sum", (("stage", "encode"),)): 3.0,
            ("veza_stream_queue_depth", ()): 3.0,
            ("veza_stream_queue_oldest_seconds", ()): 7.5,
            ("veza_stream_callbacks_parked", ()): 2.0,
            ("veza_stream_segment_cache_hits_total", ()): 1.0,
            ("veza_stream_segment_cache_misses_total", ()): 1.0,
            ("veza_stream_segment_cache_bytes", ()): 4096.0,
            ("veza_stream_media_sent_bytes_total", ()): 1000.0,
        }.items()
    )


def test_a_failed_job_is_counted_under_its_code() -> None:
    """veza_stream_jobs_total{status,code}."""
    metrics = Metrics()
    metrics.job_ended("failed", "not_audio")
    key = ("veza_stream_jobs_total", (("code", "not_audio"), ("status", "failed")))
    assert _samples(metrics)[key] == 1.0


def test_methods_that_http_does_not_know_share_one_label() -> None:
    """Finite labels: a scanner's invented methods cannot grow the registry."""
    metrics = Metrics()
    for method in ("BREW", "get", "X" * 1000):
        metrics.request_answered(method, UNMATCHED, 405, 0.0)
    labels = {dict(labels)["method"] for (_, labels) in _samples(metrics) if labels}
    assert labels == {"OTHER"}


def test_the_alert_threshold_and_the_targets_are_bucket_borders() -> None:
    """Targets: p95 < 100 ms, p99 < 200 ms; alert: p95 > 0.5 s. Read exactly only at a border."""
    metrics = Metrics()
    metrics.request_answered("GET", "/", 200, 0.05)
    borders = {
        float(dict(labels)["le"])
        for name, labels in _samples(metrics)
        if name == "veza_http_request_duration_seconds_bucket"
    }
    assert {0.1, 0.2, 0.5} <= borders


def test_a_clock_that_went_back_gives_no_negative_value() -> None:
    """Reliability F17: no negative metrics."""
    metrics = Metrics()
    metrics.request_answered("GET", "/", 200, -5.0)
    metrics.stage_ended("probe", -1.0)
    metrics.queue_measured(waiting=0, oldest_s=-3.0)
    assert all(value >= 0 for value in _samples(metrics).values())


def test_an_empty_queue_has_no_age() -> None:
    """oldest_s is None when nothing waits."""
    metrics = Metrics()
    metrics.queue_measured(waiting=1, oldest_s=9.0)
    metrics.queue_measured(waiting=0, oldest_s=None)
    assert _samples(metrics)[("veza_stream_queue_oldest_seconds", ())] == 0.0


def test_two_servers_in_one_process_do_not_share_counts() -> None:
    """Each has its own registry."""
    one, other = Metrics(), Metrics()
    one.cache_hit()
    assert _samples(other)[("veza_stream_segment_cache_hits_total", ())] == 0.0


def test_counters_have_no_birth_series() -> None:
    """Half the series for the same knowledge."""
    assert b"_created" not in Metrics().render()
    assert CONTENT_TYPE.startswith("text/plain")
