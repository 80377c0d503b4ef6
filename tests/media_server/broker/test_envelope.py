"""media_server/broker/envelope.py: what is read of others' messages, and what ours look like."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_server.broker.envelope import (
    MAX_MESSAGE_BYTES,
    Causes,
    Refused,
    event_id_of,
    parse,
    write,
)

DATA = {"track_id": "0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11", "source": {"path": "a.flac"}}
ENVELOPE = {
    "event_id": "11111111-1111-4111-8111-111111111111",
    "event_type": "track.uploaded",
    "aggregate_id": DATA["track_id"],
    "timestamp": "2026-03-01T12:00:00.5+02:00",
    "version": 1,
    "data": DATA,
    "metadata": {"correlation_id": "c-1", "causation_id": "elsewhere"},
}
AT = datetime(2026, 3, 1, 10, tzinfo=UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def test_an_envelope_is_read_in_snake_and_camel_case() -> None:
    """Contract: readers accept snake_case and camelCase keys, ignore what they do not know."""
    camelled = {camel(name): value for name, value in ENVELOPE.items()} | {
        "metadata": {"correlationId": "c-1"},
        "surprise": 1,
    }
    for message in (ENVELOPE, camelled):
        event = parse(json.dumps(message).encode(), "")
        assert (event.event_id, event.event_type, event.data) == (
            ENVELOPE["event_id"],
            "track.uploaded",
            DATA,
        )
        assert event.timestamp == "2026-03-01T10:00:00.500Z"
        assert event.causes == Causes(correlation_id="c-1", causation_id=ENVELOPE["event_id"])


def test_bare_data_takes_its_type_from_the_routing_key_and_its_time_from_the_message() -> None:
    """Contract: readers accept a bare `data` object."""
    event = parse(json.dumps(DATA).encode(), "track.uploaded", sent_at=AT, traceparent=TRACE)
    assert (event.event_id, event.event_type, event.data) == (None, "track.uploaded", DATA)
    assert event.timestamp == "2026-03-01T10:00:00.000Z"
    assert event.causes == Causes(traceparent=TRACE)


@pytest.mark.parametrize("text", ["", "00-1-2-01", f"{TRACE}\r\nX: 1", TRACE.upper()])
def test_a_trace_that_is_none_is_not_passed_on(text: str) -> None:
    """It becomes a header of the callback: only what W3C allows gets that far."""
    event = parse(json.dumps(DATA).encode(), "track.uploaded", traceparent=text)
    assert event.causes == Causes()


@pytest.mark.parametrize("alias", ["TrackUploaded", "streaming.track.uploaded.v1"])
def test_an_alias_is_the_same_event(alias: str) -> None:
    assert parse(json.dumps(DATA).encode(), alias).event_type == "track.uploaded"
    assert parse(json.dumps({**ENVELOPE, "event_type": alias}).encode(), "x").event_type == "track.uploaded"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "bad_json"),
        (b"{", "bad_json"),
        (b"\xff\xfe", "bad_json"),
        (b"NaN", "bad_json"),
        (b"[" * 100_000, "bad_json"),
        (b"[]", "bad_envelope"),
        (b"null", "bad_envelope"),
        (json.dumps({**ENVELOPE, "data": []}).encode(), "bad_envelope"),
        (json.dumps({**ENVELOPE, "timestamp": "yesterday"}).encode(), "bad_envelope"),
        (json.dumps({**ENVELOPE, "timestamp": "2026-03-01T12:00:00"}).encode(), "bad_envelope"),
        (json.dumps({**ENVELOPE, "timestamp": "0001-01-01T00:00:00+14:00"}).encode(), "bad_envelope"),
        (json.dumps({**ENVELOPE, "event_id": 7}).encode(), "bad_envelope"),
        (json.dumps({**ENVELOPE, "version": 2}).encode(), "unknown_version"),
        (json.dumps({**ENVELOPE, "version": "1"}).encode(), "bad_envelope"),
        (json.dumps({**ENVELOPE, "event_type": "track.played"}).encode(), "unknown_event"),
        (b" " * (MAX_MESSAGE_BYTES + 1), "too_large"),
    ],
)
def test_what_is_no_event_is_refused_with_a_code(body: bytes, code: str) -> None:
    """F9: bad JSON, wrong schema, unknown version, a body that is too large."""
    with pytest.raises(Refused) as caught:
        parse(body, "track.uploaded")
    assert caught.value.code == code
    assert len(caught.value.message) < 300


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_json_is_read_or_refused(value: object) -> None:
    for message in (value, {"data": value}, {**ENVELOPE, "metadata": value}):
        try:
            parse(json.dumps(message).encode(), "track.uploaded")
        except Refused as error:
            assert error.code in {"bad_envelope", "bad_json"}


def test_ours_repeats_the_correlation_and_names_its_cause() -> None:
    """Contract: ours repeat the `correlation_id` and name the incoming `event_id` as `causation_id`."""
    data = {"job_id": "j", "track_id": DATA["track_id"], "stage": "encode", "percent": 50.0}
    written = json.loads(
        write("transcoding.progress", data, Causes(correlation_id="c", causation_id="e"), at=AT)
    )
    assert written == {
        "event_id": event_id_of("transcoding.progress", data),
        "event_type": "transcoding.progress",
        "aggregate_id": DATA["track_id"],
        "aggregate_type": "Track",
        "timestamp": "2026-03-01T10:00:00.000Z",
        "version": 1,
        "data": data,
        "metadata": {"correlation_id": "c", "causation_id": "e"},
    }
    uuid.UUID(written["event_id"])


def test_an_end_that_is_told_again_has_the_same_id_and_progress_has_not() -> None:
    """F7: a completed event that comes twice is recognised, whatever attempt told it."""
    job = {"job_id": "j", "track_id": "t"}
    ends = {event_id_of("transcoding.completed", {**job, "attempt": attempt}) for attempt in (1, 2)}
    assert len(ends) == 1
    steps = {event_id_of("transcoding.progress", {**job, "percent": percent}) for percent in (1, 2)}
    others = {event_id_of("transcoding.failed", job), event_id_of("transcoding.completed", {"job_id": "k"})}
    assert len(ends | steps | others) == 5
