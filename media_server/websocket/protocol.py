"""The playback protocol, as one state machine: what is answered, what is sent next, and when it ends.

Owns: the states opening -> ready -> playing <-> paused -> closed, and the bounds that a client is held to.
Pure: time is an argument, in seconds of any steady clock, and bytes are moved by who asks. Messages and media
share one order: after the reply to a seek, or the event of a change of rendition, comes no frame that was
chosen before. A command that cannot be obeyed is answered with an error; a client that breaks the form is
sent away.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from hls.asset import Asset
from media_server.errors import BadRequest, ServiceError
from media_server.websocket import messages
from media_server.websocket.feed import Feed, Wanted
from media_server.websocket.messages import (
    PROTOCOL_VERSION,
    Action,
    Close,
    Command,
    RefusedCommand,
    Violation,
)
from media_server.websocket.pace import Pace
from media_server.websocket.position import Position
from pipeline.grid import RATE_HZ

HEARTBEAT_S: Final = 30.0
HELLO_WITHIN_S: Final = 10.0
MESSAGES_PER_S: Final = 20.0
MESSAGES_AT_ONCE: Final = 40
MAX_UNSENT: Final = 64
"""Messages that wait to be written. Who asks on and does not read is sent away."""

RETRY_AFTER_S: Final = 1.0


class State(StrEnum):
    OPENING = "opening"
    READY = "ready"
    PLAYING = "playing"
    PAUSED = "paused"
    CLOSED = "closed"


OPEN: Final = frozenset({State.READY, State.PLAYING, State.PAUSED})
ALLOWED: Final[Mapping[Action, frozenset[State]]] = {
    **dict.fromkeys(Action, OPEN),
    Action.HELLO: frozenset({State.OPENING}),
    Action.PING: OPEN | {State.OPENING},
    Action.STOP: OPEN | {State.OPENING},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The close code, and its reason: a stable code."""

    close: Close
    reason: str


class Playback:
    """One listener's connection. What follows from a call is in `texts`, `wanted` and `ending`."""

    def __init__(self, asset: Asset, *, position: int, now_s: float, unix_ms: int) -> None:
        """Begin at `now_s`, which is `unix_ms` on the wall clock.

        Args:
            asset: with at least one segment in one rendition.
            position: the presented sample to begin at, at 48 kHz.
        """
        self.state = State.OPENING
        self.ending: Ending | None = None
        self._feed = Feed(asset, position)
        self._position = Position(position, now_s)
        self._pace = Pace(per_s=MESSAGES_PER_S, at_once=MESSAGES_AT_ONCE, now_s=now_s)
        self._began_s, self._began_ms, self._now_s = now_s, unix_ms, now_s
        self._beat_s = now_s + HEARTBEAT_S
        self._end_is_told = False
        self._unsent: deque[str] = deque()

    def receive(self, text: str, now_s: float) -> None:
        """Take a text message."""
        if self.state is State.CLOSED:
            return
        self._now_s = now_s
        try:
            if not self._pace.allows(now_s):
                sentence = f"more than {MESSAGES_AT_ONCE} messages at once or {MESSAGES_PER_S:g} a second"
                raise Violation(Close.POLICY_VIOLATION, "too_many_messages", sentence)
            self._take(messages.parse(text))
        except RefusedCommand as refused:
            error = {"code": refused.error.code, "message": refused.error.message}
            self._say("error", refused.action, error, refused.request_id)
        except Violation as violation:
            self._end(violation.close, violation.code, violation.message)

    def receive_binary(self, now_s: float) -> None:
        """Take a binary message, of which the protocol has none."""
        self._now_s = now_s
        self._end(Close.UNSUPPORTED_DATA, "binary_not_taken", "control messages are text, not binary")

    def update(self, asset: Asset, now_s: float) -> None:
        """Take the track as it is now, and tell the listener if more of it is there."""
        if self._feed.is_replaced_by(asset):
            self._end(Close.TRY_AGAIN_LATER, "version_replaced", "another version is made now", 0.0)
        if self.state is State.CLOSED or not self._feed.take(asset):
            return
        self._now_s = now_s
        if self.state is not State.OPENING:
            self._say("event", "updated", self._presentation())
            self._tell_end()

    def tick(self, now_s: float) -> None:
        """Do what time alone asks for; wanted again at `deadline_s`."""
        self._now_s = now_s
        if self.state is State.OPENING and now_s >= self._began_s + HELLO_WITHIN_S:
            sentence = f"no hello came within {HELLO_WITHIN_S:g} s"
            self._end(Close.POLICY_VIOLATION, "hello_missing", sentence)
        if now_s >= self._beat_s and self.state is not State.CLOSED:
            self._beat_s = now_s + HEARTBEAT_S
            self._say("event", "heartbeat", self._status())

    @property
    def deadline_s(self) -> float:
        """When `tick` has something to do."""
        opening = self.state is State.OPENING
        return min(self._beat_s, self._began_s + HELLO_WITHIN_S) if opening else self._beat_s

    def fail(self, error: ServiceError, now_s: float) -> None:
        """End because of something that the client's messages did not cause."""
        self._now_s = now_s
        close = messages.close_for(error)
        retry_after_s = RETRY_AFTER_S if close is Close.TRY_AGAIN_LATER else None
        self._end(close, error.code, error.message, error.retry_after_s or retry_after_s)

    def go_away(self, now_s: float) -> None:
        """End because the server stops; another one, or this one again, is there soon."""
        self._now_s = now_s
        self._end(Close.GOING_AWAY, "server_stopping", "the server stops, come again", RETRY_AFTER_S)

    def texts(self) -> list[str]:
        """The messages to send now, in order, before any media. They are handed out once."""
        taken = list(self._unsent)
        self._unsent.clear()
        return taken

    def wanted(self) -> Wanted | None:
        """The file to send next, if one may be sent now."""
        return self._feed.wanted() if self.state is State.PLAYING else None

    def frame(self, wanted: Wanted, payload: bytes, now_s: float) -> bytes | None:
        """The frame to send now that the file is there; None if it is not wanted any more."""
        self._now_s = now_s
        frame = self._feed.frame(wanted, payload) if self.state is State.PLAYING else None
        self._tell_end()
        return frame

    def _take(self, command: Command) -> None:
        try:
            if self.state not in ALLOWED[command.action]:
                raise BadRequest("state_wrong", f"{command.action} is not understood while {self.state}")
            answer = _ANSWERS[command.action](self, command.data)
        except BadRequest as error:
            raise RefusedCommand(command.request_id, command.action, error) from None
        if command.action is Action.PING:
            answer["client_timestamp"] = command.timestamp
        if command.request_id is not None:
            self._say("reply", command.action, answer, command.request_id)
        # the events of a command stand behind its reply
        if command.action is Action.HELLO:
            self._say("event", "ready", self._presentation())
        elif command.action is Action.RENDITION:
            start_s = self._feed.next_sample / RATE_HZ
            self._say("event", "rendition_changed", {"name": self._feed.chosen, "from": start_s})
        elif command.action is Action.STOP:
            self.state, self.ending = State.CLOSED, Ending(close=Close.NORMAL, reason="stopped")
        self._tell_end()

    def _hello(self, data: Mapping[str, Any]) -> dict[str, Any]:
        if data.get("version", PROTOCOL_VERSION) != PROTOCOL_VERSION:
            sentence = f"only version {PROTOCOL_VERSION} is spoken here"
            raise Violation(Close.POLICY_VIOLATION, "version_not_spoken", sentence)
        sample, granted = self._sample(data), messages.credit(data, "credit")
        end = self._feed.asset.duration_samples
        if data.get("rendition") is not None:
            self._feed.change(data["rendition"])
        self._go_to(self._position.at(self._now_s, end) if sample is None else sample)
        self._feed.grant(granted or 0)
        self.state = State.READY
        return {"version": PROTOCOL_VERSION}

    def _play(self, data: Mapping[str, Any]) -> dict[str, Any]:
        return self._turn_to(State.PLAYING, data)

    def _pause(self, data: Mapping[str, Any]) -> dict[str, Any]:
        return self._turn_to(State.PAUSED, data)

    def _turn_to(self, state: State, data: Mapping[str, Any]) -> dict[str, Any]:
        self._report(data)
        self._position.run(state is State.PLAYING, self._now_s, self._feed.asset.duration_samples)
        self.state = state
        return self._status()

    def _seek(self, data: Mapping[str, Any]) -> dict[str, Any]:
        sample = self._sample(data)
        if sample is None:
            raise BadRequest("position_invalid", "seek needs data.position, in seconds")
        self._go_to(sample)
        return self._status()

    def _change(self, data: Mapping[str, Any]) -> dict[str, Any]:
        self._feed.change(data.get("name"))
        return {"name": self._feed.chosen}

    def _credit(self, data: Mapping[str, Any]) -> dict[str, Any]:
        granted = messages.credit(data, "bytes")
        if granted is None:
            raise BadRequest("credit_invalid", "credit needs data.bytes")
        self._report(data)
        self._feed.grant(granted)
        return {"credit": self._feed.credit_bytes}

    def _ping(self, data: Mapping[str, Any]) -> dict[str, Any]:
        self._report(data)
        return self._status()

    def _stop(self, _data: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    def _sample(self, data: Mapping[str, Any]) -> int | None:
        """The sample inside the track that a command names."""
        position_s, end_s = messages.seconds(data, "position"), self._feed.asset.duration_s
        if position_s is None:
            return None
        if position_s > end_s:
            sentence = f"position is {position_s:g} s, the track ends at {end_s:g} s"
            raise BadRequest("position_out_of_range", sentence)
        return round(position_s * RATE_HZ)

    def _go_to(self, sample: int) -> None:
        self._feed.go_to(sample)
        self._position.set(sample, self._now_s)
        self._end_is_told = False

    def _report(self, data: Mapping[str, Any]) -> None:
        """The listener may say where it is; else it is where time has brought it."""
        if (said_s := messages.seconds(data, "position")) is not None:
            self._position.set(round(min(said_s, self._feed.asset.duration_s) * RATE_HZ), self._now_s)

    def _status(self) -> dict[str, Any]:
        position = self._position.at(self._now_s, self._feed.asset.duration_samples)
        return {
            "state": self.state,
            "position": position / RATE_HZ,
            "rendition": self._feed.chosen,
            "credit": self._feed.credit_bytes,
        }

    def _presentation(self) -> dict[str, Any]:
        return {**self._status(), **self._feed.presentation(), "heartbeat": HEARTBEAT_S}

    def _tell_end(self) -> None:
        if self.state in OPEN and self._feed.is_at_end and not self._end_is_told:
            self._end_is_told = True
            self._say("event", "end", {"position": self._feed.asset.duration_s})

    def _say(self, kind: str, action: str, data: Mapping[str, Any], request_id: str | None = None) -> None:
        at_ms = self._began_ms + round((self._now_s - self._began_s) * 1000)
        self._unsent.append(messages.message(kind, action, data, request_id, at_ms))
        if len(self._unsent) > MAX_UNSENT and self.state is not State.CLOSED:
            self.state = State.CLOSED
            self.ending = Ending(close=Close.TRY_AGAIN_LATER, reason="reads_too_slowly")

    def _end(self, close: Close, code: str, message: str, retry_after_s: float | None = None) -> None:
        if self.state is State.CLOSED:
            return
        self.state, self.ending = State.CLOSED, Ending(close=close, reason=code)
        retry = {} if retry_after_s is None else {"retry_after": retry_after_s}
        self._say("error", "close", {"code": code, "message": message, **retry})


_ANSWERS: Final[Mapping[Action, Callable[[Playback, Mapping[str, Any]], dict[str, Any]]]] = {
    Action.HELLO: Playback._hello,
    Action.PLAY: Playback._play,
    Action.RESUME: Playback._play,
    Action.PAUSE: Playback._pause,
    Action.SEEK: Playback._seek,
    Action.RENDITION: Playback._change,
    Action.CREDIT: Playback._credit,
    Action.PING: Playback._ping,
    Action.STOP: Playback._stop,
}
