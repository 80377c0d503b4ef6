"""`media-server schemas`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
import typer

from media_server.cli.terminal import out, stop


def schemas(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where the files go; what has the same name is replaced.")
    ],
) -> None:
    """Write the JSON Schemas of the events and of the callback, a file each."""
    from media_server.jobs import messages

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, schema in messages.schemas().items():
            text = orjson.dumps(schema, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
            (folder / f"{name}.json").write_bytes(text + b"\n")
    except OSError as error:
        stop(f"{folder}: {error.strerror}", code=1)
    out.print(f"{folder}: {len(messages.schemas())} schemas")
