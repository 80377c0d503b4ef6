"""media_server/endpoints/dev.py"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from media_server.jobs.submission import Submission

FILE = {"files": {"file": ("a.wav", b"RIFF")}}
KEY = "an-internal-key-of-the-tests-0123456789"


async def test_the_page_uploads_a_public_track_without_a_callback(server: Any) -> None:
    answer = await server.ask("/dev/tracks", "POST", **FILE)
    assert answer.status_code == 202
    submission = Submission.model_validate_json((await server.services.broker.receive()).body)
    assert submission.request.visibility == "public"
    assert not submission.calls_back


async def test_the_page_watches_the_jobs(server: Any) -> None:
    job = (await server.ask("/dev/tracks", "POST", **FILE)).json()
    assert (await server.ask("/dev/jobs?limit=20")).json() == {"jobs": [job], "next_cursor": None}
    server.services.stopping.set()
    events = await server.ask("/dev/jobs/events")
    assert job["job_id"] in events.text


async def test_no_key_is_needed_also_where_there_is_one(start: Callable[..., Any]) -> None:
    """The page has no key; that it is this machine's own page is what counts."""
    server = start(internal_api_key=KEY)
    assert (await server.ask("/dev/tracks", "POST", **FILE)).status_code == 202


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/dev/tracks"), ("GET", "/dev/jobs"), ("GET", "/dev/jobs/events")]
)
@pytest.mark.parametrize(
    "more",
    [
        {"peer": "192.168.1.7"},
        {"base": "http://evil.example"},
        {"headers": {"Origin": "https://evil.example"}},
        {"headers": {"Sec-Fetch-Site": "cross-site"}},
    ],
)
async def test_only_this_machines_own_page_may(
    server: Any, method: str, path: str, more: dict[str, Any]
) -> None:
    answer = await server.ask(path, method, **more, **(FILE if method == "POST" else {}))
    assert (answer.status_code, answer.json()["code"]) == (403, "internal_only")
    assert (await server.services.broker.depth()).waiting == 0


@pytest.mark.parametrize(
    "settings", [{"app_env": "staging"}, {"app_env": "staging", "web_page": True}, {"web_page": False}]
)
async def test_it_exists_only_in_development_with_the_page(
    start: Callable[..., Any], settings: dict[str, Any]
) -> None:
    server = start(**settings)
    assert (await server.ask("/dev/tracks", "POST", **FILE)).status_code == 404
    assert (await server.ask("/dev/jobs")).status_code == 404
