"""A track as one file, over HTTP: what players that know no streaming make of it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import signals
from e2e.ears import Ears
from e2e.server import Server, eventually
from e2e.test_playback import debian_ffmpeg, newest_ffmpeg, play_with
from e2e.visit import Visit
from playwright.sync_api import Browser, expect

DURATION_S = 6.0
SAMPLES = 288_000
FRAME_SAMPLES = 1024

KNOWS_NO_HLS = """
delete window.MediaSource;
delete window.ManagedMediaSource;
const asked = HTMLMediaElement.prototype.canPlayType;
HTMLMediaElement.prototype.canPlayType = function (type) {
  return /mpegurl/i.test(type) ? '' : asked.call(this, type);
};
"""


@pytest.fixture(scope="module")
def track_id(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("song") / "song.wav"
    signals.write(path, signals.music(DURATION_S), 48_000, "wav")
    found: str = server.publish(path)["track_id"]
    return found


@pytest.mark.parametrize("find_ffmpeg", [debian_ffmpeg, newest_ffmpeg], ids=["distribution", "newest"])
@pytest.mark.parametrize("bitrate", [128, 320])
def test_ffmpeg_plays_the_whole_track(
    server: Server, track_id: str, find_ffmpeg: Callable[[], str], bitrate: int
) -> None:
    """The grid: nothing is lost, and what is too much is less than the priming and a frame."""
    url = f"{server.url}/tracks/{track_id}/audio.m4a?bitrate={bitrate}"
    assert 0 <= play_with(find_ffmpeg(), url, "warning") - SAMPLES < 2 * FRAME_SAMPLES


def test_a_browser_that_knows_no_hls_plays_it_and_seeks_in_it(
    server: Server, track_id: str, browser: Browser
) -> None:
    """The page's last way: neither Media Source Extensions nor HLS of the browser's own."""
    visit = Visit(browser.new_page(viewport={"width": 1280, "height": 900}))
    visit.page.add_init_script(KNOWS_NO_HLS)
    visit.page.goto(f"{server.url}/#track={track_id}")
    expect(visit.get("play")).to_be_enabled()
    visit.get("play").click()
    visit.wait_until_played(0.3)
    audio = visit.get("audio")
    expect(audio).to_have_attribute("src", re.compile(r"audio\.m4a"))
    ears = Ears(audio)
    audio.evaluate("audio => { audio.currentTime = 4 }")
    eventually(lambda: any(one.sounds for one in ears.moments(4.2)) or None, f"sound ({visit.problems})")
    assert visit.problems == []
    visit.page.close()
