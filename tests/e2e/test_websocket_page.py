"""The page's WebSocket transport in a real browser: what it plays is heard, not only said."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import signals
from e2e.conftest import StartServer
from e2e.ears import Ears, sides
from e2e.server import Server, eventually
from e2e.visit import PREPARE
from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

DURATION_S = 12.5
ENDS_WITHIN_S = 30.0
TURNED_AT_S = 10.0
LEAST_SEPARATION_DB = 30.0

OPEN = """async () => {
  const { SocketStream } = await import('/web/websocket-player.js');
  const audio = document.createElement('audio');
  document.body.append(audio);
  const said = window.said = { rendition: [], trouble: [], failed: [], ended: 0 };
  audio.onended = () => { said.ended += 1; };
  audio.dataset.testid = 'tapped';
  const stream = new SocketStream(audio, {
    rendition: (detail) => said.rendition.push(detail),
    trouble: (detail) => said.trouble.push(detail),
    failed: (sentence, at) => said.failed.push([sentence, at]),
  });
  Object.assign(window, { audio, stream });
}"""


class Listener:
    """A page with the module's class on an audio element of its own."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        page.add_init_script(PREPARE)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self, server: Server, track_id: str, position_s: float = 0) -> None:
        self.page.goto(server.url)
        self.page.evaluate(OPEN)
        self.ears = Ears(self.page.get_by_test_id("tapped"))
        self.page.evaluate(
            "([track_id, position]) => stream.open(`/stream?track_id=${track_id}`, position)",
            [track_id, position_s],
        )

    def play(self) -> None:
        self.page.evaluate("audio.play()")

    def seek(self, position_s: float) -> None:
        self.page.evaluate("position => { audio.currentTime = position; }", position_s)

    def state(self) -> Any:
        return self.page.evaluate(
            "({time: audio.currentTime, duration: audio.duration, said, violations,"
            " ranges: [...Array(audio.buffered.length).keys()].map("
            "i => [audio.buffered.start(i), audio.buffered.end(i)])})"
        )

    def wait_until(self, condition: str, *, within_s: float = ENDS_WITHIN_S) -> None:
        eventually(
            lambda: self.page.evaluate(condition) or None,
            f"{condition} ({self.state()} {self.errors})",
            within_s=within_s,
        )


@pytest.fixture
def listener(browser: Browser) -> Iterator[Listener]:
    page = browser.new_page()
    yield Listener(page)
    page.close()


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("song") / "evening.wav"
    signals.write(path, signals.music(DURATION_S, 48_000), 48_000, "wav")
    return path


@pytest.fixture(scope="module")
def long_song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Longer than the 60 s that are fetched ahead."""
    path = tmp_path_factory.mktemp("song") / "night.wav"
    signals.write(path, signals.music(100.0, 48_000), 48_000, "wav")
    return path


@pytest.fixture(scope="module")
def turned_track_id(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What was on the left is on the right from TURNED_AT_S on: a place can be told by its sound."""
    path = tmp_path_factory.mktemp("song") / "turned.wav"
    pcm = sides(2 * TURNED_AT_S)
    pcm[:, round(TURNED_AT_S * 48_000) :] = pcm[::-1, round(TURNED_AT_S * 48_000) :]
    signals.write(path, pcm, 48_000, "wav")
    found: str = server.publish(path)["track_id"]
    return found


@pytest.fixture(scope="module")
def long_track_id(server: Server, long_song: Path) -> str:
    found: str = server.publish(long_song)["track_id"]
    return found


@pytest.fixture(scope="module")
def track_id(server: Server, song: Path) -> str:
    found: str = server.publish(song)["track_id"]
    return found


def test_a_track_is_heard_from_its_first_sample_to_its_last(
    listener: Listener, server: Server, track_id: str
) -> None:
    """Sound, not only state; the edit list and the window leave exactly the track."""
    listener.open(server, track_id)
    listener.play()
    listener.wait_until("audio.currentTime > 1")
    listener.wait_until("said.ended > 0")
    state = listener.state()
    assert state["duration"] == pytest.approx(DURATION_S, abs=1e-6)
    [[start_s, end_s]] = state["ranges"]
    assert (start_s, end_s) == (0, pytest.approx(DURATION_S, abs=1e-4))
    for second in np.arange(0.5, DURATION_S - 1):
        assert listener.ears.loudest(second, second + 1) > 0.01, f"silence at {second} s"
    assert state["said"]["failed"] == []
    assert state["violations"] == []
    assert listener.errors == []


def test_a_seek_is_heard_where_it_went_also_backwards_and_while_paused(
    listener: Listener, server: Server, long_track_id: str
) -> None:
    """Far out of what is buffered; meanwhile the rendition rises as a fast connection allows."""
    listener.open(server, long_track_id, 90.0)
    listener.play()
    listener.wait_until("audio.currentTime > 90.5 && !audio.seeking")
    listener.seek(5.0)
    listener.wait_until("audio.currentTime > 6 && audio.currentTime < 20")
    assert listener.ears.loudest(5.2, 6.0) > 0.01
    listener.page.evaluate("audio.pause()")
    listener.seek(95.0)
    listener.wait_until("!audio.seeking && audio.readyState >= 3")
    assert listener.state()["time"] == 95.0
    listener.play()
    listener.wait_until("said.ended > 0")
    assert listener.ears.loudest(96.0, 99.0) > 0.01
    said = listener.state()["said"]
    assert {one["name"] for one in said["rendition"] if one} == {"128k", "320k"}
    assert (said["failed"], listener.errors) == ([], [])


def test_a_change_to_another_codec_leaves_no_hole(listener: Listener, server: Server, track_id: str) -> None:
    """AAC first, Opus from the fourth segment on: their primings differ, so the two overlap."""
    listener.open(server, track_id)
    listener.wait_until("audio.buffered.length && audio.buffered.end(0) > 8")
    listener.page.evaluate("stream.choose('opus-128')")
    listener.play()
    listener.wait_until("said.ended > 0")
    state = listener.state()
    assert [one["name"] for one in state["said"]["rendition"] if one] == ["128k", "opus-128"]
    assert state["ranges"] == [[0, pytest.approx(DURATION_S, abs=1e-4)]]
    for second in np.arange(0.5, DURATION_S - 1):
        assert listener.ears.loudest(second, second + 1) > 0.01, f"silence at {second} s"
    assert (state["said"]["failed"], listener.errors) == ([], [])


SEEK_AS_THE_INIT_COMES = """([to, name]) => {
  const take = stream.onFrame.bind(stream);
  stream.onFrame = (frame) => {
    if (new DataView(frame).getUint8(1) === 1) {
      stream.onFrame = take;
      audio.currentTime = to;
      stream.onSeeking();
    }
    take(frame);
  };
  stream.choose(name);
}"""


def test_a_seek_while_the_rendition_changes_loses_no_init_segment(
    listener: Listener, server: Server, long_track_id: str
) -> None:
    """It is sent once; what was on its way when the listener sought is dropped, but not that."""
    listener.open(server, long_track_id)
    listener.play()
    listener.wait_until("audio.currentTime > 0.5")
    listener.page.evaluate(SEEK_AS_THE_INIT_COMES, [90.0, "opus-128"])
    listener.wait_until("audio.currentTime > 91 || said.failed.length > 0")
    said = listener.state()["said"]
    assert (said["failed"], listener.errors) == ([], [])
    assert said["rendition"][-1]["name"] == "opus-128"
    assert listener.ears.loudest(90.2, 91.0) > 0.01


def test_a_refused_track_is_told_at_once(listener: Listener, server: Server) -> None:
    """A browser says nothing of a refused handshake; nobody waits a minute for what is not there."""
    listener.open(server, "6f9619ff-8b86-4d01-b42d-00cf4fc964ff")
    listener.wait_until("said.failed.length > 0", within_s=10.0)
    [[sentence, _]] = listener.state()["said"]["failed"]
    assert sentence == "This track is not here any more."


@pytest.mark.parametrize("rendition", ["320k", "opus-128"])
def test_a_seek_to_the_middle_and_a_change_of_quality_keep_the_sides(
    listener: Listener, server: Server, turned_track_id: str, rendition: str
) -> None:
    """Both families: what is heard is what is there, on its side, to the end."""
    listener.open(server, turned_track_id)
    listener.page.evaluate("name => stream.choose(name)", rendition)
    listener.play()
    listener.wait_until("audio.currentTime > 1.5")
    assert min(listener.ears.separation_db(0.3, 2.0)) > LEAST_SEPARATION_DB
    listener.seek(TURNED_AT_S + 2.0)
    listener.wait_until("audio.currentTime > 13.5 && !audio.seeking")
    assert max(listener.ears.separation_db(12.3, 13.5)) < -LEAST_SEPARATION_DB
    listener.wait_until("said.ended > 0")
    assert max(listener.ears.separation_db(16.0, 19.5)) < -LEAST_SEPARATION_DB
    said = listener.state()["said"]
    assert [one["name"] for one in said["rendition"] if one][-1] == rendition
    assert (said["failed"], listener.errors) == ([], [])


def test_a_lost_connection_is_made_again_where_the_buffer_ends(
    listener: Listener, start_server: StartServer, long_song: Path
) -> None:
    """The server is stopped and started again on its port while a track plays."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    server = start_server(PORT=port, DRAIN_DELAY_S=0)
    listener.open(server, server.publish(long_song)["track_id"])
    listener.play()
    listener.wait_until("audio.currentTime > 1")
    assert server.stop(signal.SIGTERM) == 0
    listener.wait_until("said.trouble.some(Boolean)")
    server.start()
    listener.seek(80.0)
    listener.wait_until("audio.currentTime > 81")
    assert listener.ears.loudest(80.2, 81.0) > 0.01
    said = listener.state()["said"]
    assert (said["trouble"][-1], said["failed"], listener.errors) == (None, [], [])


def test_a_track_that_is_taken_down_is_told(
    listener: Listener, start_server: StartServer, long_song: Path
) -> None:
    """Contract: a deletion takes effect within 5 s; the listener learns why."""
    server = start_server()
    track_id = server.publish(long_song)["track_id"]
    listener.open(server, track_id)
    listener.play()
    listener.wait_until("audio.currentTime > 0.2")
    answer = server.client.delete(f"/api/v1/internal/tracks/{track_id}", headers=server.internal)
    assert answer.is_success, answer.text
    listener.wait_until("said.failed.length > 0", within_s=5.5)
    [[sentence, _]] = listener.state()["said"]["failed"]
    assert sentence == "This track is not here any more."
