"""The product doing a job: through the real server, and as the bare pipeline without one."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
from measure import Cost, of_running, run

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
from e2e.server import ENDED, Server, eventually

ENDS_WITHIN_S = 600.0
LOOK_EVERY_S = 0.1
"""A question costs the server about 2 ms, which is then part of what is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that is up, idle between jobs."""

    server: Server

    def job(self, song: Path) -> tuple[Cost, float, str]:
        """Upload over HTTP and ask until the job is completed, every 100 ms; its ladder alone is made.

        Returns:
            the cost of the server and its children, the gain in dB it applied and where its playlists are.
        """
        track_id = str(uuid.uuid4())
        with of_running(self.server.pid) as costs:
            job_id = self.server.upload(song, track_id=track_id)["job_id"]
            job = eventually(
                lambda: ended if (ended := self.server.job(job_id))["status"] in ENDED else None,
                f"job {job_id}",
                within_s=ENDS_WITHIN_S,
                every_s=LOOK_EVERY_S,
            )
        if job["status"] != "completed":
            raise RuntimeError(f"the job ended {job['status']}: {job['error']}")
        return (
            costs[0],
            job["result"]["loudness"]["gain_db"],
            self.server.master_url(track_id).rpartition("/")[0],
        )


@contextmanager
def serving(folder: Path, first: Path) -> Iterator[Running]:
    """`media-server serve` with its own DATA_DIR, the defaults of development and no companion.

    It has done one job, on `first`: what a server does once is no part of a job's cost.
    """
    server = Server(folder).start()
    running = Running(server=server)
    try:
        running.job(first)
        yield running
    finally:
        server.close()


def transcode(song: Path, folder: Path) -> tuple[Cost, float, str]:
    """`media-server transcode`: the same pipeline in the same caged child, interpreter start included."""
    program = [sys.executable, "-m", "media_server"]
    # a setting of whoever runs this must not reach the program
    env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    cost, _ = run([*program, "transcode", str(song), str(folder)], folder, env)
    asset = orjson.loads((folder / "asset.json").read_bytes())
    return cost, asset["loudness"]["gain_db"], str(folder)


def version() -> str:
    """Of the product, as it is installed."""
    return importlib.metadata.version("veza-media-server")
