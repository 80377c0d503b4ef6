"""media_server/websocket/protocol.py: a table of what is answered, and what holds for every history."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import presentations
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from media_server.errors import Denied, NotFound, ServiceError, Unauthenticated, Unavailable
from media_server.websocket.messages import Action, Close, Flag, FrameHeader, Kind
from media_server.websocket.protocol import (
    ALLOWED,
    HEARTBEAT_S,
    HELLO_WITHIN_S,
    MAX_UNSENT,
    MESSAGES_AT_ONCE,
    Playback,
    State,
)

NOW_S = 1000.0
UNIX_MS = 1_767_225_600_000
SEGMENT_BYTES = 1000


class Listener:
    """A playback, and its client's side."""

    def __init__(self, asset: Any = None, position_s: float = 0.0) -> None:
        song = asset or presentations.song(20.0)
        self.playback = Playback(song, position=round(position_s * 48_000), now_s=NOW_S, unix_ms=UNIX_MS)
        self.now_s = NOW_S

    def ask(self, action: str, request_id: str | None = "1", **data: Any) -> list[dict[str, Any]]:
        """What is said at once in answer to a command."""
        message = {"type": "control", "action": action, "data": data, "request_id": request_id}
        self.playback.receive(json.dumps(message), self.now_s)
        return self.heard()

    def heard(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.playback.texts()]

    def media(self) -> list[FrameHeader]:
        headers = []
        while (wanted := self.playback.wanted()) is not None:
            frame = self.playback.frame(wanted, bytes(SEGMENT_BYTES), self.now_s)
            assert frame is not None
            headers.append(FrameHeader.unpack(frame))
        return headers

    def playing(self, **hello: Any) -> Listener:
        self.ask("hello", credit=4_000_000, **hello)
        self.ask("play")
        return self


def test_hello_is_answered_with_what_a_client_must_know() -> None:
    reply, ready = Listener(position_s=2.0).ask("hello", version=1, credit=65_536)
    assert (reply["type"], reply["action"], reply["request_id"]) == ("reply", "hello", "1")
    assert (reply["timestamp"], reply["data"]) == (UNIX_MS, {"version": 1})
    data = ready["data"]
    assert (ready["type"], ready["action"], ready["request_id"]) == ("event", "ready", None)
    assert (data["duration"], data["duration_samples"], data["timescale"]) == (20.0, 960_000, 48_000)
    assert (data["position"], data["credit"], data["rendition"]) == (2.0, 65_536, "128k")
    assert (data["state"], data["complete"], data["heartbeat"]) == ("ready", True, 30.0)
    assert data["renditions"][2] == {
        "name": "opus-128",
        "codec": "Opus",
        "mime": 'audio/mp4; codecs="Opus"',
        "bitrate": 128_000,
        "channels": 2,
        "playable": True,
    }


def test_media_flow_while_it_plays_and_only_then() -> None:
    listener = Listener()
    listener.ask("hello", credit=4_000_000)
    assert listener.media() == []
    assert listener.ask("play")[0]["data"]["state"] == "playing"
    first = listener.playback.wanted()
    assert first is not None
    listener.ask("pause")
    assert listener.playback.frame(first, b"", NOW_S) is None
    assert listener.media() == []
    listener.ask("resume")
    headers = listener.media()
    assert [one.kind for one in headers] == [Kind.INIT, *[Kind.SEGMENT] * 6]
    assert listener.heard()[-1]["action"] == "end"


def test_the_end_is_told_once_and_again_after_a_seek() -> None:
    listener = Listener().playing()
    listener.media()
    assert [one["action"] for one in listener.heard()] == ["end"]
    assert [one["action"] for one in listener.ask("ping")] == ["ping"]
    listener.ask("seek", position=20.0)
    assert [one.number for one in listener.media()] == [5]
    assert [one["action"] for one in listener.heard()] == ["end"]


def test_after_the_reply_to_a_seek_comes_nothing_chosen_before() -> None:
    listener = Listener().playing()
    before = listener.playback.wanted()
    [reply] = listener.ask("seek", position=15.0)
    assert reply["data"]["position"] == 15.0
    assert before is not None
    assert listener.playback.frame(before, b"", NOW_S) is None
    assert [one.number for one in listener.media()][1:] == [3, 4, 5]


def test_a_change_of_rendition_is_told_before_its_first_frame() -> None:
    listener = Listener().playing()
    reply, event = listener.ask("rendition", name="320k")
    assert (reply["type"], event["action"], event["data"]) == (
        "reply",
        "rendition_changed",
        {"name": "320k", "from": 0.0},
    )
    assert {one.rendition for one in listener.media()} == {0}


def test_the_position_runs_while_it_plays_and_the_listener_may_correct_it() -> None:
    listener = Listener().playing()
    listener.now_s += 2.0
    assert listener.ask("ping")[0]["data"]["position"] == 2.0
    assert listener.ask("ping", position=1.5)[0]["data"]["position"] == 1.5
    listener.now_s += 1.0
    assert listener.ask("pause")[0]["data"]["position"] == 2.5
    listener.now_s += 5.0
    assert listener.ask("ping")[0]["data"]["position"] == 2.5
    assert listener.ask("ping")[0]["timestamp"] == UNIX_MS + 8000


def test_a_ping_gives_the_clients_own_time_back() -> None:
    """What a client measures the round trip and the clocks' distance with; before hello too."""
    listener = Listener()
    listener.playback.receive('{"type":"control","action":"ping","request_id":"x","timestamp":12.5}', NOW_S)
    [reply] = listener.heard()
    assert (reply["data"]["client_timestamp"], reply["timestamp"]) == (12.5, UNIX_MS)


def test_a_command_without_an_id_is_obeyed_in_silence() -> None:
    listener = Listener()
    listener.ask("hello")
    assert listener.ask("credit", request_id=None, bytes=5000) == []
    assert listener.ask("ping")[0]["data"]["credit"] == 5000


def test_a_heartbeat_comes_every_30_s() -> None:
    """Proxies close what is silent for a minute."""
    listener = Listener().playing()
    assert listener.playback.deadline_s == NOW_S + HEARTBEAT_S
    for beat in (1, 2):
        listener.playback.tick(NOW_S + beat * HEARTBEAT_S - 0.001)
        assert listener.heard() == []
        listener.playback.tick(NOW_S + beat * HEARTBEAT_S)
        [event] = listener.heard()
        assert (event["action"], event["timestamp"]) == ("heartbeat", UNIX_MS + 30_000 * beat)
        assert event["data"]["position"] == min(20.0, 30.0 * beat)


def test_who_says_nothing_is_sent_away() -> None:
    listener = Listener()
    assert listener.playback.deadline_s == NOW_S + HELLO_WITHIN_S
    listener.playback.tick(NOW_S + HELLO_WITHIN_S)
    assert _ending(listener) == (Close.POLICY_VIOLATION, "hello_missing")


@pytest.mark.parametrize(
    ("action", "data", "code"),
    [
        ("dance", {}, "action_unknown"),
        ("hello", {}, "state_wrong"),
        ("seek", {}, "position_invalid"),
        ("seek", {"position": -1}, "position_invalid"),
        ("seek", {"position": 20.1}, "position_out_of_range"),
        ("play", {"position": "here"}, "position_invalid"),
        ("rendition", {}, "rendition_not_found"),
        ("rendition", {"name": "64k"}, "rendition_not_found"),
        ("credit", {}, "credit_invalid"),
        ("credit", {"bytes": 0}, "credit_invalid"),
    ],
)
def test_what_cannot_be_obeyed_is_refused_and_changes_nothing(
    action: str, data: dict[str, Any], code: str
) -> None:
    listener = Listener().playing()
    before = listener.playback.wanted()
    [error] = listener.ask(action, request_id="7", **data)
    assert (error["type"], error["request_id"], error["data"]["code"]) == ("error", "7", code)
    assert listener.playback.wanted() == before
    assert listener.playback.state is State.PLAYING


@pytest.mark.parametrize("state", [State.OPENING, State.READY, State.PLAYING, State.PAUSED])
@pytest.mark.parametrize("action", Action)
def test_each_state_takes_the_actions_of_its_row(state: State, action: Action) -> None:
    listener = Listener()
    steps = {State.READY: ["hello"], State.PLAYING: ["hello", "play"], State.PAUSED: ["hello", "pause"]}
    for step in steps.get(state, []):
        listener.ask(step)
    data = {Action.SEEK: {"position": 1}, Action.RENDITION: {"name": "320k"}, Action.CREDIT: {"bytes": 1}}
    [answer, *_] = listener.ask(action, **data.get(action, {}))
    assert answer["type"] == ("reply" if state in ALLOWED[action] else "error")


@pytest.mark.parametrize(
    ("text", "close", "reason"),
    [
        ("no json", Close.POLICY_VIOLATION, "message_malformed"),
        ('{"type":"control"}', Close.POLICY_VIOLATION, "message_malformed"),
        ("x" * 5000, Close.TOO_BIG, "message_too_big"),
        (
            '{"type":"control","action":"hello","data":{"version":2}}',
            Close.POLICY_VIOLATION,
            "version_not_spoken",
        ),
    ],
)
def test_who_breaks_the_form_is_sent_away(text: str, close: Close, reason: str) -> None:
    listener = Listener()
    listener.playback.receive(text, NOW_S)
    assert _ending(listener) == (close, reason)
    assert listener.heard()[-1]["action"] == "close"
    assert listener.ask("hello") == []


def test_binary_messages_are_not_taken() -> None:
    listener = Listener()
    listener.playback.receive_binary(NOW_S)
    assert _ending(listener) == (Close.UNSUPPORTED_DATA, "binary_not_taken")


def test_too_many_messages_end_it() -> None:
    listener = Listener()
    for _ in range(MESSAGES_AT_ONCE):
        assert listener.ask("ping")[0]["type"] == "reply"
    listener.ask("ping")
    assert _ending(listener) == (Close.POLICY_VIOLATION, "too_many_messages")


def test_who_asks_on_and_does_not_read_is_sent_away() -> None:
    """Reliability F21: what waits for one client is bounded."""
    listener = Listener()
    message = '{"type":"control","action":"ping","request_id":"1"}'
    for number in range(MAX_UNSENT + 1):
        listener.playback.receive(message, NOW_S + number)
    assert _ending(listener) == (Close.TRY_AGAIN_LATER, "reads_too_slowly")


@pytest.mark.parametrize(
    ("error", "close", "retry"),
    [
        (NotFound("track_not_found", "there is no such track"), Close.NOT_FOUND, None),
        (Denied("track_denied", "not you"), Close.DENIED, None),
        (Unauthenticated("token_needed", "a token"), Close.UNAUTHENTICATED, None),
        (Unavailable("storage_down", "later"), Close.TRY_AGAIN_LATER, 1.0),
        (Unavailable("storage_down", "later", retry_after_s=7.0), Close.TRY_AGAIN_LATER, 7.0),
    ],
)
def test_what_is_not_the_clients_fault_has_a_close_code_of_its_own(
    error: ServiceError, close: Close, retry: float | None
) -> None:
    listener = Listener().playing()
    listener.playback.fail(error, NOW_S)
    [said] = listener.heard()
    assert (said["data"]["code"], said["data"].get("retry_after")) == (error.code, retry)
    assert _ending(listener) == (close, error.code)


def test_a_stopping_server_says_when_to_come_again() -> None:
    """Reliability F18: 1001 and a retry hint; what ended already ends as it did."""
    listener = Listener().playing()
    listener.playback.go_away(NOW_S)
    assert listener.heard()[-1]["data"]["retry_after"] == 1.0
    listener.playback.fail(NotFound("track_not_found", "gone"), NOW_S)
    assert _ending(listener) == (Close.GOING_AWAY, "server_stopping")


def test_stop_is_answered_and_ends_it() -> None:
    listener = Listener()
    assert [one["type"] for one in listener.ask("stop")] == ["reply"]
    assert _ending(listener) == (Close.NORMAL, "stopped")


def test_a_growing_track_is_told_as_it_grows() -> None:
    listener = Listener(presentations.song(20.0, state="growing", segments=2)).playing()
    assert [one.number for one in listener.media()][1:] == [0, 1]
    assert listener.heard() == []
    listener.playback.update(presentations.song(20.0), NOW_S)
    [event] = listener.heard()
    assert (event["action"], event["data"]["complete"]) == ("updated", True)
    assert listener.media()[-1].flags & Flag.LAST
    listener.playback.update(presentations.song(20.0), NOW_S)
    assert [one["action"] for one in listener.heard()] == ["end"]


def test_who_hears_a_version_of_which_nothing_more_will_come_is_asked_to_come_again() -> None:
    """Another attempt made another version; one that is whole is played to its end."""
    growing, other = presentations.song(20.0, state="growing", segments=2), presentations.song(20.0)
    other = replace(other, version="fedcba9876543210")
    listener = Listener(growing).playing()
    listener.playback.update(other, NOW_S)
    assert _ending(listener) == (Close.TRY_AGAIN_LATER, "version_replaced")
    listener = Listener(presentations.song(20.0)).playing()
    listener.playback.update(other, NOW_S)
    assert listener.playback.ending is None


def test_hello_may_choose_position_and_rendition() -> None:
    listener = Listener().playing(rendition="opus-128", position=15.0)
    [init, first, *_] = listener.media()
    assert (init.rendition, first.number) == (2, 3)
    assert first.first_sample == 3 * 184_320 - 120


def _ending(listener: Listener) -> tuple[Close, str]:
    ending = listener.playback.ending
    assert ending is not None
    return ending.close, ending.reason


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("320k")
DATA = st.dictionaries(
    st.sampled_from(["position", "name", "bytes", "credit", "rendition", "version"]), VALUES
)


@given(st.lists(st.tuples(st.sampled_from([*Action, "dance"]), DATA) | st.text(max_size=50), max_size=30))
def test_no_history_of_messages_raises_or_leaves_the_states(history: list[Any]) -> None:
    """Garbage is answered or ends the connection; it never gets through."""
    listener = Listener()
    for item in history:
        listener.now_s += 0.01
        if isinstance(item, str):
            listener.playback.receive(item, listener.now_s)
        else:
            listener.ask(item[0], **item[1])
        listener.media()
        listener.playback.tick(listener.now_s)
        assert (listener.playback.state is State.CLOSED) == (listener.playback.ending is not None)


class Conversation(RuleBasedStateMachine):
    """What holds whatever client, server and time do."""

    def __init__(self) -> None:
        super().__init__()
        self.listener = Listener()
        self.granted = self.sent = self.largest = 0
        self.next_number: int | None = None
        self.with_init: int | None = None
        self.listener.ask("hello")

    def wait(self) -> None:
        self.listener.now_s += 0.1

    @rule(size=st.integers(1, 200_000))
    def grant(self, size: int) -> None:
        self.wait()
        self.listener.ask("credit", bytes=size)
        self.granted += size

    @rule(action=st.sampled_from(["play", "pause", "resume", "ping"]))
    def steer(self, action: str) -> None:
        self.wait()
        # the end of what was sent may be told before it
        assert [one["type"] for one in self.listener.ask(action)].count("reply") == 1

    @rule(position=st.floats(0, 20))
    def seek(self, position: float) -> None:
        self.wait()
        self.listener.ask("seek", position=position)
        self.next_number = None

    @rule(name=st.sampled_from(["128k", "320k", "opus-128"]))
    def change(self, name: str) -> None:
        self.wait()
        self.listener.ask("rendition", name=name)
        self.next_number = None

    @precondition(lambda self: self.listener.playback.wanted() is not None)
    @rule(size=st.integers(1, 100_000))
    def send(self, size: int) -> None:
        assert self.sent < self.granted, "not a byte of credit is left"
        wanted = self.listener.playback.wanted()
        assert wanted is not None
        frame = self.listener.playback.frame(wanted, bytes(size), self.listener.now_s)
        assert frame is not None
        self.sent += len(frame)
        self.largest = max(self.largest, len(frame))
        header = FrameHeader.unpack(frame)
        if header.kind is Kind.INIT:
            self.with_init = header.rendition
            return
        assert header.rendition == self.with_init, "its init segment came before"
        assert self.next_number in (None, header.number), "each segment once, in order"
        self.next_number = header.number + 1

    @invariant()
    def never_more_than_one_frame_beyond_the_credit(self) -> None:
        assert self.sent <= self.granted + self.largest

    @invariant()
    def nothing_is_wanted_but_while_it_plays(self) -> None:
        playing = self.listener.playback.state is State.PLAYING
        assert playing or self.listener.playback.wanted() is None


TestConversation = Conversation.TestCase
TestConversation.settings = settings(max_examples=60, stateful_step_count=40)
