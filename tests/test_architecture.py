"""The shape of the product: who may import whom, what stays pure, how files are named and how long they get.

Each rule is a function from source text to a list of problems; each is shown to find one before it is
trusted to find none.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path
from tomllib import loads

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("media_server", "pipeline", "hls", "webrtc")

LAYERS = (
    ("media_server.__main__",),
    ("media_server.cli",),
    ("media_server.lifecycle",),
    ("media_server.app", "media_server.first_run", "media_server.doctor"),
    ("media_server.endpoints",),
    ("media_server.demo", "media_server.websocket", "media_server.adapters"),
    ("media_server.jobs",),
    ("media_server.storage", "media_server.broker", "media_server.state", "media_server.auth"),
    ("media_server.jobs.job",),  # the value that the state port keeps; the rest of jobs/ stands above it
    ("media_server.jobs.options",),  # a part of that value
    ("media_server.log", "media_server.metrics", "media_server.database"),
    ("media_server.settings", "media_server.errors", "media_server.ids", "media_server.trace"),
    ("media_server.profiles",),
    ("media_server",),  # the package's own file; what lies in the package is named above
    ("webrtc", "hls"),
    ("pipeline",),
)
"""From top to bottom; imports go down, and siblings on one line do not know each other."""

LEVEL = {name: level for level, siblings in enumerate(LAYERS) for name in siblings}

PURE = {"pipeline": {"av", "numpy", "soundfile"}, "hls": {"pydantic"}}
"""Packages that neither wait, nor log, nor read settings or clocks, and the libraries each may use."""

IMPURE_MODULES = (
    *("asyncio", "logging", "selectors", "signal", "sched", "subprocess", "time"),
    *("ftplib", "http", "smtplib", "socket", "socketserver", "ssl", "urllib.request"),
    *("os.environ", "os.getenv", "random", "secrets", "sqlite3"),
)
IMPURE_ATTRIBUTES = (
    *("os.environ", "os.environb", "os.getenv", "os.putenv", "os.system"),
    *("datetime.now", "datetime.utcnow", "datetime.today", "date.today"),
)

GENERIC_NAMES = frozenset(
    "common core data helper helpers lib manager misc shared stuff tools util utils".split()  # noqa: SIM905
)
GENERIC_ENDINGS = ("Base", "Data", "Helper", "Manager", "Util", "Utils")
PORTS = ("media_server/storage", "media_server/broker", "media_server/state")
LONGEST_FILE_LINES = 300

LOADED_BY_NAME = {"httptools": "uvicorn's HTTP parser"}
"""Dependencies that no line imports, and who does."""

TESTED_ELSEWHERE = {
    "media_server.__main__": "two lines; every end-to-end test starts the server through them",
    "media_server.endpoints.access_log": "tests/media_server/endpoints/test_middleware.py reads its lines",
    "media_server.endpoints.request_context": "tests/media_server/endpoints/test_middleware.py sends the ids",
    "media_server.endpoints.security_headers": "tests/media_server/endpoints/test_middleware.py reads them",
    "media_server.errors": "tests/media_server/endpoints/test_problem.py holds what each class leads to",
    "pipeline.errors": "tests/media_server/endpoints/test_problem.py holds what each class leads to",
    "pipeline.stage": "a Protocol without code; mypy holds its implementations to it",
}
"""Modules without a test file of their own name: the test that holds them, or why none is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    importer: str
    imported: str
    line: int

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def product_sources() -> dict[str, str]:
    """Module name to source text, for every Python file of the product."""
    return {
        module_name(path.relative_to(ROOT)): path.read_text()
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if not {"node_modules", "vendor"} & set(path.parts)
    }


def module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(sources: Mapping[str, str]) -> list[Import]:
    """Every import anywhere in the sources; own modules by their name, others down to the imported name."""
    return [
        Import(importer=module, imported=imported, line=line)
        for module, source in sources.items()
        for imported, line in _imports_of(module, source, sources)
    ]


def _imports_of(module: str, source: str, known: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                origin = node.module or ""
                if node.level:  # the file of a package counts as one level more than its name shows
                    is_package = any(other.startswith(f"{module}.") for other in known)
                    parent = module.split(".")[: len(module.split(".")) - node.level + is_package]
                    origin = ".".join([*parent, origin] if origin else parent)
                name = f"{origin}.{alias.name}"
                own = origin.split(".")[0] in PACKAGES
                yield (origin if own and name not in known else name), node.lineno


def layer(module: str) -> str | None:
    """The most exact line of LAYERS that a module belongs to; None where it has no place."""
    parts = module.split(".")
    prefixes = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    placed = next((prefix for prefix in prefixes if prefix in LEVEL), None)
    return None if placed == "media_server" != module else placed


def layer_problems(found: Iterable[Import]) -> list[str]:
    """Imports that go up or sideways, and modules that no layer names."""
    problems = []
    for item in found:
        if item.imported.split(".")[0] not in PACKAGES:
            continue
        upper, lower = layer(item.importer), layer(item.imported)
        if upper is None or lower is None:
            problems.append(f"{item}: {item.importer if upper is None else item.imported} has no layer")
        elif upper != lower and LEVEL[lower] <= LEVEL[upper]:
            problems.append(f"{item}: {'sideways' if LEVEL[lower] == LEVEL[upper] else 'up'}")
    return problems


def cycles(found: Iterable[Import]) -> list[list[str]]:
    """Modules that import themselves through others, by taking away what imports nothing that is left."""
    graph: dict[str, set[str]] = {}
    for item in found:
        if item.imported.split(".")[0] in PACKAGES:
            graph.setdefault(item.importer, set()).add(item.imported)
    while leaves := [name for name, targets in graph.items() if not targets & graph.keys()]:
        for name in leaves:
            del graph[name]
    return [sorted(graph)] if graph else []


def purity_problems(sources: Mapping[str, str]) -> list[str]:
    """Imports and names by which a pure package would wait, log, or look at the machine or the clock."""
    pure = {name: text for name, text in sources.items() if name.split(".")[0] in PURE}
    problems = [
        str(item)
        for item in imports(pure)
        if any(f"{item.imported}.".startswith(f"{banned}.") for banned in IMPURE_MODULES)
    ]
    for item in imports(pure):
        top = item.imported.split(".")[0]
        if top not in {*sys.stdlib_module_names, *PACKAGES, *PURE[item.importer.split(".")[0]]}:
            problems.append(f"{item}: not a library of this package")
    for module, source in pure.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Attribute):
                dotted = ast.unparse(node)
                if any(f".{dotted}".endswith(f".{banned}") for banned in IMPURE_ATTRIBUTES):
                    problems.append(f"{module}:{node.lineno} uses {dotted}")
    return problems


def name_problems(path: str, source: str) -> list[str]:
    """Names that do not say what a file or a class owns."""
    stem, problems = Path(path).stem, []
    if stem in GENERIC_NAMES or (stem == "base" and Path(path).parent.as_posix() not in PORTS):
        problems.append(f"{path}: {stem} names nothing")
    return problems + [
        f"{path}:{node.lineno} {node.name} names nothing"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef) and node.name.endswith(GENERIC_ENDINGS)
    ]


def mirror_problems(modules: Iterable[str], tests: Iterable[str], elsewhere: Mapping[str, str]) -> list[str]:
    """Modules without a test file of their own place, and exceptions that are none (any more)."""
    present, problems = set(tests), []
    for module in modules:
        *folders, name = module.split(".")
        mirror = "/".join(["tests", *folders, f"test_{name.strip('_')}.py"])
        if module in elsewhere and mirror in present:
            problems.append(f"{module} has its own test, the exception is stale")
        elif module not in elsewhere and mirror not in present:
            problems.append(f"{module} has no {mirror}")
    for module, reason in elsewhere.items():
        if module not in modules:
            problems.append(f"{module} is excepted and does not exist")
        problems += [
            f"{module}: {path} does not exist"
            for path in re.findall(r"tests/\S+\.py", reason)
            if path not in present
        ]
    return problems


SOURCES = product_sources()


def test_every_module_is_found() -> None:
    assert {"pipeline.media", "media_server.settings", "hls"} <= SOURCES.keys()


def test_every_folder_with_modules_is_a_package() -> None:
    """Without its __init__.py a folder could be filled up from anywhere on the path."""
    folders = {path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_imports_go_down_and_never_sideways() -> None:
    assert layer_problems(imports(SOURCES)) == []


@pytest.mark.parametrize(
    ("importer", "line", "problem"),
    [
        ("media_server.jobs.runner", "from media_server.endpoints import hls", "up"),
        ("media_server.jobs.runner", "from media_server import app", "up"),
        ("media_server.storage.local", "import media_server.broker.local", "sideways"),
        ("media_server.state.local", "from media_server.jobs import runner", "up"),
        ("media_server.state.local", "def late():\n    from ..broker import local", "sideways"),
        ("pipeline.grid", "from hls.playlist import MediaPlaylist", "up"),
        ("hls.playlist", "import webrtc", "sideways"),
        ("media_server.oddment", "import pipeline", "no layer"),
    ],
)
def test_an_import_against_the_layers_is_found(importer: str, line: str, problem: str) -> None:
    known = dict.fromkeys(["media_server.app", "media_server.broker.local", "media_server.jobs.runner"], "")
    [found] = layer_problems(imports({**known, importer: line}))
    assert problem in found


def test_an_import_along_the_layers_is_none() -> None:
    line = "from media_server.jobs.job import Job\nfrom media_server.errors import Denied\nimport os"
    assert layer_problems(imports({"media_server.state.local": line})) == []


def test_no_module_imports_itself_through_others() -> None:
    assert cycles(imports(SOURCES)) == []


def test_a_cycle_is_found_also_inside_a_package() -> None:
    ring = {"hls.a": "import hls.b", "hls.b": "from hls import c", "hls.c": "from .a import x", "hls.d": ""}
    assert cycles(imports(ring)) == [["hls.a", "hls.b", "hls.c"]]
    assert cycles(imports({**ring, "hls.c": "from hls.d import x"})) == []


def test_pipeline_and_hls_are_pure() -> None:
    """They return; whoever calls them waits, records and decides."""
    assert purity_problems(SOURCES) == []


@pytest.mark.parametrize(
    "line",
    [
        "import asyncio",
        "import logging.handlers",
        "from urllib.request import urlopen",
        "from os import environ",
        "from time import monotonic",
        "import starlette",
        "import os\nhome = os.environ['HOME']",
        "import os\nhome = os.getenv('HOME')",
        "import datetime\nnow = datetime.datetime.now()",
        "from datetime import date\nnow = date.today()",
    ],
)
def test_an_impurity_is_found(line: str) -> None:
    assert purity_problems({"pipeline.grid": line}) != []
    assert purity_problems({"media_server.app": line}) == []


def test_pure_code_may_parse_urls_and_times() -> None:
    lines = "import os\nfrom urllib.parse import urlsplit\nfrom datetime import datetime\nimport numpy\n"
    assert purity_problems({"pipeline.grid": f"{lines}datetime.fromisoformat('2024-01-01')"}) == []
    assert purity_problems({"hls.boxes": "import numpy"}) != []


def test_every_import_is_a_declared_dependency_and_every_dependency_is_imported() -> None:
    project = loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    owners = packages_distributions()
    used = {
        top: {canonicalize_name(owner) for owner in owners.get(top, [top])}
        for item in imports(SOURCES)
        if (top := item.imported.split(".")[0]) not in {*sys.stdlib_module_names, *PACKAGES}
    }
    assert [top for top, distributions in used.items() if not distributions & declared] == []
    assert sorted(declared - set().union(*used.values())) == sorted(LOADED_BY_NAME)


def test_every_module_says_what_it_owns() -> None:
    assert [name for name, source in SOURCES.items() if not ast.get_docstring(ast.parse(source))] == []


def test_no_file_is_long() -> None:
    lengths = {name: len(source.splitlines()) for name, source in SOURCES.items()}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE_LINES} == {}


def test_names_say_what_they_own() -> None:
    assert [
        problem
        for module, source in SOURCES.items()
        for problem in name_problems(f"{module.replace('.', '/')}.py", source)
    ] == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("hls/utils.py", ""),
        ("pipeline/base.py", ""),
        ("media_server/jobs/queue.py", "class JobManager:\n    pass"),
    ],
)
def test_a_name_that_says_nothing_is_found(path: str, source: str) -> None:
    assert len(name_problems(path, source)) == 1
    assert name_problems("media_server/storage/base.py", "class Storage:\n    pass") == []


def test_every_module_has_its_mirrored_test() -> None:
    modules = [name for name, source in SOURCES.items() if _has_code(source)]
    tests = [path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")]
    assert mirror_problems(modules, tests, TESTED_ELSEWHERE) == []


def _has_code(source: str) -> bool:
    """Whether there is more than a docstring, imports and lists of names."""
    body = ast.parse(source).body
    return any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in body)


def test_a_module_without_its_test_is_found() -> None:
    modules, tests = ["hls.boxes", "hls.cmaf"], ["tests/hls/test_boxes.py"]
    assert mirror_problems(modules, tests, {}) == ["hls.cmaf has no tests/hls/test_cmaf.py"]
    assert mirror_problems(modules, tests, {"hls.cmaf": "held by tests/hls/test_boxes.py"}) == []
    assert len(mirror_problems(modules, tests, {"hls.cmaf": "held by tests/gone.py"})) == 1
    assert len(mirror_problems(modules[:1], tests, {"hls.boxes": "", "hls.gone": ""})) == 2
