"""Profiles are ladders by name; a wrong file is told in one sentence before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from media_server.profiles import BUILT_IN, load_profiles, read_profiles
from media_server.settings import Settings
from pipeline.ladder import DEFAULT_LADDER, RUNGS

SHOWN = Path(__file__).parents[2] / "config" / "profiles.toml"


def test_the_default_profile_is_the_default_ladder() -> None:
    assert BUILT_IN["default"] == DEFAULT_LADDER == ("128k", "192k", "320k", "opus-128")
    assert {rung for ladder in BUILT_IN.values() for rung in ladder} <= set(RUNGS)
    assert BUILT_IN["lossless"][-1] == "lossless"


def test_the_file_in_config_shows_the_built_in_profiles() -> None:
    """What an operator copies from there is what runs without it."""
    assert read_profiles(SHOWN.read_text()) == dict(BUILT_IN)


def test_a_folder_overrides_profiles_one_by_one_and_adds_others(tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").write_text('[mobile]\nladder = ["96k"]\n[studio]\nladder = ["lossless"]\n')
    profiles = Settings(_env_file=None, config_dir=tmp_path).profiles
    assert profiles["mobile"] == ("96k",)
    assert profiles["studio"] == ("lossless",)
    assert profiles["default"] == DEFAULT_LADDER


def test_without_a_file_the_built_in_profiles_hold(tmp_path: Path) -> None:
    assert load_profiles(None) == load_profiles(tmp_path) == BUILT_IN


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[default", "CONFIG_DIR: Expected"),
        ('[default]\nladder = ["999k"]', r"profile default: ladder names \['999k'\], known are 64k, 96k"),
        ("[default]\nladder = []", "profile default: ladder names nothing"),
        ("[default]\nladder = [128]", "profile default: ladder must be a list of rendition names"),
        ('[default]\nladder = "128k"', "profile default: ladder must be a list"),
        (
            '[default]\nladder = ["128k"]\nbitrate = 1',
            "profile default: needs a table with ladder and nothing else",
        ),
        ('ladder = ["128k"]', "profile ladder: needs a table"),
        ('["-x"]\nladder = ["128k"]', "profile '-x': a name has 1 to 32 of a-z"),
        ("\udc80", "CONFIG_DIR cannot be read: UnicodeDecodeError"),
    ],
)
def test_a_wrong_file_stops_the_start_with_one_sentence(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "profiles.toml").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ValidationError, match=why) as refused:
        Settings(_env_file=None, config_dir=tmp_path)
    (problem,) = refused.value.errors()
    assert "\n" not in problem["msg"]


def test_a_folder_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"CONFIG_DIR is .*nowhere, which is no folder"):
        Settings(_env_file=None, config_dir=tmp_path / "nowhere")
