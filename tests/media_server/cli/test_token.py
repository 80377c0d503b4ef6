"""`token` mints what the server accepts."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from media_server.auth.tokens import TokenVerifier
from media_server.cli import app
from media_server.settings import Settings

SECRET = "correct-horse-battery-staple-0123456789"
TRACK = "0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11"


def test_a_token_is_accepted_and_narrowed_as_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["token", "--subject", "u", "--role", "artist", "--track", TRACK]
    result = CliRunner().invoke(app, arguments, env={"JWT_SECRET": SECRET})
    principal = TokenVerifier(Settings(jwt_secret=SECRET, _env_file=None)).verify(result.output.strip())
    assert (principal.subject, principal.track_id) == ("u", TRACK)


def test_without_a_secret_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JWT_SECRET", raising=False)
    result = CliRunner().invoke(app, ["token"])
    assert result.exit_code == 2
    assert "JWT_SECRET" in result.output
