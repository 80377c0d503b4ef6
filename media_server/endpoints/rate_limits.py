"""The limits that are always on: who asks too often is told when to come again.

Owns: who a request counts for, and the refusal. A token counts for its subject only if it holds: whoever
makes tokens up is a guest from where they come. `budgets` says what is counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from media_server.endpoints.budgets import (
    PERSONAL,
    SETTINGS,
    SHARED,
    Cost,
    Kind,
    Limit,
    budgets_of,
    costs_of_address,
    costs_of_caller,
    kind_of,
    network_of,
)
from media_server.endpoints.credentials import token_of
from media_server.endpoints.internal import is_local, require_internal
from media_server.endpoints.services import Services
from media_server.errors import Busy, Denied, Unauthenticated
from media_server.state.buckets import LocalBuckets

CODE: Final = "rate_limited"

SENTENCES: Final[Mapping[Limit, str]] = {
    Limit.TOKEN: "this user sends more than {count} requests a minute",
    Limit.GUEST: "this address sends more than {count} requests a minute without a valid token",
    Limit.WEBSOCKET: "more than {count} WebSockets a minute are opened from here",
    Limit.ADDRESS: "this address sends more than {count} requests a second",
    Limit.MEDIA: "this address fetches more than {count} playlists, segments and files a second",
    Limit.SERVER: "this server is asked more than {count} times a second",
}


class RateLimits:
    """Middleware: counts each request, also for a WebSocket, and refuses the one that is too many.

    It stands inside `Problems`, which answers for it.

    Args:
        here: the buckets of this server, for what is not shared.
    """

    def __init__(self, app: ASGIApp, services: Services, here: LocalBuckets | None = None) -> None:
        self._app = app
        self._services = services
        self._here = LocalBuckets() if here is None else here
        self._budgets = budgets_of(services.settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._budgets and scope["type"] in {"http", "websocket"}:
            await self._count(scope)
        await self._app(scope, receive, send)

    async def _count(self, scope: Scope) -> None:
        """Return if the request may go on.

        Raises:
            Busy: `rate_limited`.
        """
        kind = kind_of(scope["type"], scope.get("method", "GET"), scope["path"])
        address = network_of(scope["client"][0] if scope.get("client") else None)
        trusted = kind is Kind.INTERNAL and _is_trusted(Request(scope))
        for cost in costs_of_address(kind, address, trusted=trusted):
            await self._spend(cost)
        subject = None if trusted or kind not in PERSONAL else self._subject_of(HTTPConnection(scope))
        for cost in costs_of_caller(kind, address, subject, trusted=trusted):
            await self._spend(cost)

    async def _spend(self, cost: Cost) -> None:
        limit, who = cost
        budget = self._budgets.get(limit)
        if budget is None:
            return
        buckets = self._services.buckets if limit in SHARED else self._here
        wait_s = await buckets.take(f"{limit} {who}", budget)
        if wait_s:
            self._services.metrics.rate_limited(limit)
            count = getattr(self._services.settings, SETTINGS[limit].lower())
            raise Busy(
                CODE,
                SENTENCES[limit].format(count=count),
                limits={SETTINGS[limit]: float(count)},
                retry_after_s=wait_s,
            )

    def _subject_of(self, connection: HTTPConnection) -> str | None:
        """Whose token came with the request; None for one that does not hold, too."""
        verifier = self._services.verifier
        try:
            token = token_of(connection, self._services.settings)
            return verifier.verify(token).subject if verifier is not None and token is not None else None
        except Unauthenticated:
            # whether a token is needed at all is for the route to say
            return None


def _is_trusted(request: Request) -> bool:
    """A server with the key, or in development whoever sits at this machine."""
    if request.url.path.startswith("/dev/"):
        return is_local(request)
    try:
        require_internal(request)
    except (Denied, Unauthenticated):
        return False
    return True
