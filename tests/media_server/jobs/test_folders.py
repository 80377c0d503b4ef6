"""Where things lie under DATA_DIR."""

from __future__ import annotations

from pathlib import Path

from media_server.jobs.folders import Folders


def test_every_folder_is_made_below_the_data_dir_and_making_twice_is_fine(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "new" / "data")
    folders.make()
    folders.make()
    made = {path for path in folders.data_dir.iterdir() if path.is_dir()}
    assert folders.storage in made
    assert folders.attempts in made
    assert folders.database.parent == folders.data_dir


def test_attempts_of_one_job_never_share_a_folder(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    assert folders.attempt("job", 1) != folders.attempt("job", 2)


def test_removing_an_attempt_takes_all_of_it_and_may_be_done_twice(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    folder = folders.attempt("job", 1)
    (folder / "deep").mkdir(parents=True)
    (folder / "src.bin").write_bytes(b"x")
    folders.remove_attempt(folder)
    folders.remove_attempt(folder)
    assert not folder.exists()
