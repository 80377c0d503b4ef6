"""The issuer's side of JWT_JWKS_URL: a real HTTP server that publishes keys by a script.

Owns: what is answered, each answer once and the last one from then on, and what was asked.
"""

from __future__ import annotations

import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HANGS_UP = 0
"""A status that stands for no answer at all."""

ASKED_WITHIN_S = 10.0


class Issuer:
    """Listens from `start` to `stop`; answers `document` unless `answers` says otherwise."""

    def __init__(self, document: bytes) -> None:
        self.answers: list[tuple[int, bytes]] = [(200, document)]
        self.asked: queue.Queue[dict[str, str]] = queue.Queue()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/jwks.json"

    def start(self) -> Issuer:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def was_asked(self) -> dict[str, str]:
        """The next request: its path, and its headers by their lower-case names."""
        return self.asked.get(timeout=ASKED_WITHIN_S)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                issuer.asked.put(headers | {"path": self.path})
                status, body = issuer.answers.pop(0) if len(issuer.answers) > 1 else issuer.answers[0]
                if status == HANGS_UP:
                    return
                self.send_response(status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        return Handler
