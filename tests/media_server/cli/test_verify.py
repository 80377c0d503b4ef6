"""`verify` says in words and by its exit code whether a track is as it was made."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from media_server.cli import app

TRACK = "11111111-1111-4111-8111-111111111111"


@pytest.mark.parametrize(
    ("track_id", "code", "words"),
    [
        ("../etc", 2, "is no track id"),
        (TRACK.upper().replace("1", "A"), 2, "is no track id"),
        (TRACK, 1, "track_not_found"),
    ],
)
def test_what_is_no_track_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, track_id: str, code: int, words: str
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("APP_ENV", "development")
    result = CliRunner().invoke(app, ["verify", track_id])
    assert result.exit_code == code
    assert words in result.output


def test_a_manifest_that_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    folder = tmp_path / "storage" / "tracks" / TRACK
    folder.mkdir(parents=True)
    (folder / "asset.json").write_text("{}")
    result = CliRunner().invoke(app, ["verify", TRACK])
    assert result.exit_code == 1
    assert "asset.json cannot be read" in result.output
