"""media_server/websocket/messages.py"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_server.errors import BadRequest, Busy, Denied, NotFound, ServiceError, Unauthenticated, Unavailable
from media_server.websocket import messages
from media_server.websocket.messages import (
    MAX_CREDIT_BYTES,
    MAX_MESSAGE_BYTES,
    Action,
    Close,
    Flag,
    FrameHeader,
    Kind,
    RefusedCommand,
    Violation,
)


def text(**members: Any) -> str:
    return json.dumps({"type": "control", "action": "ping", **members})


def test_a_command_has_its_envelope_and_its_data() -> None:
    command = messages.parse(text(action="seek", data={"position": 1.5}, request_id="a-1", timestamp=12.5))
    assert (command.action, command.data, command.request_id) == (Action.SEEK, {"position": 1.5}, "a-1")
    assert command.timestamp == 12.5


def test_what_a_command_leaves_out_is_empty_and_what_it_adds_is_ignored() -> None:
    command = messages.parse(text(colour="red"))
    assert (command.data, command.request_id, command.timestamp) == ({}, None, None)


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "{",
        "[]",
        "null",
        '"control"',
        text(type="reply"),
        text(action=7),
        text(action=None),
        text(data=[]),
        text(data="x"),
        text(request_id=""),
        text(request_id="x" * 65),
        text(request_id="a b"),
        text(request_id=7),
        text(timestamp="now"),
        text(timestamp=True),
        '{"type":"control","action":"ping","timestamp":NaN}',
        "[" * 4000,
        "\ud800",
    ],
)
def test_a_message_that_is_no_command_ends_the_connection(broken: str) -> None:
    """RFC 6455 7.4.1: 1008, the message violates the policy."""
    with pytest.raises(Violation) as caught:
        messages.parse(broken)
    assert (caught.value.close, caught.value.code) == (Close.POLICY_VIOLATION, "message_malformed")


def test_a_message_is_at_most_4_kib_of_utf_8() -> None:
    fits = text(data={"x": ""})
    messages.parse(fits.replace('""', '"' + "y" * (MAX_MESSAGE_BYTES - len(fits)) + '"'))
    with pytest.raises(Violation) as caught:
        messages.parse('"' + "é" * (MAX_MESSAGE_BYTES // 2) + '"')
    assert caught.value.close is Close.TOO_BIG


def test_an_unknown_action_is_refused_and_no_violation() -> None:
    """A newer client may know more; its request is answered."""
    with pytest.raises(RefusedCommand) as caught:
        messages.parse(text(action="dance", request_id="9"))
    assert (caught.value.request_id, caught.value.error.code) == ("9", "action_unknown")


@pytest.mark.parametrize("value", [-1, "1", True, [], 1e400])
def test_a_position_is_a_number_of_seconds(value: object) -> None:
    with pytest.raises(BadRequest) as caught:
        messages.seconds({"position": value}, "position")
    assert caught.value.code == "position_invalid"
    assert messages.seconds({"position": 2}, "position") == 2.0
    assert messages.seconds({}, "position") is None


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "1", MAX_CREDIT_BYTES + 1])
def test_credit_is_a_bounded_number_of_bytes(value: object) -> None:
    with pytest.raises(BadRequest) as caught:
        messages.credit({"bytes": value}, "bytes")
    assert caught.value.code == "credit_invalid"
    assert messages.credit({"bytes": MAX_CREDIT_BYTES}, "bytes") == MAX_CREDIT_BYTES
    assert messages.credit({}, "bytes") is None


@pytest.mark.parametrize(
    ("kind", "close"),
    [
        (Unauthenticated, Close.UNAUTHENTICATED),
        (Denied, Close.DENIED),
        (NotFound, Close.NOT_FOUND),
        (Unavailable, Close.TRY_AGAIN_LATER),
        (Busy, Close.TRY_AGAIN_LATER),
    ],
)
def test_an_error_has_its_close_code(kind: type[ServiceError], close: Close) -> None:
    assert messages.close_for(kind("code", "sentence")) is close


def test_a_frame_header_is_16_bytes_big_endian() -> None:
    """config/contract/websocket.md, the example's segment 0."""
    header = FrameHeader(kind=Kind.SEGMENT, rendition=0, flags=Flag.FIRST, number=0, first_sample=-1024)
    assert header.pack().hex() == "01020001" + "00000000" + "fffffffffffffc00"


@given(
    st.builds(
        FrameHeader,
        kind=st.sampled_from(Kind),
        rendition=st.integers(0, 255),
        flags=st.sampled_from([Flag.NONE, Flag.FIRST, Flag.LAST, Flag.FIRST | Flag.LAST]),
        number=st.integers(0, 2**32 - 1),
        first_sample=st.integers(-(2**63), 2**63 - 1),
    )
)
def test_a_frame_header_reads_as_it_was_written(header: FrameHeader) -> None:
    assert FrameHeader.unpack(header.pack() + b"payload") == header


@pytest.mark.parametrize("frame", [b"", b"\x01" * 15, b"\x02" + bytes(15)])
def test_a_frame_of_another_form_is_refused(frame: bytes) -> None:
    with pytest.raises(ValueError, match="frame has"):
        FrameHeader.unpack(frame)


@given(st.text(max_size=200) | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(json.dumps))
def test_garbage_is_a_violation_or_a_refusal_and_nothing_else(garbage: str) -> None:
    with pytest.raises((Violation, RefusedCommand)):
        messages.parse(garbage)
