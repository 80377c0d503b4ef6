"""The player page and its files.

Owns: which files the outside may have, and their types. They are few and small: each is read once and read
again only when it has changed on disk.
"""

from __future__ import annotations

import asyncio
import re
import stat
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from media_server.endpoints.answer import JSON, json_answer
from media_server.endpoints.conditional import Representation, respond, tag_of
from media_server.endpoints.internal import is_local
from media_server.endpoints.operation import Answer, Caller, Handler, Operation
from media_server.endpoints.services import services_of
from media_server.errors import NotFound

ROOT: Final = Path(__file__).resolve().parent.parent / "web"
HTML: Final = "text/html; charset=utf-8"
# by hand: what Python's mimetypes say depends on the machine
TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
}
COMPRESSED_ALREADY: Final = frozenset({".png", ".woff2"})
REVALIDATED: Final = "no-cache"
"""A deploy is seen at the next load; what has not changed costs one 304."""

SERVICE: Final = "stream-server"

_PATH = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9._-]*/){0,3}[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageConfig:
    """What the page must know before it shows anything; `upload` says whether this visitor may."""

    development: bool
    upload: bool
    version: str
    max_source_bytes: int


async def index(request: Request) -> Response:
    """GET / where the page is served"""
    return respond(request, await asyncio.to_thread(_read, ROOT / "index.html", HTML))


async def root(request: Request) -> Response:
    """GET / where it is not"""
    return json_answer({"service": SERVICE, "version": services_of(request).version})


async def static(request: Request) -> Response:
    """GET /web/{path}"""
    path = request.path_params["path"]
    suffix = Path(path).suffix
    if not _PATH.fullmatch(path) or suffix not in TYPES:
        raise _not_found()
    return respond(request, await asyncio.to_thread(_read, ROOT / path, TYPES[suffix]))


async def favicon(request: Request) -> Response:
    """GET /favicon.ico"""
    return respond(request, await asyncio.to_thread(_read, ROOT / "favicon.svg", TYPES[".svg"]))


async def config(request: Request) -> Response:
    """GET /web/config.json"""
    services = services_of(request)
    settings = services.settings
    return json_answer(
        PageConfig(
            development=settings.development,
            upload=settings.development and is_local(request),
            version=services.version,
            max_source_bytes=settings.max_source_bytes,
        )
    )


def _not_found() -> NotFound:
    return NotFound("not_found", "there is no such file")


def _read(path: Path, media_type: str) -> Representation:
    """The file as it is now.

    Raises:
        NotFound: `not_found`, it is no file below ROOT.
    """
    try:
        real = path.resolve(strict=True)
        about = real.stat()
    except OSError:
        raise _not_found() from None
    if not real.is_relative_to(ROOT) or not stat.S_ISREG(about.st_mode):
        raise _not_found()
    return _loaded(real, media_type, (about.st_mtime_ns, about.st_size))


@lru_cache(maxsize=128)
def _loaded(path: Path, media_type: str, _state: tuple[int, int]) -> Representation:
    """Read once for each state, its time of change and size, that the file was seen in."""
    body = path.read_bytes()
    return Representation(
        body=body,
        media_type=media_type,
        tag=tag_of(body),
        cache_control=REVALIDATED,
        compressible=path.suffix not in COMPRESSED_ALREADY,
    )


def _file(path: str, handler: Handler, summary: str, media_type: str) -> Operation:
    return Operation(
        path=path,
        handler=handler,
        summary=summary,
        caller=Caller.OPEN,
        answers=(Answer(about="The file", media_type=media_type),),
        problems=(404,),
    )


PAGE: Final = (
    _file("/", index, "The player page", "text/html"),
    _file("/favicon.ico", favicon, "The page's icon", "image/svg+xml"),
    Operation(
        path="/web/config.json",
        handler=config,
        summary="What the page must know",
        caller=Caller.OPEN,
        answers=(Answer(about="The configuration", media_type=JSON, body=PageConfig),),
    ),
    _file("/web/{path:path}", static, "The page's files", "*/*"),
)
NO_PAGE: Final = (
    Operation(
        path="/",
        handler=root,
        summary="What answers here",
        caller=Caller.OPEN,
        answers=(Answer(about="Its name and version", media_type=JSON),),
    ),
)
