"""Where the embedded server keeps its files under DATA_DIR."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders of one DATA_DIR; `make` creates them."""

    data_dir: Path

    @property
    def database(self) -> Path:
        return self.data_dir / "media-server.sqlite3"

    @property
    def storage(self) -> Path:
        """The root of the local storage: `tracks/...` lies below it."""
        return self.data_dir / "storage"

    @property
    def incoming(self) -> Path:
        """Uploads that are still arriving; swept at start."""
        return self.data_dir / "incoming"

    @property
    def attempts(self) -> Path:
        """One folder for each running attempt of a job, with its one local file."""
        return self.data_dir / "attempts"

    @property
    def owners(self) -> Path:
        """A lock file for each living process that holds leases."""
        return self.data_dir / "owners"

    def make(self) -> None:
        for folder in (self.storage, self.incoming, self.attempts, self.owners):
            folder.mkdir(parents=True, exist_ok=True)

    def attempt(self, job_id: str, fence: int) -> Path:
        return self.attempts / f"{job_id}.{fence}"

    def remove_attempt(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
