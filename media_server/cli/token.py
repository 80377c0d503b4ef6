"""`media-server token`: a playback token, for operators and tests."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from media_server.auth.tokens import mint
from media_server.cli.terminal import out, settings_or_stop, stop


def token(
    subject: Annotated[str, typer.Option(help="Whom it names: a user id.")] = "operator",
    role: Annotated[list[str] | None, typer.Option(help="A role; repeat for several.")] = None,
    track: Annotated[str | None, typer.Option(help="Narrow it to this track id.")] = None,
    lifetime_s: Annotated[int, typer.Option(help="Seconds until it expires.")] = 3600,
) -> None:
    """Print a token signed with JWT_SECRET."""
    settings = settings_or_stop()
    try:
        text = mint(
            settings,
            subject=subject,
            now=time.time(),
            roles=role or [],
            track_id=track,
            lifetime_s=lifetime_s,
        )
    except ValueError as error:
        stop(str(error))
    out.print(text, soft_wrap=True)
