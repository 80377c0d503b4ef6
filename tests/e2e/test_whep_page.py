"""The page's WebRTC transport in a real browser: what it plays is heard, not only said."""

from __future__ import annotations

import base64
import io
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import signals
from e2e.conftest import StartServer
from e2e.presentation import read
from e2e.server import Server, eventually
from e2e.visit import PREPARE, Visit
from playwright.sync_api import Browser, Page, expect

pytestmark = pytest.mark.slow

DURATION_S = 12.5
LONG_S = 60.0
WITHIN_S = 30.0
LEFT_HZ, RIGHT_HZ = 440.0, 880.0

OPEN = """async ([track_id, position]) => {
  const { WhepStream } = await import('/web/whep-player.js');
  const audio = document.createElement('audio');
  const said = window.said = { rendition: [], trouble: [], failed: [], ended: 0, seeked: 0 };
  audio.onended = () => { said.ended += 1; };
  audio.onseeked = () => { said.seeked += 1; };
  const stream = new WhepStream(audio, {
    rendition: (detail) => said.rendition.push(detail),
    trouble: (detail) => said.trouble.push(detail),
    failed: (sentence, at) => said.failed.push([sentence, at]),
  });
  Object.assign(window, { audio, stream });
  await tapped(audio);
  await stream.open(`/whep/${track_id}`, position);
}"""

PLAIN = """async ([url, kinds, bundlePolicy]) => {
  const connection = new RTCPeerConnection({ bundlePolicy });
  for (const kind of kinds) {
    if (kind === 'data') connection.createDataChannel('x');
    else connection.addTransceiver(kind, { direction: 'recvonly' });
  }
  await connection.setLocalDescription();
  while (connection.iceGatheringState !== 'complete') {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const offer = connection.localDescription.sdp;
  const headers = { 'Content-Type': 'application/sdp' };
  const response = await fetch(url, { method: 'POST', headers, body: offer });
  const answer = await response.text();
  await connection.setRemoteDescription({ type: 'answer', sdp: answer });
  const bytes = async () => [...(await connection.getStats()).values()]
    .filter(({ type }) => type === 'inbound-rtp').reduce((sum, { bytesReceived }) => sum + bytesReceived, 0);
  while (!(await bytes())) await new Promise((resolve) => setTimeout(resolve, 20));
  await fetch(response.headers.get('Location'), { method: 'DELETE' });
  const directions = connection.getTransceivers().map(({ currentDirection }) => currentDirection);
  connection.close();
  return { offer, answer, directions };
}"""

TAP = """
// What is heard: per channel the peak and the loudest frequency, each 40 ms, with the position.
window.tapped = async (audio) => {
  const context = new AudioContext({ sampleRate: 48000 });
  const analysers = [0, 1].map(() => new AnalyserNode(context, { fftSize: 8192 }));
  let source = null;
  const tap = () => {
    const stream = audio.srcObject;
    source?.disconnect();
    source = null;
    if (!stream?.getAudioTracks().length) return;
    source = context.createMediaStreamSource(stream);
    const splitter = new ChannelSplitterNode(context, { numberOfOutputs: 2 });
    source.connect(splitter);
    analysers.forEach((analyser, channel) => splitter.connect(analyser, channel));
  };
  const { get, set } = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, 'srcObject');
  Object.defineProperty(audio, 'srcObject', {
    configurable: true,
    get() { return get.call(audio); },
    set(stream) { set.call(audio, stream); tap(); },
  });
  tap();
  window.heard = [];
  const samples = new Float32Array(2048);
  const bins = new Float32Array(4096);
  setInterval(() => {
    const channels = analysers.map((analyser) => {
      analyser.getFloatTimeDomainData(samples);
      const peak = samples.reduce((most, one) => Math.max(most, Math.abs(one)), 0);
      analyser.getFloatFrequencyData(bins);
      const level = (hz) => Math.max(...bins.slice(Math.round(hz / 5.859) - 2, Math.round(hz / 5.859) + 3));
      return { peak, hz: bins.indexOf(Math.max(...bins)) * 48000 / 8192, levels: [level(440), level(880)] };
    });
    window.heard.push({ at: window.stream?.position ?? audio.currentTime, channels });
  }, 40);
  await context.resume();
};
"""

RECORD = """
// The payloads of RTP as they come out of SRTP, before any jitter buffer: what an encoded transform is given.
window.payloads = [];
const Plain = RTCPeerConnection;
window.RTCPeerConnection = class extends Plain {
  constructor(configuration) {
    super({ ...configuration, encodedInsertableStreams: true });
    this.addEventListener('track', ({ receiver }) => {
      const { readable, writable } = receiver.createEncodedStreams();
      const seen = new TransformStream({
        transform(frame, controller) {
          const text = String.fromCharCode(...new Uint8Array(frame.data));
          window.payloads.push([frame.getMetadata().sequenceNumber ?? frame.timestamp, btoa(text)]);
          controller.enqueue(frame);
        },
      });
      readable.pipeThrough(seen).pipeTo(writable);
    });
  }
  setConfiguration(configuration) {
    super.setConfiguration({ ...configuration, encodedInsertableStreams: true });
  }
};
"""


class Listener:
    """A page with the module's class on an audio element of its own."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        page.add_init_script(PREPARE)
        page.add_init_script(TAP)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self, server: Server, track_id: str, position_s: float = 0) -> None:
        self.page.goto(server.url)
        self.page.evaluate(OPEN, [track_id, position_s])

    def play(self) -> None:
        # not awaited: the element is given the session's stream meanwhile, which breaks the promise
        self.page.evaluate("audio.play().catch(() => {}), null")

    def pause(self) -> None:
        self.page.evaluate("audio.pause()")

    def seek(self, position_s: float) -> None:
        self.page.evaluate("position => stream.seek(position)", position_s)

    @property
    def position_s(self) -> float:
        position: float = self.page.evaluate("stream.position")
        return position

    def state(self) -> Any:
        return self.page.evaluate("({position: stream.position, paused: audio.paused, said, violations})")

    def loudest(self, start_s: float, end_s: float) -> float:
        """The peak that was heard while the position was between these."""
        heard = self.page.evaluate("heard")
        return max(
            (
                channel["peak"]
                for one in heard
                if start_s <= one["at"] <= end_s
                for channel in one["channels"]
            ),
            default=0.0,
        )

    def wait_until(self, condition: str, *, within_s: float = WITHIN_S) -> None:
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


def published(server: Server, folder: Path, pcm: signals.Pcm) -> str:
    path = folder / "evening.wav"
    signals.write(path, pcm, 48_000, "wav", tags={})
    found: str = server.publish(path, title="Evening")["track_id"]
    return found


@pytest.fixture(scope="module")
def track_id(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    return published(server, tmp_path_factory.mktemp("song"), signals.music(DURATION_S, 48_000))


@pytest.fixture(scope="module")
def long_track_id(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    return published(server, tmp_path_factory.mktemp("song"), signals.music(LONG_S, 48_000))


@pytest.fixture(scope="module")
def stereo_track_id(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """440 Hz on the left, 880 Hz on the right."""
    at = np.arange(20 * 48_000) / 48_000
    pcm = 0.3 * np.sin(2 * np.pi * np.outer([LEFT_HZ, RIGHT_HZ], at))
    return published(server, tmp_path_factory.mktemp("song"), pcm.astype(np.float32))


def stored(server: Server, track_id: str) -> list[bytes]:
    """The Opus packets of the track as FFmpeg finds them in what HLS serves."""
    [rung] = read(server.client, f"{server.url}/hls/{track_id}/master-opus.m3u8").values()
    with av.open(io.BytesIO(rung.init + b"".join(rung.segments)), "r") as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def listening(server: Server) -> float:
    """WebRTC listeners, as Prometheus is told."""
    found = re.search(
        r'^veza_stream_listeners\{transport="webrtc"\} (\S+)', server.get("/metrics").text, re.M
    )
    return float(found[1]) if found else 0.0


def test_a_track_is_heard_to_its_end(listener: Listener, server: Server, track_id: str) -> None:
    """Sound checked, not only state: no hole, one end, and nothing left at the server."""
    listener.open(server, track_id)
    listener.play()
    listener.wait_until("said.ended > 0")
    assert listener.position_s == pytest.approx(DURATION_S, abs=0.2)
    for second in np.arange(0.5, DURATION_S - 1.5):
        assert listener.loudest(second, second + 1) > 0.01, f"silence at {second} s"
    state = listener.state()
    assert state["said"]["ended"] == 1
    assert [one["name"] for one in state["said"]["rendition"] if one] == ["opus-128"]
    assert (state["said"]["failed"], state["violations"], listener.errors) == ([], [], [])
    eventually(lambda: listening(server) == 0 or None, "no listener", within_s=WITHIN_S)


def test_left_stays_left_and_right_right(listener: Listener, server: Server, stereo_track_id: str) -> None:
    """RFC 7587 7.1: Chromium decodes one channel unless its own offer says stereo=1."""
    listener.open(server, stereo_track_id)
    listener.play()
    listener.wait_until("stream.position > 3")
    heard = [one for one in listener.page.evaluate("heard") if 1.0 < one["at"] < 3.0]
    assert heard
    middle = heard[len(heard) // 2]["channels"]
    assert [channel["hz"] for channel in middle] == pytest.approx([LEFT_HZ, RIGHT_HZ], abs=6)
    (left_low, left_high), (right_low, right_high) = (channel["levels"] for channel in middle)
    assert left_low - left_high > 30, "dB between what belongs there and what does not"
    assert right_high - right_low > 30


def test_the_payloads_are_those_that_are_stored(
    listener: Listener, server: Server, stereo_track_id: str
) -> None:
    """Byte for byte, as the browser's own receiver has them."""
    listener.page.add_init_script(RECORD)
    listener.open(server, stereo_track_id)
    listener.play()
    listener.wait_until("payloads.length > 120")
    came = [base64.b64decode(text) for _, text in listener.page.evaluate("payloads")]
    packets = stored(server, stereo_track_id)
    first = packets.index(came[0])
    assert first <= 2, "from the beginning; the receiver may begin a packet late"
    assert came == packets[first : first + len(came)]


@pytest.mark.parametrize(
    ("kinds", "policy"),
    [
        (["audio"], "max-bundle"),
        (["audio", "video"], "max-bundle"),
        (["audio", "video", "data"], "balanced"),
        # Chromium itself cannot have the first section refused where it bundles everything beforehand
        (["video", "audio"], "balanced"),
    ],
)
def test_any_player_is_answered_whatever_else_it_offers(
    listener: Listener, server: Server, track_id: str, kinds: list[str], policy: str
) -> None:
    """A WHEP player of the plainest kind: offers all it can, gathers first, and hides its addresses."""
    listener.page.goto(server.url)
    found = listener.page.evaluate(PLAIN, [f"/whep/{track_id}", kinds, policy])
    assert found["directions"] == ["recvonly"], "a transceiver that is refused is gone"
    assert found["answer"].count("\nm=") == len(kinds)
    candidates = re.findall(r"a=candidate:\S+ 1 udp \d+ (\S+)", found["offer"])
    assert candidates
    assert all(address.endswith(".local") for address in candidates), "Chromium hides them by mDNS"


def test_a_seek_is_heard_where_it_went_also_backwards_and_while_paused(
    listener: Listener, server: Server, long_track_id: str
) -> None:
    listener.open(server, long_track_id, 50.0)
    listener.play()
    listener.wait_until("stream.position > 51")
    assert listener.loudest(50.3, 51.0) > 0.01
    listener.seek(5.0)
    assert listener.position_s == 5.0
    listener.wait_until("stream.position > 6 && stream.position < 20")
    assert listener.loudest(5.3, 6.0) > 0.01
    listener.pause()
    eventually(lambda: listening(server) == 0 or None, "no listener while paused", within_s=WITHIN_S)
    listener.seek(57.0)
    assert listener.position_s == 57.0
    listener.play()
    listener.wait_until("said.ended > 0")
    assert listener.loudest(57.5, 59.0) > 0.01
    said = listener.state()["said"]
    assert (said["failed"], said["seeked"], listener.errors) == ([], 2, [])


def test_a_pause_goes_on_where_it_was(listener: Listener, server: Server, long_track_id: str) -> None:
    """In real time nothing waits: the session ends, and play begins another from there."""
    listener.open(server, long_track_id)
    listener.play()
    listener.wait_until("stream.position > 2")
    listener.pause()
    stopped_s = listener.position_s
    eventually(lambda: listening(server) == 0 or None, "no listener while paused", within_s=WITHIN_S)
    assert listener.position_s == stopped_s
    listener.play()
    listener.wait_until(f"stream.position > {stopped_s + 1}")
    assert listener.position_s < stopped_s + 10
    assert listener.loudest(stopped_s + 0.3, stopped_s + 1) > 0.01


def test_a_lost_connection_is_made_again_where_it_was(
    listener: Listener, start_server: StartServer, tmp_path: Path
) -> None:
    """The server is stopped and started again on its port while a track plays."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    server = start_server(PORT=port, DRAIN_DELAY_S=0)
    listener.open(server, published(server, tmp_path, signals.music(LONG_S, 48_000)))
    listener.play()
    listener.wait_until("stream.position > 1")
    assert server.stop(signal.SIGTERM) == 0
    listener.wait_until("said.trouble.some(Boolean)")
    server.start()
    listener.wait_until("said.trouble.at(-1) === null")
    again_s = listener.position_s
    assert 0.5 < again_s < 15
    listener.wait_until(f"stream.position > {again_s + 1}")
    assert listener.loudest(again_s + 0.3, again_s + 1) > 0.01
    assert (listener.state()["said"]["failed"], listener.errors) == ([], [])


def test_a_track_that_is_taken_down_is_told(
    listener: Listener, start_server: StartServer, tmp_path: Path
) -> None:
    """Contract: a deletion takes effect within 5 s; the listener learns why."""
    server = start_server()
    track_id = published(server, tmp_path, signals.music(LONG_S, 48_000))
    listener.open(server, track_id)
    listener.play()
    listener.wait_until("stream.position > 0.2")
    answer = server.client.delete(f"/api/v1/internal/tracks/{track_id}", headers=server.internal)
    assert answer.is_success, answer.text
    listener.wait_until("said.failed.length > 0")
    [[sentence, at_s]] = listener.state()["said"]["failed"]
    assert sentence == "This track is not here any more."
    assert at_s < 5.5


def test_the_switch_of_the_page_changes_to_webrtc_and_back(
    browser: Browser, server: Server, long_track_id: str
) -> None:
    """From HLS, in the middle of a track: heard on from there, sought in the waveform, and back again."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    visit = Visit(page)
    page.add_init_script(TAP)
    page.goto(f"{server.url}/#track={long_track_id}")
    expect(visit.get("now-title")).to_have_text("Evening")
    visit.get("play").click()
    visit.wait_until_played(2.0)
    page.evaluate("tapped(document.querySelector('audio'))")
    visit.get("transport-webrtc").check()
    expect(visit.get("way-state")).to_have_text("playing")
    expect(visit.get("rendition")).to_have_attribute("data-rendition", "opus-128")
    eventually(lambda: listening(server) == 1 or None, "a listener", within_s=WITHIN_S)
    peaks = "heard.slice(-5).some(({channels}) => channels[0].peak > 0.01)"
    eventually(lambda: page.evaluate(peaks) or None, "sound", within_s=WITHIN_S)
    expect(visit.get("time")).to_have_text(re.compile(r"^0:0[3-9]$"))
    box = visit.get("waveform").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2)
    expect(visit.get("time")).to_have_text(re.compile(r"^0:4[5-9]$"))
    expect(visit.get("time")).to_have_text(re.compile(r"^0:(4[7-9]|5\d)$"))
    eventually(lambda: page.evaluate(peaks) or None, "sound after the seek", within_s=WITHIN_S)
    visit.get("transport-hls").check()
    eventually(lambda: listening(server) == 0 or None, "no listener", within_s=WITHIN_S)
    visit.wait_until_played(47.5)
    expect(visit.get("notice")).to_be_hidden()
    assert visit.problems == []
    page.close()
