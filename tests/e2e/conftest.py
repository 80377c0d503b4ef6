"""Real processes for the tests that play what the server makes.

`server` is shared by all tests of a worker process; a test that stops it or needs settings of its own starts
one with `start_server`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from companion.callbacks import Companion
from e2e.server import Server, Setting
from e2e.visit import ARGUMENTS, CHROMIUM
from playwright.sync_api import Browser, sync_playwright


class StartServer(Protocol):
    """Starts a server; arguments are settings: `start_server(MAX_DURATION_S=5)`."""

    def __call__(self, **env: Setting) -> Server: ...


@pytest.fixture(scope="session")
def server_companion() -> Iterator[Companion]:
    """Where the callbacks of servers go that name no other companion."""
    companion = Companion().start()
    yield companion
    companion.stop()


@pytest.fixture
def companion() -> Iterator[Companion]:
    """A companion of the test's own: `start_server(BACKEND_API_URL=companion.url)`."""
    companion = Companion().start()
    yield companion
    companion.stop()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, server_companion: Companion) -> Iterator[Server]:
    """A server with the defaults of development; it sends its callbacks to `server_companion`."""
    settings: dict[str, Setting] = {"BACKEND_API_URL": server_companion.url, "JOBS_CONCURRENT": 2}
    server = Server(tmp_path_factory.mktemp("server"), settings)
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture
def start_server(tmp_path: Path, server_companion: Companion) -> Iterator[StartServer]:
    """Starts servers that end with the test. Each has a folder of its own unless DATA_DIR names one."""
    started: list[Server] = []

    def start(**env: Setting) -> Server:
        settings: dict[str, Setting] = {"BACKEND_API_URL": server_companion.url, **env}
        server = Server(tmp_path / f"server-{len(started)}", settings)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"no {CHROMIUM}: tests/e2e/clients/install.sh brings it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()
