"""Shows each source to an antivirus scanner before anything here opens it.

Owns: clamd's INSTREAM, a command, chunks of a length and as many bytes, an empty chunk, one answer; clamd(8).
Plain sockets, not streams: clamd answers and closes while it is still sent to, and a stream that breaks on
writing forgets what it has read.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO, Final

import structlog

from media_server.errors import Denied, LimitExceeded, Unavailable
from media_server.settings import Settings

CHUNK_BYTES: Final = 1 << 17
MAX_ANSWER_BYTES: Final = 1024
MAX_NAME_CHARACTERS: Final = 100
CONNECT_S: Final = 2.0
PING_S: Final = 5.0
SCAN_S: Final = 150.0
"""clamd gives up a file after 120 s (MaxScanTime, its default)."""

SEND_BYTES_PER_S: Final = 4 << 20
"""A scanner that takes its stream slower than this counts as down."""

NOT_SCANNED: Final = "not_scanned"
"""The warning of a track whose source nobody looked at."""

_OVER_ITS_LIMITS: Final = "Heuristics.Limits.Exceeded"
"""What clamd calls a file that it did not look through (AlertExceedsMax)."""

log = structlog.get_logger()


async def screen(source: Path, size_bytes: int, settings: Settings) -> tuple[str, ...]:
    """Have the source scanned as the settings ask for; returns the warnings of that.

    Raises:
        Denied: `infected`.
        LimitExceeded: `too_large_to_scan`, where CLAMAV_REQUIRED.
        Unavailable: `antivirus`, the scanner is out of reach, where CLAMAV_REQUIRED.
    """
    if settings.clamav_address is None:
        return ()
    try:
        await scan(source, size_bytes, settings.clamav_address)
    except (Unavailable, LimitExceeded) as error:
        if settings.clamav_required:
            raise
        log.warning("source.not_scanned", code=error.code, reason=error.message)
        return (NOT_SCANNED,)
    return ()


async def scan(source: Path, size_bytes: int, address: str) -> None:
    """Return if the scanner finds nothing in the file.

    Args:
        address: `host:port`, or the absolute path of a Unix socket.
    Raises:
        Denied: `infected`.
        LimitExceeded: `too_large_to_scan`.
        Unavailable: `antivirus`, out of reach, too slow, or its answer is none.
    """
    with await asyncio.to_thread(source.open, "rb") as file:
        async with _connected(address, SCAN_S + size_bytes / SEND_BYTES_PER_S) as connection:
            # who breaks off while it is sent to has heard enough, and its answer says of what
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                await _send(connection, file)
            answer = await _answer(connection)
    judge(answer)


async def ping(address: str) -> None:
    """Return if the scanner is there.

    Raises:
        Unavailable: `antivirus`.
    """
    async with _connected(address, PING_S) as connection:
        await asyncio.get_running_loop().sock_sendall(connection, b"zPING\0")
        if await _answer(connection) != "PONG":
            raise _unavailable("something else than clamd answers")


def judge(answer: str) -> None:
    """Return if an answer to INSTREAM says that nothing was found.

    Raises:
        Denied, LimitExceeded, Unavailable: as `scan`.
    """
    if answer == "stream: OK":
        return
    said, _, found = answer.removeprefix("stream: ").rpartition(" ")
    if found == "FOUND" and not said.startswith(_OVER_ITS_LIMITS):
        raise Denied("infected", f"the antivirus scanner found {_harmless(said)} in the source")
    if found == "FOUND" or said.startswith("INSTREAM size limit exceeded"):
        setting = said.rpartition(".")[2] if found == "FOUND" else "StreamMaxLength"
        raise LimitExceeded(
            "too_large_to_scan",
            f"the source is larger than the antivirus scanner looks through ({_harmless(setting)})",
        )
    raise _unavailable(f"it answers {_harmless(answer)}" if answer else "it hangs up without an answer")


async def _send(connection: socket.socket, file: BinaryIO) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, b"zINSTREAM\0")
    while piece := await asyncio.to_thread(file.read, CHUNK_BYTES):
        await loop.sock_sendall(connection, len(piece).to_bytes(4, "big") + piece)
    await loop.sock_sendall(connection, bytes(4))


async def _answer(connection: socket.socket) -> str:
    """What it says up to a NUL or its end."""
    loop = asyncio.get_running_loop()
    said = b""
    while b"\0" not in said and len(said) < MAX_ANSWER_BYTES:
        if not (more := await loop.sock_recv(connection, MAX_ANSWER_BYTES)):
            break
        said += more
    return said.partition(b"\0")[0].decode(errors="replace").strip()


@contextlib.asynccontextmanager
async def _connected(address: str, deadline_s: float) -> AsyncIterator[socket.socket]:
    """A connection for as long as the block lasts, `deadline_s` at most.

    Raises:
        Unavailable: `antivirus`, it cannot be reached, breaks off or takes too long.
    """
    try:
        async with asyncio.timeout(deadline_s):
            async with asyncio.timeout(CONNECT_S):
                connection = await _connect(address)
            with connection:
                yield connection
    except TimeoutError:
        raise _unavailable("it does not answer in time") from None
    except OSError as error:
        raise _unavailable(f"it cannot be reached: {error.strerror or type(error).__name__}") from error


async def _connect(address: str) -> socket.socket:
    loop = asyncio.get_running_loop()
    if address.startswith("/"):
        return await _opened(socket.AF_UNIX, address)
    host, _, port = address.rpartition(":")
    error = OSError("the name has no address")
    for family, _, _, _, where in await loop.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM):
        try:
            return await _opened(family, where)
        except OSError as met:
            error = met
    raise error


async def _opened(family: int, where: object) -> socket.socket:
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(connection, where)  # type: ignore[arg-type]
    except BaseException:
        connection.close()
        raise
    return connection


def _unavailable(why: str) -> Unavailable:
    return Unavailable("antivirus", f"the source cannot be scanned by CLAMAV_ADDRESS: {why}")


def _harmless(text: str) -> str:
    """What somebody else chose to say, fit for a message."""
    plain = (c if c.isascii() and (c.isalnum() or c in "._-/: ") else "_" for c in text)
    return "".join(plain)[:MAX_NAME_CHARACTERS]
