"""An error class is a reaction: what becomes of the job that met it."""

from __future__ import annotations

import pytest

from media_server.errors import (
    BadRequest,
    Busy,
    Conflict,
    Denied,
    LimitExceeded,
    Malformed,
    NotFound,
    Unavailable,
    Unsupported,
)
from media_server.jobs.fate import CRASH_ATTEMPTS, MAX_ATTEMPTS, Fail, Retry, decide, given_up
from media_server.jobs.runner import DecoderCrash


@pytest.mark.parametrize(
    "kind", [Malformed, Unsupported, LimitExceeded, BadRequest, NotFound, Conflict, Denied]
)
@pytest.mark.parametrize("attempt", [1, 2, MAX_ATTEMPTS])
def test_what_the_input_or_the_asker_did_wrong_fails_at_once(kind: type[Exception], attempt: int) -> None:
    """architecture.md, errors: fails, callback, no retry."""
    verdict = decide(kind("some_code", "why"), attempt)
    assert isinstance(verdict, Fail)
    assert (verdict.error.code, verdict.error.retryable, verdict.park) == ("some_code", False, False)


@pytest.mark.parametrize(("attempt", "delay_s"), [(1, 10), (2, 60), (3, 600), (4, 600), (5, 600)])
def test_what_is_down_is_waited_for_in_tiers(attempt: int, delay_s: float) -> None:
    """contract: retry tiers 10 s, 60 s, 10 min."""
    assert decide(Unavailable("storage", "down"), attempt) == Retry(delay_s=delay_s, reason="storage")


def test_a_quarter_of_an_hour_of_outage_is_survived() -> None:
    """F12: a job does not fail before 15 min of outage."""
    delays = [decide(Unavailable("storage", "down"), attempt) for attempt in range(1, MAX_ATTEMPTS)]
    assert sum(verdict.delay_s for verdict in delays if isinstance(verdict, Retry)) >= 15 * 60


def test_an_outage_that_lasts_is_given_up_and_says_by_what() -> None:
    verdict = decide(Unavailable("storage", "down"), MAX_ATTEMPTS)
    assert isinstance(verdict, Fail)
    assert (verdict.error.code, verdict.error.retryable, verdict.park) == ("retries_exhausted", True, True)
    assert "storage" in verdict.error.message


def test_busy_costs_no_attempt_limit() -> None:
    assert isinstance(decide(Busy("busy", "full"), MAX_ATTEMPTS + 9), Retry)


def test_a_crashed_decoder_is_tried_once_more() -> None:
    """F2: decoder_crash after 2 tries."""
    assert isinstance(decide(DecoderCrash("SIGSEGV"), CRASH_ATTEMPTS - 1), Retry)
    verdict = decide(DecoderCrash("SIGSEGV"), CRASH_ATTEMPTS)
    assert isinstance(verdict, Fail)
    assert (verdict.error.code, verdict.park) == ("decoder_crash", True)


def test_our_bug_is_tried_once_more_and_tells_no_internals() -> None:
    assert isinstance(decide(KeyError("secret"), 1), Retry)
    verdict = decide(KeyError("secret"), 2)
    assert isinstance(verdict, Fail)
    assert verdict.error.code == "internal_error"
    assert "secret" not in verdict.error.message


def test_a_job_that_takes_its_worker_down_each_time_is_given_up() -> None:
    assert given_up(7).error.code == "retries_exhausted"
    assert given_up(7).park
