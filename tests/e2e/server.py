"""The server as an operator runs it, and what a client says to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx2
from e2e.program import Json, Program, Setting, eventually

__all__ = ["Json", "Server", "Setting", "WorkerProcess", "eventually"]

TRANSCODE = "/api/v1/internal/transcode"
JOBS = "/api/v1/internal/jobs"
ENDED = frozenset({"completed", "failed", "cancelled"})

START_WITHIN_S = 30.0
ANSWER_WITHIN_S = 30.0
JOB_ENDS_WITHIN_S = 90.0


LIMITS_OF_PERSONS_OFF: Mapping[str, Setting] = {
    "RATE_LIMIT_GUEST_PER_MINUTE": 0,
    "RATE_LIMIT_WEBSOCKETS_PER_MINUTE": 0,
    "RATE_LIMIT_ADDRESS_PER_SECOND": 0,
}
"""A test asks for more in a second than a person does. The limits on media stay: every player meets them."""


class Server(Program):
    """`media-server serve`: unless `env` says more, a free PORT, no demo track and no limits of persons."""

    def __init__(self, folder: Path, env: Mapping[str, Setting] | None = None) -> None:
        settings = {"PORT": 0, "DEMO_TRACK": False, **LIMITS_OF_PERSONS_OFF, **(env or {})}
        super().__init__(folder, ("serve",), settings)
        self.url = ""
        self._client: httpx2.Client | None = None
        self._internal: dict[str, str] = {}

    def start(self) -> Server:
        """Start it and wait until it is ready; again after a stop, with the same folder.

        Raises:
            AssertionError: it is not ready in time, or has ended; the message is its log.
        """
        self.launch()
        self.url = self.wait_for_log("server.listening", within_s=START_WITHIN_S)["url"].rstrip("/")
        key = self.settings.get("INTERNAL_API_KEY")
        header = self.settings.get("INTERNAL_API_KEY_HEADER", "X-Internal-API-Key")
        self._internal = {header: key} if key else {}
        self._client = httpx2.Client(base_url=self.url, timeout=ANSWER_WITHIN_S, trust_env=False)
        eventually(lambda: self.client.get("/readyz").is_success or None, "/readyz", within_s=START_WITHIN_S)
        return self

    def _reap(self) -> None:
        super()._reap()
        if self._client is not None:
            self._client.close()
            self._client = None

    @property
    def client(self) -> httpx2.Client:
        """An HTTP client for paths of this server; it decodes gzip and follows no redirects."""
        assert self._client is not None, "the server does not run"
        return self._client

    @property
    def internal(self) -> dict[str, str]:
        """The headers that open internal routes."""
        return dict(self._internal)

    def get(self, path: str, **headers: str) -> httpx2.Response:
        """GET; keyword arguments are headers with _ for -."""
        return self.client.get(path, headers={name.replace("_", "-"): text for name, text in headers.items()})

    def upload(
        self, path: Path, *, idempotency_key: str | None = None, visibility: str = "public", **fields: object
    ) -> Json:
        """Submit a file with form fields (`title`, `track_id`, `options` as a mapping, ...); the new job.

        Without `options` the ladder alone is made: an MP3 takes as long again, and few tests are about it.
        """
        fields.setdefault("options", {"outputs": []})
        response = self.submit(path, idempotency_key=idempotency_key, visibility=visibility, **fields)
        assert response.status_code == httpx2.codes.ACCEPTED, response.text
        job: Json = response.json()
        return job

    def submit(self, path: Path, *, idempotency_key: str | None = None, **fields: object) -> httpx2.Response:
        """As `upload`, for any answer."""
        form = {
            name: json.dumps(value) if isinstance(value, Mapping) else str(value)
            for name, value in fields.items()
        }
        headers = self.internal | ({"Idempotency-Key": idempotency_key} if idempotency_key else {})
        with path.open("rb") as file:
            return self.client.post(TRANSCODE, data=form, files={"file": (path.name, file)}, headers=headers)

    def job(self, job_id: str) -> Json:
        """The job as it stands."""
        response = self.client.get(f"{JOBS}/{job_id}", headers=self.internal)
        assert response.is_success, response.text
        job: Json = response.json()
        return job

    def wait_for(self, job_id: str, *, within_s: float = JOB_ENDS_WITHIN_S) -> Json:
        """The job as it ended, well or not."""
        return self.wait_until(job_id, lambda job: job["status"] in ENDED, within_s=within_s)

    def wait_until(
        self, job_id: str, holds: Callable[[Json], bool], *, within_s: float = JOB_ENDS_WITHIN_S
    ) -> Json:
        """The job as soon as this holds of it."""

        def look() -> Json | None:
            job = self.job(job_id)
            return job if holds(job) else None

        return eventually(look, f"job {job_id}", within_s=within_s)

    def publish(self, path: Path, *, visibility: str = "public", **fields: object) -> Json:
        """Upload a file and wait until its track is complete; the job with its result."""
        submitted = self.upload(path, idempotency_key=None, visibility=visibility, **fields)
        job = self.wait_for(submitted["job_id"])
        assert job["status"] == "completed", job
        return job

    def master_url(self, track_id: str) -> str:
        return f"{self.url}/hls/{track_id}/master.m3u8"


class WorkerProcess(Program):
    """`media-server worker`."""

    def __init__(self, folder: Path, env: Mapping[str, Setting]) -> None:
        super().__init__(folder, ("worker",), env)

    def start(self) -> WorkerProcess:
        """Start it and wait until it takes jobs.

        Raises:
            AssertionError: it does not in time, or has ended; the message is its log.
        """
        self.launch()
        self.wait_for_log("worker.started", within_s=START_WITHIN_S)
        return self
