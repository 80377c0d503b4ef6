"""What every test may ask for: where the material of others lies, and what a skipped test means.

The corpus and the clients stand beside the repository, not in it. Where they are absent the tests that need
them skip themselves; with REQUIRE_ALL_TESTS=1 a skipped test fails, so that no check passes by not running.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

import hypothesis
import pytest

# how long an example takes says something of the machine and nothing of the code
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")

ROOT = Path(__file__).resolve().parent.parent

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def all_tests_are_required() -> bool:
    return os.environ.get("REQUIRE_ALL_TESTS") == "1"


def _folder(setting: str, beside: str) -> Path:
    """The folder a variable names, by default one beside the repository; skips where it is absent."""
    path = Path(os.environ.get(setting) or ROOT.parent / beside).resolve()
    if not path.is_dir():
        pytest.skip(f"{setting}: no folder {path}")
    return path


@pytest.fixture(scope="session")
def clients_dir() -> Path:
    """Programs that others wrote to judge a presentation: hlscheck.py, plstrict.mjs, cli_clients.sh, web/."""
    return _folder("MEDIA_CLIENTS_DIR", "shared/clients")


@pytest.fixture(scope="session")
def corpus_dir() -> Path:
    """Audio files that others made, listed with what they decode to in manifest.tsv."""
    return _folder("MEDIA_CORPUS_DIR", "shared/corpus")


@pytest.fixture(scope="session")
def node_modules_dir() -> Path:
    """The npm modules that tests/e2e/clients/install.sh brings."""
    path = ROOT / ".lab" / "node_modules"
    if not path.is_dir():
        pytest.skip("no npm modules: tests/e2e/clients/install.sh brings them")
    return path


def _fail_if_skipped(report: Report) -> Report:
    """Turn a skip into a failure where all tests are required; an expected failure is not a skip."""
    if report.outcome == "skipped" and not hasattr(report, "wasxfail") and all_tests_are_required():
        where_and_why = report.longrepr
        reason = where_and_why[2] if isinstance(where_and_why, tuple) else str(where_and_why)
        report.outcome = "failed"
        report.longrepr = f"REQUIRE_ALL_TESTS=1: {report.nodeid} was skipped: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _fail_if_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _fail_if_skipped((yield))
