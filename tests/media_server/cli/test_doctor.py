"""`doctor` says what it met, and its status says whether all is well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from companion.callbacks import Companion
from typer.testing import CliRunner

from media_server.cli import app


@pytest.fixture
def companion() -> Iterator[Companion]:
    companion = Companion()
    companion.start()
    yield companion
    companion.stop()


def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> tuple[int, str]:
    monkeypatch.chdir(tmp_path)
    # the command takes the secrets out of the environment, as every command does
    result = CliRunner().invoke(app, ["doctor"], env={"BACKEND_API_URL": url, "DATA_DIR": "data"})
    return result.exit_code, result.output


def test_all_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, companion: Companion) -> None:
    status, said = doctor(tmp_path, monkeypatch, companion.url)
    assert status == 0, said
    parts = [line.split()[0] for line in said.splitlines() if line.split()[1:2] == ["well"]]
    assert parts == ["data", "cage", "storage", "state", "broker", "antivirus", "companion"], said


def test_what_is_ill_is_named_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, said = doctor(tmp_path, monkeypatch, "http://127.0.0.1:1")
    assert status == 1
    assert "not well: companion" in said
