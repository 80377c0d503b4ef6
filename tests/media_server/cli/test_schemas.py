"""`schemas` writes what `config/contract/schemas` holds."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from media_server.cli import app

COMMITTED = Path(__file__).parents[3] / "config" / "contract" / "schemas"


def test_it_writes_the_committed_files(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["schemas", str(tmp_path / "new" / "folder")])
    assert result.exit_code == 0, result.output
    written = {path.name: path.read_bytes() for path in (tmp_path / "new" / "folder").iterdir()}
    assert written == {path.name: path.read_bytes() for path in COMMITTED.iterdir()}


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(app, ["schemas", str(tmp_path / "file")])
    assert result.exit_code == 1
    assert "Traceback" not in result.output
