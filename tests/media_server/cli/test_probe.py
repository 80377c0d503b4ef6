"""`probe` says what a file is as JSON, or in one sentence why it is none."""

from __future__ import annotations

import json
from pathlib import Path

import signals
from typer.testing import CliRunner

from media_server.cli import app


def test_a_file_is_described(tmp_path: Path) -> None:
    path = tmp_path / "misnamed.mp3"
    signals.write(path, signals.music(1, 44_100, 2), 44_100, "flac")
    result = CliRunner().invoke(app, ["probe", str(path)])
    told = json.loads(result.output)
    assert (told["container"], told["rate_hz"], told["channels"], told["bit_depth"]) == (
        "flac",
        44_100,
        2,
        16,
    )


def test_what_is_no_audio_is_said_with_its_code(tmp_path: Path) -> None:
    (tmp_path / "x.mp3").write_text("text")
    result = CliRunner().invoke(app, ["probe", str(tmp_path / "x.mp3")])
    assert result.exit_code == 1
    assert "not_audio" in result.output
