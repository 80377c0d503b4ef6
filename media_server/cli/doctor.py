"""`media-server doctor`."""

from __future__ import annotations

import asyncio

from rich.table import Table

from media_server.cli.terminal import out, settings_or_stop, stop
from media_server.doctor import Finding, examine
from media_server.settings import Settings


def doctor() -> None:
    """Check that storage, state, queue, cage and companion API can be reached, written, read back and called.

    Ends with status 1 if something cannot. Nothing is left behind, and no callback is sent.
    """
    findings = asyncio.run(_findings(settings_or_stop()))
    table = Table("part", "", "what was met", "ms", box=None, pad_edge=False)
    for found in findings:
        table.add_row(
            found.name,
            "[green]well[/]" if found.well else "[red]ill[/]",
            found.detail,
            f"{found.took_s * 1000:.0f}",
        )
    out.print(table)
    if ill := [found.name for found in findings if not found.well]:
        stop(f"not well: {', '.join(ill)}", code=1)


async def _findings(settings: Settings) -> list[Finding]:
    return [found async for found in examine(settings)]
