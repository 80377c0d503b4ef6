"""`media-server config`: the effective settings and where each came from."""

from __future__ import annotations

import os
from pathlib import Path

from dotenv import dotenv_values
from pydantic import SecretStr
from rich.table import Table

from media_server.cli.terminal import out, settings_or_stop
from media_server.settings import Settings, env_files


def config() -> None:
    """Show every setting with its value and its origin. Secrets are masked."""
    settings = settings_or_stop()
    table = Table("setting", "value", "from", box=None, pad_edge=False)
    table.columns[1].overflow = "fold"  # a value that is cut off is not shown
    for name in Settings.model_fields:
        table.add_row(name.upper(), shown(getattr(settings, name)), origin(name.upper(), settings.app_env))
    out.print(table)


def shown(value: object) -> str:
    """A value as the environment would spell it; a secret as eight stars."""
    if value is None:
        return "-"
    if isinstance(value, SecretStr):
        return "********"
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value) or "-"
    return str(value).lower() if isinstance(value, bool) else str(value)


def origin(name: str, app_env: str, folder: Path | None = None) -> str:
    """`environment`, the .env file's name, or `default`."""
    if os.environ.get(name):
        return "environment"
    for path in reversed(env_files(app_env, folder or Path.cwd())):
        if path.is_file() and dotenv_values(path).get(name):
            return path.name
    return "default"
