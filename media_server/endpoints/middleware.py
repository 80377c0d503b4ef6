"""What every request passes, from the outside in.

Owns: the order. All of it is plain ASGI, and all but the proxies' layer hand the same scope on, because the
access log reads from it which route was taken.
"""

from __future__ import annotations

from starlette.middleware import Middleware

from media_server.endpoints.access_log import AccessLog
from media_server.endpoints.cors import Cors, Origins
from media_server.endpoints.problem import Problems
from media_server.endpoints.proxies import TrustedProxies
from media_server.endpoints.request_context import RequestContext
from media_server.endpoints.security_headers import SecurityHeaders
from media_server.metrics import Metrics
from media_server.settings import Settings


def edge(settings: Settings, metrics: Metrics, *inner: Middleware) -> list[Middleware]:
    """The layers for `Starlette(middleware=...)`; the errors of what comes after them are answered too.

    `inner` are layers that refuse: what they raise is answered, logged and readable as any error.
    """
    return [
        Middleware(TrustedProxies, networks=settings.trusted_proxies),
        Middleware(RequestContext),
        Middleware(AccessLog, metrics=metrics),
        Middleware(SecurityHeaders),
        Middleware(Cors, origins=Origins.of(settings.allowed_origins)),
        Middleware(Problems),
        *inner,
    ]
