"""`media-server verify TRACK...`: are the stored bytes the ones that were made?"""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from media_server import adapters
from media_server.cli.terminal import err, out, settings_or_stop, stop
from media_server.errors import ServiceError
from media_server.ids import is_canonical_uuid
from media_server.settings import Settings
from media_server.storage.verification import verify as verified


def verify(
    track_ids: Annotated[list[str], typer.Argument(metavar="TRACK...", help="Ids of published tracks.")],
) -> None:
    """Read every stored file of each TRACK and hold it to the size and SHA-256 in its manifest.

    Of one that is still being made, what is there so far.

    Ends with status 1 if a file is missing or is not what was made.
    """
    settings = settings_or_stop()
    for track_id in track_ids:
        if not is_canonical_uuid(track_id):
            stop(f"{track_id!r} is no track id: a lower-case UUID is")
    ill = [track_id for track_id in track_ids if not asyncio.run(_is_well(settings, track_id))]
    if ill:
        stop(f"not as they were made: {', '.join(ill)}", code=1)


async def _is_well(settings: Settings, track_id: str) -> bool:
    files = read_bytes = flaws = 0
    try:
        async with adapters.opened_storage(settings) as storage:
            async for file in verified(storage, track_id):
                files, read_bytes = files + 1, read_bytes + file.bytes
                if file.flaw:
                    flaws += 1
                    out.print(f"{file.key}: {file.flaw}: {file.detail}", soft_wrap=True, markup=False)
    except ServiceError as error:
        err.print(f"{track_id}: {error.message} ({error.code})", soft_wrap=True, markup=False)
        return False
    except ValueError:
        err.print(f"{track_id}: its asset.json cannot be read", soft_wrap=True, markup=False)
        return False
    out.print(f"{track_id}: {files} files, {read_bytes} bytes, {flaws} flaws", soft_wrap=True, markup=False)
    return not flaws
