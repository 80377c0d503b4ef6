"""What lies beside the code keeps to it: the documented settings, the lock files, what may be committed."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from tomllib import loads

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from media_server.settings import Settings

ROOT = Path(__file__).resolve().parent.parent

SETTING_LINE = re.compile(r"# ([A-Z][A-Z0-9_]*)=(.*)")
PATH_OF_A_MACHINE = re.compile(r"(?<![\w.~$}/-])/(?:work|home|root|Users)/[\w.-]+")
REGISTRY_ADDRESS = re.compile(
    r"pypi\.org|pythonhosted\.org|registry\.npmjs|registry\.yarnpkg|deb\.debian\.org|debian\.org/debian"
    r"|https?://[^\s\"']*/simple\b|^--(?:extra-)?index-url|^--find-links|\"resolved\":",
    re.MULTILINE,
)


def documented_settings(text: str) -> dict[str, str]:
    """Name to default of every `# NAME=default` line that follows a line of explanation."""
    lines = ["", *text.splitlines()]
    return {
        match[1]: match[2]
        for before, line in pairwise(lines)
        if (match := SETTING_LINE.fullmatch(line)) and re.match(r"# [A-Za-z*{0-9]", before)
    }


def lock_problems(requirements: Iterable[str], lock: str) -> list[str]:
    """Declared requirements that a lock does not hold, or holds in a version that does not satisfy them."""
    pinned: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", lock, re.MULTILINE):
        pinned.setdefault(canonicalize_name(name), []).append(version)
    return [
        f"{requirement}: locked {pinned.get(canonicalize_name(requirement.name))}"
        for requirement in map(Requirement, requirements)
        if not any(map(requirement.specifier.contains, pinned.get(canonicalize_name(requirement.name), [])))
    ]


def addresses(text: str, root: Path = ROOT) -> list[str]:
    """Paths of one machine and addresses of package registries in a text."""
    here = [str(root)] if str(root) in text else []
    return here + [
        match[0] for pattern in (PATH_OF_A_MACHINE, REGISTRY_ADDRESS) for match in pattern.finditer(text)
    ]


def test_every_setting_is_documented_with_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    documented = documented_settings((ROOT / "config" / "media-server.env").read_text())
    assert sorted(documented) == sorted(name.upper() for name in Settings.model_fields)
    unset = {name.upper() for name, field in Settings.model_fields.items() if field.default in (None, ())}
    assert {name for name, default in documented.items() if not default} == unset

    for name in documented:
        monkeypatch.delenv(name, raising=False)
    defaults = Settings()
    for name, default in documented.items():
        monkeypatch.setenv(name, default)
    assert Settings() == defaults


def test_a_setting_counts_as_documented_only_below_its_explanation() -> None:
    text = "# The port.\n# PORT=8082\n\n# HOST=127.0.0.1\n# LIST=\nSET=1\n"
    assert documented_settings(text) == {"PORT": "8082", "LIST": ""}


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_the_locks_hold_what_the_project_declares(lock: str) -> None:
    project = loads((ROOT / "pyproject.toml").read_text())
    groups: Mapping[str, list[object]] = project["dependency-groups"]
    declared = list(project["project"]["dependencies"])
    if lock == "requirements-dev.lock":
        declared += [line for line in [*groups["dev"], *groups["build"]] if isinstance(line, str)]
    assert lock_problems(declared, (ROOT / lock).read_text()) == []


def test_a_stale_lock_is_found() -> None:
    lock = "av==18.1.0 \\\n    --hash=sha256:00\nnumpy==2.4.6 ; sys_platform == 'linux' \\\n"
    assert lock_problems(["av>=18.1,<20", "numpy>=2.2"], lock) == []
    assert lock_problems(["av>=19"], lock) == ["av>=19: locked ['18.1.0']"]
    assert lock_problems(["rich>=14"], lock) == ["rich>=14: locked None"]


def test_what_is_committed_names_no_machine_and_no_registry() -> None:
    """A clone elsewhere, or an index of one's own, must find nothing that points back here."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    found = {}
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file() and (hits := addresses(path.read_text(errors="replace"))):
            found[name] = hits
    assert found == {}


@pytest.mark.parametrize(
    "text",
    [
        "cd " + "/".join(["", "work", "main"]),
        "open('" + "/".join(["", "home", "ann", "music"]) + "')",
        "see " + str(ROOT),
        "index = https://files.python" + "hosted.org/packages",
        "url = http://mirror.example/" + "simple/",
        "--extra-" + "index-url there",
        '"resolved"' + ': "there"',
    ],
)
def test_an_address_of_a_machine_or_a_registry_is_found(text: str) -> None:
    if text.startswith("--"):
        text = f"av==18\n{text}"
    assert addresses(text) != []


def test_urls_and_relative_paths_are_no_addresses_of_a_machine() -> None:
    text = "GET /hls/x/ https://example.org/home/page ../shared/work/x $HOME/work/x simple/ /app/work/x"
    assert addresses(text) == []
