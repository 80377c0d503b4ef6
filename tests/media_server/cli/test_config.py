"""`config` shows what is in force and where it came from, never a secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from media_server.cli import app
from media_server.cli.config import origin, shown

SECRET = "correct-horse-battery-staple-0123456789"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (SecretStr(SECRET), "********"),
        (("a", "b"), "a,b"),
        ((), "-"),
        (True, "true"),
        (8082, "8082"),
    ],
)
def test_a_value_is_shown_as_the_environment_would_spell_it(value: object, text: str) -> None:
    assert shown(value) == text


def test_a_value_comes_from_the_environment_a_file_or_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("LOG_LEVEL=ERROR\n")
    monkeypatch.setenv("PORT", "9")
    monkeypatch.delenv("HOST", raising=False)
    assert origin("PORT", "development", tmp_path) == "environment"
    assert origin("LOG_LEVEL", "development", tmp_path) == ".env"
    assert origin("HOST", "development", tmp_path) == "default"


def test_the_command_masks_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["config"], env={"JWT_SECRET": SECRET, "COLUMNS": "200"})
    assert result.exit_code == 0
    assert SECRET not in result.output
    assert "JWT_SECRET" in result.output
