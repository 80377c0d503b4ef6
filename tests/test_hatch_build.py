"""The build step of hatch_build.py, run as pip runs it: by hatchling, on a copy of the project.

npm is a small script, alone on PATH, that delivers what the registry would; one test asks the real one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
WEB = ROOT / "media_server" / "web"
LIBRARY = "export default class Hls {}\n"

Build = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout as git delivers it: our build files and the page, without the libraries."""
    root = tmp_path / "project"
    shutil.copytree(
        WEB, root / "media_server" / "web", ignore=shutil.ignore_patterns("vendor", "node_modules")
    )
    for name in ("pyproject.toml", "hatch_build.py", ".gitignore", "LICENSE"):
        shutil.copyfile(ROOT / name, root / name)
    for package in ("media_server", "pipeline", "hls", "webrtc"):
        (root / package).mkdir(exist_ok=True)
        (root / package / "__init__.py").touch()
    (root / "README.md").touch()
    return root


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """The only folder on PATH of a build."""
    folder = tmp_path / "programs"
    folder.mkdir()
    return folder


@pytest.fixture
def build(project: Path, programs: Path) -> Build:
    def run(
        target: str = "wheel", path: str | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        without = {name: value for name, value in os.environ.items() if name != "VEZA_SKIP_WEB"}
        return subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "--target", target],
            cwd=project,
            env={**without, "PATH": path or str(programs), **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )

    return run


def install_npm(programs: Path, script: str) -> None:
    npm = programs / "npm"
    npm.write_text(f"#!{sys.executable}\nimport sys\nfrom pathlib import Path\n{script}")
    npm.chmod(0o755)


def delivering(library: str = LIBRARY) -> str:
    return (
        "package = Path('node_modules/hls.js')\n"
        "(package / 'dist').mkdir(parents=True)\n"
        f"(package / 'dist/hls.min.mjs').write_text({library!r})\n"
        "(package / 'LICENSE').write_text('Apache')\n"
    )


def vendored(project: Path) -> dict[str, str]:
    folder = project / "media_server" / "web" / "vendor"
    return {path.name: path.read_text() for path in folder.iterdir()} if folder.is_dir() else {}


def leftovers(project: Path) -> set[str]:
    """What the build left in the page's folder beside the page and vendor."""
    committed = {path.name for path in WEB.iterdir()}
    return {path.name for path in (project / "media_server" / "web").iterdir()} - committed - {"vendor"}


def test_lock_pins_by_hash_and_names_no_registry() -> None:
    """A mirror can serve the same archives: the hash alone decides."""
    packages = json.loads((WEB / "package-lock.json").read_text())["packages"]
    wanted = json.loads((WEB / "package.json").read_text())["dependencies"]
    assert packages[""]["dependencies"] == wanted
    installed = {path: package for path, package in packages.items() if path}
    assert installed
    for package in installed.values():
        assert package["integrity"].startswith("sha512-")
        assert "resolved" not in package


def test_wheel_holds_the_libraries_that_git_ignores(project: Path, programs: Path, build: Build) -> None:
    install_npm(programs, delivering())
    done = build()
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next((project / "dist").glob("*.whl"))) as wheel:
        assert wheel.read("media_server/web/vendor/hls.min.mjs").decode() == LIBRARY
        assert {"media_server/web/vendor/LICENSE", "media_server/web/index.html"} <= set(wheel.namelist())
    assert leftovers(project) == set()


def test_sdist_holds_the_libraries_so_that_its_wheel_needs_no_npm(
    project: Path, programs: Path, build: Build
) -> None:
    install_npm(programs, delivering())
    assert build("sdist").returncode == 0
    with tarfile.open(next((project / "dist").glob("*.tar.gz"))) as sdist:
        assert any(name.endswith("/media_server/web/vendor/hls.min.mjs") for name in sdist.getnames())


def test_lock_goes_to_npm_ci_without_package_scripts(project: Path, programs: Path, build: Build) -> None:
    install_npm(
        programs,
        "assert sys.argv[1] == 'ci' and '--ignore-scripts' in sys.argv, sys.argv\n"
        "assert Path('package-lock.json').is_file() and Path('package.json').is_file()\n" + delivering(),
    )
    done = build()
    assert done.returncode == 0, done.stderr
    assert vendored(project)["package-lock.json"] == (WEB / "package-lock.json").read_text()


def test_libraries_of_the_same_lock_are_not_fetched_again(
    project: Path, programs: Path, build: Build
) -> None:
    install_npm(programs, delivering())
    assert build().returncode == 0
    install_npm(programs, "sys.exit('npm was started')\n")
    assert build().returncode == 0
    assert vendored(project)["hls.min.mjs"] == LIBRARY


def test_libraries_of_another_lock_are_replaced(project: Path, programs: Path, build: Build) -> None:
    install_npm(programs, delivering("an older one"))
    assert build().returncode == 0
    lock = project / "media_server" / "web" / "package-lock.json"
    lock.write_text(lock.read_text() + "\n")
    install_npm(programs, delivering())
    assert build().returncode == 0
    assert vendored(project)["hls.min.mjs"] == LIBRARY
    assert leftovers(project) == set()


def test_failed_npm_ends_the_build_with_its_words_and_leaves_nothing(
    project: Path, programs: Path, build: Build
) -> None:
    install_npm(programs, delivering() + "sys.exit('code EINTEGRITY')\n")
    done = build()
    assert done.returncode != 0
    assert "EINTEGRITY" in done.stderr
    assert "VEZA_SKIP_WEB=1" in done.stderr
    assert vendored(project) == {}
    assert leftovers(project) == set()


def test_failed_npm_leaves_the_libraries_that_were_there(project: Path, programs: Path, build: Build) -> None:
    install_npm(programs, delivering())
    assert build().returncode == 0
    lock = project / "media_server" / "web" / "package-lock.json"
    lock.write_text(lock.read_text() + "\n")
    install_npm(programs, "sys.exit(1)\n")
    assert build().returncode != 0
    assert vendored(project)["hls.min.mjs"] == LIBRARY


def test_package_without_a_wanted_file_is_an_error(project: Path, programs: Path, build: Build) -> None:
    install_npm(programs, delivering() + "(package / 'LICENSE').unlink()\n")
    done = build()
    assert done.returncode != 0
    assert "npm brought no hls.js/LICENSE" in done.stderr
    assert vendored(project) == {}


def test_skipping_builds_a_wheel_without_the_libraries(project: Path, programs: Path, build: Build) -> None:
    install_npm(programs, "sys.exit('npm was started')\n")
    done = build(VEZA_SKIP_WEB="1")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next((project / "dist").glob("*.whl"))) as wheel:
        assert not [name for name in wheel.namelist() if "vendor" in name]


def test_real_npm_delivers_what_the_lock_names(project: Path, build: Build) -> None:
    """`npm ci` accepts a lock without addresses: it asks its registry for them and checks the hash."""
    if not shutil.which("npm"):
        pytest.skip("no npm")
    done = build(path=os.environ["PATH"])
    assert done.returncode == 0, done.stderr
    version = json.loads((WEB / "package.json").read_text())["dependencies"]["hls.js"]
    assert f'"{version}"' in vendored(project)["hls.min.mjs"]
    assert "Apache License" in vendored(project)["LICENSE"]
    assert leftovers(project) == set()
