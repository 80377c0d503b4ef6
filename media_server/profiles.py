"""Ladders by name: the built-in profiles, and what an operator makes of them.

Owns: `profiles.toml`, its form and the words for one that is wrong. `config/profiles.toml` shows the built-in
profiles; a file of that name in CONFIG_DIR overrides them one by one and may add others.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from pipeline.errors import Unsupported
from pipeline.ladder import DEFAULT_LADDER, LOSSLESS, ladder_for

FILE = "profiles.toml"
DEFAULT = "default"
"""The profile of a job that names neither a profile nor a ladder."""

NAME_PATTERN = "^[a-z0-9][a-z0-9-]{0,31}$"

Profiles = Mapping[str, tuple[str, ...]]
"""Rendition names by the profile's name."""

BUILT_IN: Profiles = {
    DEFAULT: DEFAULT_LADDER,
    LOSSLESS: (*DEFAULT_LADDER, LOSSLESS),
    "mobile": ("64k", "96k", "128k", "opus-64"),
}


def load_profiles(config_dir: Path | None) -> Profiles:
    """The built-in profiles, with those of `config_dir` over them.

    Raises:
        ValueError: the folder or its file cannot be used; one sentence that names CONFIG_DIR.
    """
    if config_dir is None:
        return BUILT_IN
    if not config_dir.is_dir():
        raise ValueError(f"CONFIG_DIR is {config_dir}, which is no folder")
    try:
        text = (config_dir / FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return BUILT_IN  # the folder is there for something else
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{FILE} in CONFIG_DIR cannot be read: {type(error).__name__}") from None
    try:
        return {**BUILT_IN, **read_profiles(text)}
    except ValueError as error:
        raise ValueError(f"{FILE} in CONFIG_DIR: {error}") from None


def read_profiles(text: str) -> Profiles:
    """Profiles from TOML: a table for each, with the names of its renditions as `ladder`.

    Raises:
        ValueError: not TOML, or a profile that is none.
    """
    return {name: _ladder(name, table) for name, table in tomllib.loads(text).items()}


def _ladder(name: str, table: object) -> tuple[str, ...]:
    if not re.fullmatch(NAME_PATTERN, name):
        raise ValueError(f"profile {name!r}: a name has 1 to 32 of a-z, 0-9 and -, and no - at its start")
    if not isinstance(table, dict) or set(table) != {"ladder"}:
        raise ValueError(f"profile {name}: needs a table with ladder and nothing else")
    ladder = table["ladder"]
    if not isinstance(ladder, list) or not all(isinstance(rung, str) for rung in ladder):
        raise ValueError(f"profile {name}: ladder must be a list of rendition names")
    try:
        ladder_for(2, tuple(ladder))
    except Unsupported as error:
        raise ValueError(f"profile {name}: {error.message}") from None
    return tuple(ladder)
