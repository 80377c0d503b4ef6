"""The companion API's side of the callback: a real HTTP server that writes down what it is sent.

Owns: what came, and what is answered. Answers are scripted in advance; without a script each is 204.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]

NO_CONTENT, NOT_FOUND = 204, 404
CLOSE_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a request gets, after `delay_s`."""

    status: int = NO_CONTENT
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """A request that came. Header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Json
    answered: int
    """The status it got."""


class Companion:
    """Listens from `start` to `stop`; after a stop it can be started again at the same address."""

    def __init__(self) -> None:
        self._port = 0
        self._news = threading.Condition()
        self._received: list[Callback] = []
        self._script: deque[Answer] = deque()
        self._always = Answer()
        self._closing = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self.head_status = NOT_FOUND
        """What a HEAD gets: whoever only looks whether we are there."""

    def start(self) -> Companion:
        self._closing.clear()
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), self._handler())
        self._port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Refuse connections from now on; to be called any number of times."""
        if self._server is None or self._thread is None:
            return
        self._closing.set()
        self._server.shutdown()
        self._thread.join(CLOSE_WITHIN_S)
        self._server.server_close()
        self._server = self._thread = None

    @property
    def url(self) -> str:
        """For BACKEND_API_URL."""
        return f"http://127.0.0.1:{self._port}"

    def answer_next(
        self, *statuses: int, headers: Mapping[str, str] | None = None, delay_s: float = 0.0
    ) -> None:
        """Script the answers to the next requests, one status each, behind those scripted before."""
        with self._news:
            self._script.extend(
                Answer(status=status, headers=headers or {}, delay_s=delay_s) for status in statuses
            )

    def answer_always(
        self, status: int, *, headers: Mapping[str, str] | None = None, delay_s: float = 0.0
    ) -> None:
        """What every request gets once the script is used up."""
        with self._news:
            self._always = Answer(status=status, headers=headers or {}, delay_s=delay_s)

    @property
    def received(self) -> list[Callback]:
        """All that came, in order of arrival."""
        with self._news:
            return list(self._received)

    def of(self, job_id: str) -> list[Callback]:
        """Those that tell of this job."""
        return [one for one in self.received if one.body.get("job_id") == job_id]

    def wait_until(
        self, holds: Callable[[list[Callback]], bool], what: str, *, within_s: float = 30.0
    ) -> list[Callback]:
        """All that came, as soon as this holds of them.

        Raises:
            AssertionError: it does not hold in time.
        """
        with self._news:
            met = self._news.wait_for(lambda: holds(list(self._received)), within_s)
            assert met, f"{what}: not within {within_s:g} s; came: {self._received}"
            return list(self._received)

    def wait_for(self, job_id: str, *, count: int = 1, within_s: float = 30.0) -> list[Callback]:
        """The first `count` callbacks that tell of a job."""
        self.wait_until(
            lambda came: sum(one.body.get("job_id") == job_id for one in came) >= count,
            f"{count} callbacks of job {job_id}",
            within_s=within_s,
        )
        return self.of(job_id)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        companion = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.send_response(companion.head_status)
                self.end_headers()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer = companion._take(self.command, self.path, dict(self.headers.items()), body)
                if companion._closing.wait(answer.delay_s) if answer.delay_s else False:
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """The tests read what came; stderr stays clean."""

        return Handler

    def _take(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        with self._news:
            answer = self._script.popleft() if self._script else self._always
            self._received.append(
                Callback(
                    method=method,
                    path=path,
                    headers={name.lower(): value for name, value in headers.items()},
                    body=json.loads(body),
                    answered=answer.status,
                )
            )
            self._news.notify_all()
        return answer
