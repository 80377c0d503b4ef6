"""Each part is used once for real, and a part that is ill neither hides nor stops the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from companion.callbacks import Companion
from servers.redis import PrivateRedis

from media_server.doctor import Finding, examine
from media_server.jobs.folders import Folders
from media_server.settings import Settings

KEY = "a-key-between-two-servers-0123456789"
NOBODY = "http://127.0.0.1:1"


async def findings(tmp_path: Path, **values: Any) -> dict[str, Finding]:
    settings = Settings(data_dir=tmp_path / "data", _env_file=None, **values)
    return {found.name: found async for found in examine(settings)}


async def test_an_embedded_server_with_its_companion_is_well(tmp_path: Path) -> None:
    companion = Companion()
    companion.start()
    try:
        found = await findings(tmp_path, backend_api_url=companion.url, internal_api_key=KEY)
    finally:
        companion.stop()
    assert list(found) == ["data", "cage", "storage", "state", "broker", "antivirus", "companion"]
    assert [one.name for one in found.values() if not one.well] == []
    assert companion.received == []  # no callback was sent


async def test_it_leaves_nothing_behind(tmp_path: Path) -> None:
    await findings(tmp_path, backend_api_url=NOBODY)
    folders = Folders(tmp_path / "data")
    assert [path for path in folders.storage.rglob("*") if path.is_file()] == []
    assert list(folders.owners.iterdir()) == []


async def test_a_companion_that_nobody_runs_is_named_and_the_rest_is_well(tmp_path: Path) -> None:
    found = await findings(tmp_path, backend_api_url=NOBODY, internal_api_key=KEY)
    assert [one.name for one in found.values() if not one.well] == ["companion"]
    assert NOBODY in found["companion"].detail
    assert KEY not in found["companion"].detail


@pytest.mark.parametrize("status", [401, 403, 500, 503])
async def test_a_companion_that_refuses_the_key_or_fails_is_ill(tmp_path: Path, status: int) -> None:
    companion = Companion()
    companion.start()
    companion.head_status = status
    try:
        found = await findings(tmp_path, backend_api_url=companion.url, internal_api_key=KEY)
    finally:
        companion.stop()
    assert not found["companion"].well
    assert str(status) in found["companion"].detail


async def test_a_redis_that_stopped_is_named_without_its_password(tmp_path: Path) -> None:
    with PrivateRedis() as redis:
        url = redis.url
    found = await findings(tmp_path, redis_url=url, backend_api_url=NOBODY)
    assert not found["state"].well
    assert found["storage"].well
    assert all(url not in one.detail for one in found.values())


async def test_a_scanner_that_nobody_runs_is_named(tmp_path: Path) -> None:
    """Only where sources are to be scanned is its absence an illness."""
    found = await findings(tmp_path, clamav_address="127.0.0.1:1", backend_api_url=NOBODY)
    assert [one.name for one in found.values() if not one.well] == ["antivirus", "companion"]


async def test_a_data_folder_that_cannot_be_made_is_said_first(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    found = await findings(tmp_path)
    assert list(found) == ["data"]
    assert not found["data"].well
