"""One embedded queue and outbox for each test, on a clock that only the test moves; or queues on RabbitMQ."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from servers.queues import Queues, queues
from servers.rabbitmq import NotInstalledError, shared_rabbitmq

from media_server.broker.local import LocalBroker
from media_server.broker.outbox import LocalOutbox
from media_server.broker.owner import Owner
from media_server.database import Database
from media_server.state.local import LocalState

LEASE_S = 15.0


@dataclass(slots=True)
class Clock:
    """The wall clock, in seconds."""

    seconds: float = 1_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(tmp_path / "db.sqlite3")
    yield opened
    await opened.close()


def _close(owner: Owner, folder: Path) -> None:
    """Unless the test has done so: to it, a process that ended."""
    if (folder / "owners" / f"{owner.name}.lock").exists():
        owner.close()


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    this_process = Owner(tmp_path / "owners")
    yield this_process
    _close(this_process, tmp_path)


@pytest.fixture
def other_owner(tmp_path: Path, owner: Owner) -> Iterator[Owner]:
    """Another process, as far as leases can tell."""
    other_process = Owner(tmp_path / "owners")
    yield other_process
    _close(other_process, tmp_path)


@pytest.fixture
def broker(database: Database, owner: Owner, clock: Clock) -> LocalBroker:
    return LocalBroker(database, lease_s=LEASE_S, owner=owner, now=clock)


@pytest.fixture
def other_broker(database: Database, other_owner: Owner, clock: Clock) -> LocalBroker:
    return LocalBroker(database, lease_s=LEASE_S, owner=other_owner, now=clock)


@pytest.fixture
def outbox(database: Database, owner: Owner, clock: Clock) -> LocalOutbox:
    return LocalOutbox(database, owner=owner, now=clock)


@pytest.fixture
def other_outbox(database: Database, other_owner: Owner, clock: Clock) -> LocalOutbox:
    return LocalOutbox(database, owner=other_owner, now=clock)


@pytest.fixture
async def state(database: Database) -> LocalState:
    return LocalState(database)


@pytest.fixture
async def rabbit() -> AsyncIterator[Queues]:
    """Queues of this test alone on a real RabbitMQ."""
    try:
        node = shared_rabbitmq()
    except NotInstalledError as error:
        pytest.skip(str(error))
    async with queues(node.url) as made:
        yield made
