"""The player page in a real browser: what was on the left is heard on the left, over each transport."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import signals
from e2e.ears import Ears, sides
from e2e.server import Server, eventually
from e2e.visit import Visit
from playwright.sync_api import Browser, Route, expect

DURATION_S = 12.5
HEARD_WITHIN_S = 20.0
LEAST_SEPARATION_DB = 30.0


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    yield Visit(page)
    page.close()


@pytest.fixture(scope="module")
def track_id(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("song") / "sides.wav"
    signals.write(path, sides(DURATION_S), 48_000, "wav")
    found: str = server.publish(path)["track_id"]
    return found


@pytest.mark.parametrize("transport", [pytest.param("hls", marks=pytest.mark.slow), "websocket", "webrtc"])
def test_each_side_is_heard_on_its_side(visit: Visit, server: Server, track_id: str, transport: str) -> None:
    """440 Hz on the left, 880 Hz on the right, and neither on the other, from the start and on."""
    visit.page.goto(f"{server.url}/#track={track_id}")
    expect(visit.get("play")).to_be_enabled()
    visit.page.locator("label", has=visit.get(f"transport-{transport}")).click()
    # at once: what is pressed while the transport is loaded is meant for it
    visit.get("play").click()
    visit.wait_until_played(0.1)
    ears = Ears(visit.get("audio"))
    eventually(
        lambda: len([one for one in ears.moments(2.0, 5.0) if one.sounds]) > 25 or None,
        f"a second of sound ({visit.problems})",
        within_s=HEARD_WITHIN_S,
    )
    assert min(ears.separation_db(0.5, 5.0)) > LEAST_SEPARATION_DB
    assert visit.problems == []


def test_a_transport_that_is_chosen_before_the_track_is_there_plays_it(
    visit: Visit, server: Server, track_id: str
) -> None:
    """The module of the transport comes late: what was opened until then is heard over it all the same."""
    modules: list[Route] = []
    tracks: list[Route] = []
    visit.page.route("**/websocket-player.js", lambda route: modules.append(route))
    visit.page.route(re.compile(r"/tracks\?"), lambda route: tracks.append(route))
    visit.page.goto(f"{server.url}/#track={track_id}")
    await_request(visit, tracks)
    way = visit.page.locator("label", has=visit.get("transport-websocket"))
    way.evaluate("label => label.click()")  # the switch is shown with the track
    await_request(visit, modules)
    for route in tracks:
        route.continue_()
    expect(visit.get("play")).to_be_enabled()
    for route in modules:
        route.continue_()
    expect(way).to_have_attribute("data-state", "ready")
    visit.get("play").click()
    visit.wait_until_played(1.0)
    expect(way).to_have_attribute("data-state", "playing")
    assert visit.problems == []


def await_request(visit: Visit, held: list[Route]) -> None:
    """Let the browser go on until a request is held; it speaks only while it is asked something."""
    eventually(lambda: (visit.page.title(), held or None)[1], "a request to hold")
