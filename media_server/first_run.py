"""A first run with an empty library gets a short piece of our own, through the real pipeline.

It is rendered in a child process: a person who stops the server at once must not wait for the music.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from multiprocessing import get_context
from pathlib import Path

import structlog

from media_server.demo import write_demo
from media_server.endpoints.services import Services
from media_server.jobs import cage
from media_server.jobs.job import JobRequest, Source, now_rfc3339
from media_server.jobs.submission import Submission, Upload, submit
from media_server.storage.assets import upload_key

log = structlog.get_logger()

RENDERING_MAY_TAKE_S = 60.0


async def offer_demo(services: Services) -> None:
    """Submit the demo track if this is development, the page is served and nothing was ever submitted."""
    settings = services.settings
    if not (settings.demo_track and settings.development and settings.page_is_served):
        return
    if (await services.state.tracks(limit=1)).items or (await services.state.list(limit=1)).items:
        return
    name = str(uuid.uuid4())
    arriving = services.folders.incoming / name
    if not await _rendered(arriving):
        log.error("demo.failed")
        return
    data = await asyncio.to_thread(arriving.read_bytes)
    await services.storage.put_file(upload_key(name), arriving)
    await asyncio.to_thread(arriving.unlink, missing_ok=True)
    submission = Submission(
        request=JobRequest(track_id=str(uuid.uuid4()), source=Source(), visibility="public"),
        upload=Upload(name=name, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data)),
        accepted_at=now_rfc3339(),
        calls_back=False,  # the companion API knows nothing of this track
    )
    await submit(submission, broker=services.broker, state=services.state)
    log.info("demo.submitted", track_id=submission.request.track_id)


async def _rendered(path: Path) -> bool:
    """True once the file is written; cancelled, its process ends."""
    process = get_context("forkserver").Process(target=_render, args=(path,), name="demo", daemon=True)
    await asyncio.to_thread(process.start)  # waits for the forkserver to be ready
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(process.sentinel, ended.set)
    try:
        async with asyncio.timeout(RENDERING_MAY_TAKE_S):
            await ended.wait()
    finally:
        loop.remove_reader(process.sentinel)
        process.kill()
        process.join()
    return process.exitcode == 0


def _render(path: Path) -> None:
    cage.follow_parent()
    write_demo(path)
