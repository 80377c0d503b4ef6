"""The player page in a real browser: a file is dropped in, becomes a track, and is heard.

The page's own Content-Security-Policy forbids eval, on which `wait_for_function` rests: here it is `expect`
and `eventually` that wait.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import signals
import whole_files
from e2e.conftest import StartServer
from e2e.server import Server, eventually
from e2e.visit import PLAYED_WITHIN_S, Visit
from playwright.sync_api import Browser, expect

DURATION_S = 12.5
JOB_TAKES_MS = 60_000
SEEK_TOLERANCE_S = 0.1

STAGES = ("fetch", "probe", "analyze", "encode", "publish", "done")
PRODUCTION = {
    "APP_ENV": "production",
    "JWT_SECRET": "a-secret-that-signs-tokens-0123456789",
    "INTERNAL_API_KEY": "a-key-between-two-servers-0123456789",
    "PUBLIC_BASE_URL": "https://media.example",
    "CORS_ALLOWED_ORIGINS": "https://app.example",
}

# a stage may last less than it takes to ask for it
RECORD_JOBS = """() => {
  window.seen = [];
  const last = new Map();
  new MutationObserver(() => {
    for (const {dataset} of document.querySelectorAll('[data-testid=job-item]')) {
      const open = document.querySelector('[data-testid=now-title]').textContent;
      const now = [dataset.jobId, dataset.status, dataset.stage, open].join(' ');
      if (last.get(dataset.jobId) !== now) window.seen.push(now);
      last.set(dataset.jobId, now);
    }
  }).observe(document.body, {subtree: true, childList: true, attributes: true});
}"""
BAR_HEIGHTS = """canvas => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height);
  const pen = copy.getContext('2d', {willReadFrequently: true});
  pen.drawImage(canvas, 0, 0);
  const pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data;
  const heights = new Set();
  for (let x = 0; x < canvas.width; x++) {
    let height = 0;
    for (let y = 0; y < canvas.height; y++) height += pixels[4 * (y * canvas.width + x) + 3] > 0;
    heights.add(height);
  }
  return heights.size;
}"""


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    yield Visit(page)
    page.close()


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_song(tmp_path_factory.mktemp("song"), DURATION_S)


def write_song(folder: Path, duration_s: float) -> Path:
    path = folder / "evening.mp3"
    tags = {"title": "Evening", "artist": "The Tests"}
    signals.write(path, signals.music(duration_s, 44_100), 44_100, "mp3", tags=tags)
    return path


@pytest.fixture(scope="module")
def track_id(server: Server, song: Path) -> str:
    found: str = server.publish(song)["track_id"]
    return found


@pytest.fixture(scope="module")
def lossless_id(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A track of six seconds with a lossless rendition; of its files the MP3 is made."""
    path = tmp_path_factory.mktemp("lossless") / "evening.flac"
    tags = {"title": "Evening", "artist": "The Tests"}
    signals.write(path, signals.music(6.0, 44_100), 44_100, "flac", tags=tags)
    found: str = server.publish(path, options={"profile": "lossless"})["track_id"]
    return found


def upload(visit: Visit, path: Path) -> tuple[str, str]:
    """Choose a file; the ids of the job and of the track that the server makes of it."""
    with visit.page.expect_response("**/dev/tracks") as answer:
        visit.get("upload-input").set_input_files(path)
    job = answer.value.json()
    return job["job_id"], job["track_id"]


def open_track(visit: Visit, server: Server, track_id: str) -> None:
    """Come by a link that names the track."""
    visit.page.goto(f"{server.url}/#track={track_id}")
    expect(visit.get("now-title")).to_have_text("Evening")
    expect(visit.get("play")).to_be_enabled()


def test_an_uploaded_file_is_made_and_played(visit: Visit, server: Server, tmp_path: Path) -> None:
    """The first thing a developer does with the server; long enough for each stage to be seen.

    The track is open while the rest of it is still being made.
    """
    song = write_song(tmp_path, 60.0)
    visit.page.goto(server.url)
    expect(visit.get("upload-button")).to_be_visible()
    visit.page.evaluate(RECORD_JOBS)
    job_id, track_id = upload(visit, song)
    job = visit.page.locator(f"[data-job-id='{job_id}']")
    expect(job).to_have_attribute("data-status", "completed", timeout=JOB_TAKES_MS)
    expect(job).to_contain_text("Ready")

    seen = visit.page.evaluate("window.seen")
    stages = [one.split(" ")[2] for one in seen if one.startswith(f"{job_id} running ")]
    assert {"analyze", "encode"} <= set(stages), seen
    assert stages == sorted(stages, key=STAGES.index), "a job goes forward only"
    assert f"{job_id} running encode Evening" in seen

    track = visit.get("track-item").first
    expect(track).to_have_attribute("data-track-id", track_id)
    expect(track).to_contain_text("Evening")
    expect(track).to_contain_text("The Tests")
    expect(track).to_contain_text("1:00")
    expect(visit.get("now-title")).to_have_text("Evening")
    visit.get("play").click()
    visit.wait_until_played(2.0)
    expect(visit.get("time")).to_have_text(re.compile(r"^0:0[2-5]$"))
    expect(visit.get("duration")).to_have_text("1:00")
    expect(visit.get("rendition")).to_have_attribute("data-rendition", re.compile("^(128|192|320)k$"))
    expect(visit.get("loudness")).to_contain_text(re.compile(r"-\d+\.\d LUFS"))
    expect(visit.get("notice")).to_be_hidden()
    assert visit.problems == []


def test_the_waveform_shows_the_music_and_seeks(visit: Visit, server: Server, track_id: str) -> None:
    open_track(visit, server, track_id)
    waveform = visit.get("waveform")
    canvas = waveform.locator("canvas")
    # bars of many heights: a flat line, which it draws without data, has one
    eventually(lambda: canvas.evaluate(BAR_HEIGHTS) > 20 or None, "a drawn waveform", within_s=10)
    visit.get("play").click()
    visit.wait_until_played(0.3)

    visit.get("audio").evaluate(
        "audio => { audio.onseeking = () => { window.sought = audio.currentTime; }; }"
    )
    box = waveform.bounding_box()
    assert box is not None
    visit.page.mouse.click(box["x"] + box["width"] * 0.6, box["y"] + box["height"] / 2)
    sought_s = eventually(lambda: visit.page.evaluate("sought") or None, "a seek", within_s=5)
    assert sought_s == pytest.approx(0.6 * DURATION_S, abs=SEEK_TOLERANCE_S)
    assert not visit.paused
    visit.wait_until_played(0.6 * DURATION_S + 0.5)
    expect(waveform).to_have_attribute("aria-valuetext", re.compile("seconds of 12 seconds"))
    assert visit.problems == []


def test_keys_play_pause_seek_and_mute(visit: Visit, server: Server, track_id: str) -> None:
    open_track(visit, server, track_id)
    visit.page.keyboard.press("Space")
    visit.wait_until_played(0.3)
    expect(visit.get("play")).to_have_attribute("aria-label", "Pause")
    visit.page.keyboard.press("Space")
    expect(visit.get("play")).to_have_attribute("aria-label", "Play")
    assert visit.paused
    stopped_at_s = visit.position_s
    visit.page.keyboard.press("ArrowRight")
    eventually(
        lambda: abs(visit.position_s - stopped_at_s - 5.0) < 0.1 or None, "5 s on with a key", within_s=5
    )
    visit.page.keyboard.press("m")
    expect(visit.get("mute")).to_have_attribute("aria-pressed", "true")
    assert visit.problems == []


def test_a_track_is_heard_to_its_end(visit: Visit, server: Server, track_id: str) -> None:
    """The last second too, which hangs where a playlist promises more than there is."""
    open_track(visit, server, track_id)
    visit.get("play").click()
    visit.wait_until_played(0.2)
    visit.get("audio").evaluate(
        "audio => { window.ended = 0; audio.onended = () => { window.ended += 1; }; }"
    )
    visit.get("waveform").focus()
    visit.page.keyboard.press("End")
    visit.page.keyboard.press("ArrowLeft")
    eventually(lambda: visit.page.evaluate("window.ended") or None, "the end", within_s=PLAYED_WITHIN_S)
    assert visit.problems == []


def test_a_track_is_heard_lossless_from_the_same_place_on(
    visit: Visit, server: Server, lossless_id: str
) -> None:
    """What is heard is told in the listener's words; a track without such a rendition is not offered it."""
    open_track(visit, server, lossless_id)
    visit.get("play").click()
    visit.wait_until_played(1.0)
    chip = visit.get("rendition")
    expect(chip).to_have_text(re.compile(r"^(128|192|320) kbit/s$"))
    visit.get("lossless").check()
    expect(chip).to_have_text("Lossless 44.1 kHz / 16 bit")
    expect(chip).to_have_attribute("data-rendition", "lossless")
    visit.wait_until_played(2.0)
    assert visit.position_s < 2.0 + PLAYED_WITHIN_S
    visit.get("transport-webrtc").check()
    expect(visit.get("lossless")).to_be_hidden()
    expect(chip).to_have_text("Opus 128 kbit/s")
    visit.get("transport-hls").check()
    expect(visit.get("lossless")).to_be_checked()
    visit.get("lossless").uncheck()
    expect(chip).to_have_text(re.compile(r"^(128|192|320) kbit/s$"))
    expect(visit.get("notice")).to_be_hidden()
    assert visit.problems == []


@pytest.mark.slow
def test_who_may_listen_may_keep_the_track(visit: Visit, server: Server, lossless_id: str) -> None:
    """A file that is not made yet comes as soon as it is; each under the track's name."""
    open_track(visit, server, lossless_id)
    downloads = visit.get("downloads")
    downloads.locator("summary").click()
    expect(downloads.locator("a")).to_have_text(
        [re.compile("^MP3320 kbit/s, "), "M4A", "Ogg Vorbis", "Opus", "FLAClossless"]
    )
    for fmt, channels_samples in (("mp3", (2, 288_000)), ("flac", (2, 264_600))):
        with visit.page.expect_download(timeout=JOB_TAKES_MS) as download:
            downloads.locator(f"[data-format={fmt}]").click()
        assert download.value.suggested_filename == f"The Tests - Evening.{fmt}"
        assert whole_files.heard(Path(download.value.path()), 2).shape == channels_samples
    expect(visit.get("notice")).to_be_hidden()
    for complaint in visit.problems:  # the FLAC was asked for before it was there
        assert "503" in complaint


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1280])
def test_everything_fits_the_screen(visit: Visit, server: Server, lossless_id: str, width: int) -> None:
    """With the longest of labels and the files unfolded."""
    visit.page.set_viewport_size({"width": width, "height": 800})
    open_track(visit, server, lossless_id)
    visit.get("lossless").check()
    visit.get("play").click()
    expect(visit.get("rendition")).to_have_text("Lossless 44.1 kHz / 16 bit")
    visit.get("downloads").locator("summary").click()
    stage = visit.get("stage").bounding_box()
    for name in ("rendition", "mute", "volume", "lossless", "downloads", "transport-webrtc"):
        box = visit.get(name).bounding_box()
        assert stage["x"] <= box["x"], name
        assert box["x"] + box["width"] <= stage["x"] + stage["width"], name
    assert visit.page.evaluate("document.documentElement.scrollWidth") == width


def test_a_file_that_is_no_audio_is_refused_in_words(visit: Visit, server: Server, tmp_path: Path) -> None:
    path = tmp_path / "notes.wav"
    path.write_text("this is a text, whatever it is called\n" * 50)
    visit.page.goto(server.url)
    job_id, _ = upload(visit, path)
    job = visit.page.locator(f"[data-job-id='{job_id}']")
    expect(job).to_have_attribute("data-status", "failed", timeout=JOB_TAKES_MS)
    expect(job).to_contain_text("notes")
    expect(job.locator("code")).to_have_text(re.compile(r"^[a-z_]+$"))
    assert visit.problems == []


def test_production_shows_a_page_that_only_listens(
    visit: Visit, start_server: StartServer, song: Path
) -> None:
    """WEB_PAGE=true in production: a link to a public track plays; nothing can be uploaded."""
    server = start_server(WEB_PAGE=True, **PRODUCTION)
    config = server.get("/web/config.json").json()
    assert (config["development"], config["upload"]) == (False, False)
    open_track(visit, server, server.publish(song)["track_id"])
    visit.get("play").click()
    visit.wait_until_played(0.5)
    expect(visit.get("workshop")).to_have_count(0)
    expect(visit.get("upload-input")).to_have_count(0)
    # the list of tracks is for administrators there
    assert [complaint for complaint in visit.problems if "401 (Unauthorized)" not in complaint] == []
    assert server.client.get("/dev/jobs").status_code in {403, 404}
    assert server.client.post("/dev/tracks", files={"file": b"x"}).status_code in {403, 404}
