"""The body of a request, read with a deadline and a bound.

Owns: how long a sender may be silent, and what becomes of a body that is refused before its end.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import wraps
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from media_server.endpoints.problem import response_to
from media_server.errors import BadRequest, LimitExceeded, MediaError, ServiceError

IDLE_S: Final = 30.0
"""How long a sender may go without a byte."""

LINGER_S: Final = 2.0
LINGER_BYTES: Final = 4_194_304
"""What is still taken of a refused body: a connection closed on unread bytes is reset, the answer lost."""

_LENGTH = re.compile(r"[0-9]{1,18}")


class Body:
    """The body of one request; read it once."""

    def __init__(self, request: Request, idle_s: float = IDLE_S) -> None:
        self._request = request
        self._idle_s = idle_s
        self._ended = False

    @property
    def length_bytes(self) -> int | None:
        """As Content-Length says it; None where it does not."""
        found = _LENGTH.fullmatch(self._request.headers.get("content-length", ""))
        return int(found[0]) if found else None

    async def pieces(self) -> AsyncIterator[bytes]:
        """The bytes as they come, never an empty piece.

        Raises:
            ClientDisconnect: the sender has left.
            BadRequest: `upload_stalled`, nothing came for too long.
        """
        while not self._ended:
            try:
                async with asyncio.timeout(self._idle_s):
                    message = await self._request.receive()
            except TimeoutError:
                raise BadRequest("upload_stalled", f"nothing came for {self._idle_s:g} s") from None
            if message["type"] == "http.disconnect":
                self._ended = True
                raise ClientDisconnect
            self._ended = not message.get("more_body", False)
            if piece := message.get("body", b""):
                yield piece

    async def whole(self, max_bytes: int) -> bytes:
        """All of it.

        Raises:
            ClientDisconnect, BadRequest: as `pieces`.
            LimitExceeded: `too_large`.
        """
        if (self.length_bytes or 0) > max_bytes:
            raise _too_large(max_bytes)
        read = bytearray()
        async for piece in self.pieces():
            read += piece
            if len(read) > max_bytes:
                raise _too_large(max_bytes)
        return bytes(read)

    async def refuse(self, error: Exception) -> Response:
        """The answer that tells `error`. What does not end soon is not read: the connection is closed."""
        if not self._ended and "expect" not in self._request.headers:
            # one that waits for `100 Continue` would only now begin to send
            await self._linger()
        response = response_to(error, self._request.scope)
        if not self._ended:
            response.headers["Connection"] = "close"
        return response

    async def _linger(self) -> None:
        read_bytes = 0
        with suppress(TimeoutError, BadRequest):
            async with asyncio.timeout(LINGER_S):
                async for piece in self.pieces():
                    read_bytes += len(piece)
                    if read_bytes > LINGER_BYTES:
                        return


def _too_large(max_bytes: int) -> LimitExceeded:
    return LimitExceeded(
        "too_large", f"the body has more than {max_bytes} bytes", {"body_bytes": float(max_bytes)}
    )


def takes_body(
    handler: Callable[[Request, Body], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """A handler that reads the body, as one that may also refuse in the middle of it."""

    @wraps(handler)
    async def taking(request: Request) -> Response:
        body = Body(request)
        try:
            return await handler(request, body)
        except (ServiceError, MediaError) as error:
            return await body.refuse(error)

    return taking
