"""What is asked for is read strictly; a job moves only along the table."""

from __future__ import annotations

import uuid

import pytest
from pydantic import ValidationError

from media_server.errors import Conflict
from media_server.jobs.job import (
    MAX_VERSION,
    TRANSITIONS,
    Job,
    JobRequest,
    JobState,
    Source,
    job_id_of,
    now_rfc3339,
)
from media_server.jobs.submission import Submission

TRACK = "0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11"


@pytest.mark.parametrize("before", JobState)
@pytest.mark.parametrize("after", JobState)
def test_a_state_follows_only_where_the_table_says_so(before: JobState, after: JobState) -> None:
    job = Job(job_id="j", track_id=TRACK, status=before)
    if after in TRANSITIONS[before]:
        assert job.to(after).status is after
    else:
        with pytest.raises(Conflict):
            job.to(after)


def test_a_completed_job_stays_completed() -> None:
    """reliability.md I1: one terminal state; only a failed or cancelled job may be asked for again."""
    assert TRANSITIONS[JobState.COMPLETED] == frozenset()
    assert set(TRANSITIONS) == set(JobState)


@pytest.mark.parametrize("naming", ["snake", "camel"])
def test_both_spellings_are_read_and_unknown_keys_ignored(naming: str) -> None:
    """contract, events: readers accept snake_case and camelCase and ignore what they do not know."""
    fields = {
        "snake": {"track_id": TRACK, "source": {"path": "a"}, "source_version": 3, "user_id": "u", "new": 1},
        "camel": {"trackId": TRACK, "source": {"path": "a"}, "sourceVersion": 3, "userId": "u", "new": 1},
    }[naming]
    request = JobRequest.model_validate(fields)
    assert (request.track_id, request.source_version, request.user_id) == (TRACK, 3, "u")
    assert request.visibility == "private"


@pytest.mark.parametrize(("album_id", "fits"), [("a", True), ("", False), (None, False)])
def test_an_album_s_gain_needs_an_album(album_id: str | None, fits: bool) -> None:
    fields = {"track_id": TRACK, "source": {"path": "a"}, "albumId": album_id}
    assert JobRequest.model_validate(fields)
    wanted = {**fields, "options": {"loudness": {"mode": "album"}}}
    if fits:
        assert JobRequest.model_validate(wanted).options.loudness.mode == "album"
    else:
        with pytest.raises(ValidationError, match=r"loudness\.mode is album, which needs an album_id"):
            JobRequest.model_validate(wanted)


@pytest.mark.parametrize(
    "track_id",
    ["", "x", TRACK.upper(), "{" + TRACK + "}", TRACK + "\n", "../" + TRACK, TRACK.replace("-", "")],
)
def test_an_id_that_is_no_canonical_uuid_is_refused(track_id: str) -> None:
    """reliability.md: ids are validated before they become paths."""
    with pytest.raises(ValidationError):
        JobRequest.model_validate({"track_id": track_id, "source": {"path": "a"}})


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"path": "a"}, "path"),
        ({"bucket": "b", "key": "k"}, "object"),
        ({"url": "https://x/"}, "url"),
        ({}, "none"),
        ({"bucket": "b"}, "none"),
        ({"path": "a", "url": "https://x/"}, "none"),
        ({"path": "a", "key": "k"}, "none"),
    ],
)
def test_a_source_is_exactly_one_place(fields: dict[str, str], kind: str) -> None:
    assert Source.model_validate(fields).kind == kind


def test_a_job_id_is_a_function_of_what_makes_the_job() -> None:
    """contract: a message that comes twice is the same job."""
    assert job_id_of("a", "b") == job_id_of("a", "b") != job_id_of("a", "c")
    assert uuid.UUID(job_id_of("a")).version == 5


def test_times_are_rfc_3339_in_utc() -> None:
    assert now_rfc3339().endswith("Z")
    assert "T" in now_rfc3339()


def test_the_table_allows_what_a_life_needs_and_nothing_else() -> None:
    """Queued runs; a run ends, is given back or starts anew; only what did not succeed is queued again."""
    allowed = {f"{before}>{after}" for before, next_ones in TRANSITIONS.items() for after in next_ones}
    assert allowed == {
        *("queued>running", "queued>failed", "queued>cancelled"),
        *("running>running", "running>queued", "running>completed", "running>failed", "running>cancelled"),
        *("failed>queued", "cancelled>queued"),
    }
    assert {state for state in JobState if Job(job_id="j", track_id=TRACK, status=state).ended} == {
        JobState.COMPLETED,
        JobState.FAILED,
        JobState.CANCELLED,
    }


def test_a_refused_step_changes_nothing_and_names_both_states() -> None:
    done = Job(job_id="j", track_id=TRACK, status=JobState.COMPLETED, percent=100.0)
    with pytest.raises(Conflict, match="job j is completed, it cannot become queued") as caught:
        done.to(JobState.QUEUED, percent=0.0)
    assert (caught.value.code, done.percent) == ("job_state", 100.0)


@pytest.mark.parametrize("version", [-1, 2**63, 2**70, 1.5, "x"])
def test_a_version_is_a_number_that_a_message_can_carry(version: object) -> None:
    fields = {"track_id": TRACK, "source": {"path": "a"}}
    with pytest.raises(ValidationError):
        JobRequest.model_validate({**fields, "source_version": version})
    biggest = JobRequest.model_validate({**fields, "source_version": MAX_VERSION})
    assert str(MAX_VERSION).encode() in Submission(request=biggest, accepted_at="t").to_json()


@pytest.mark.parametrize("field", ["title", "artist", "user_id", "album_id"])
def test_a_text_has_at_most_1024_characters(field: str) -> None:
    fields = {"track_id": TRACK, "source": {"path": "a"}}
    assert JobRequest.model_validate({**fields, field: "x" * 1024})
    with pytest.raises(ValidationError):
        JobRequest.model_validate({**fields, field: "x" * 1025})


def test_the_id_of_a_job_is_the_same_in_every_version() -> None:
    """A message that was sent before an upgrade is still the same job after it."""
    assert job_id_of("idempotency-key", "k") == "383ac6a5-b748-5ff5-b7cb-336bae481989"
