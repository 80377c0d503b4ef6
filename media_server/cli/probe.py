"""`media-server probe FILE`: what a file is, by its content."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import orjson
import typer

from media_server.cli.terminal import out, stop
from pipeline.errors import MediaError
from pipeline.probe import probe as probe_file


def probe(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An audio file.", exists=True, dir_okay=False)],
) -> None:
    """Say what FILE is as JSON: container, codec, rate, channels, tags. Nothing is decoded."""
    try:
        info = probe_file(file)
    except MediaError as error:
        stop(f"{error.message} ({error.code})", code=1)
    out.print_json(orjson.dumps(asdict(info)).decode())
