"""A listener in Chromium with a stopwatch: from the click on play to the first packet and the first sound.

The page fetches the beginning of a track that it shows, where the transport can: then the first packet is
there before the click.

Owns: the page's clock, what counts as a packet on each transport, and what counts as sound: a sample of the
element's output above -60 dBFS. All times are of one clock, the page's `performance.now()`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]

READY_WITHIN_MS = 15_000
SOUND_WITHIN_MS = 15_000
TRANSPORTS = ("hls", "websocket", "webrtc")

# before the page's own scripts: what a packet is, for each transport
WATCH = """
window.stopwatch = {clicked: null, sound: null, packets: {}};
const packet = (transport, at) => { window.stopwatch.packets[transport] ??= at ?? performance.now(); };
new PerformanceObserver((list) => {
  for (const {name, responseStart} of list.getEntries()) {
    if (/\\.m4s(\\?|$)/.test(name)) packet('hls', responseStart);
  }
}).observe({type: 'resource', buffered: false});
const Socket = window.WebSocket;
window.WebSocket = class extends Socket {
  constructor(...args) {
    super(...args);
    this.addEventListener('message', ({data}) => typeof data !== 'string' && packet('websocket'));
  }
};
const Peer = window.RTCPeerConnection;
window.RTCPeerConnection = class extends Peer {
  constructor(...args) {
    super(...args);
    this.addEventListener('track', ({track}) => track.addEventListener('unmute', () => packet('webrtc')));
  }
};
"""

# an element that plays is tapped where its sound comes out; a worklet misses its first 128 samples at most
PRESS = """async ([transport, testId]) => {
  const audio = document.querySelector('[data-testid=audio]');
  const {stopwatch} = window;
  const context = new AudioContext({latencyHint: 'interactive'});
  const analyser = new AnalyserNode(context, {fftSize: 2048});
  const samples = new Float32Array(analyser.fftSize);
  const captured = audio.captureStream(); // one: each costs a decoder's output of its own
  let tapped = null;
  const tap = () => {
    const stream = audio.srcObject ?? captured;
    const [track] = stream.getAudioTracks();
    if (!track || track === tapped) return;
    tapped = track;
    new MediaStreamAudioSourceNode(context, {mediaStream: stream}).connect(analyser);
  };
  stopwatch.clicked = performance.now();
  document.querySelector(`[data-testid=${testId}]`).click();
  const deadline = stopwatch.clicked + 15000;
  while (stopwatch.sound === null && performance.now() < deadline) {
    tap();
    analyser.getFloatTimeDomainData(samples);
    if (samples.some((sample) => Math.abs(sample) > 1e-3)) stopwatch.sound = performance.now();
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await context.close();
  const {clicked, sound, packets: {[transport]: packet}} = stopwatch;
  return {packet: packet && Math.max(packet - clicked, 0), sound: sound && sound - clicked};
}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How long a start took, in milliseconds from the click; 0 is a packet that was there before it."""

    first_packet_ms: float
    first_sound_ms: float


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def start(browser: Browser, url: str, track_id: str, transport: str) -> Start:
    """Open the page anew, choose the transport, press play and listen.

    Raises:
        RuntimeError: nothing was heard in time.
    """
    context = browser.new_context()
    try:
        page: Page = context.new_page()
        page.add_init_script(WATCH)
        page.goto(f"{url}/#track={track_id}")
        page.wait_for_selector("[data-testid=play]:not([disabled])")
        # what a finger meets: the input itself takes no clicks
        way = page.locator("label", has=page.get_by_test_id(f"transport-{transport}"))
        way.click()
        expect(way).to_have_attribute("data-state", "ready", timeout=READY_WITHIN_MS)
        page.wait_for_load_state("networkidle")
        took: dict[str, Any] = page.evaluate(PRESS, [transport, "play"])
    finally:
        context.close()
    if took["sound"] is None or took["packet"] is None:
        raise RuntimeError(f"{transport}: nothing was heard within {SOUND_WITHIN_MS} ms: {took}")
    return Start(first_packet_ms=took["packet"], first_sound_ms=took["sound"])
