"""How a command speaks to the person in front of it: two consoles, and one way to stop with an error."""

from __future__ import annotations

from typing import NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from media_server.settings import Settings, load_settings

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def stop(message: str, code: int = 2) -> NoReturn:
    """Say one sentence on standard error and end."""
    err.print(f"[bold red]error[/]: {escape(message)}", soft_wrap=True)
    raise typer.Exit(code)


def settings_or_stop() -> Settings:
    """The settings of the environment, or one sentence for each that is wrong and exit code 2."""
    try:
        return load_settings()
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            name = "_".join(str(part) for part in problem["loc"]).upper()
            message = problem["msg"].removeprefix("Value error, ")
            sentence = escape(f"{name}: {message}" if name else message)
            err.print(f"[bold red]error[/]: {sentence}", soft_wrap=True)
        raise typer.Exit(2) from None
