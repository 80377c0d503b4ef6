"""Answers that a client may already have, or want a part of.

Owns: entity tags, the preconditions, one range, and gzip where it helps. All tags are strong.
Source: RFC 9110 8.8.3, 12.5.3 (Accept-Encoding), 13 (conditions), 14 (ranges).
"""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

GZIP_LEVEL: Final = 6

_RANGE = re.compile(r"(?i:bytes)=(?:([0-9]{1,19})-([0-9]{1,19})?|-([0-9]{1,19}))")
_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_QVALUE = re.compile(r"(?i:q)=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Representation:
    """What a URL stands for now.

    Attributes:
        tag: the entity tag without quotes; it changes with every byte.
        compressible: gzip it for those who accept that, the shortest too: Apple's authoring rule 10.1
            excepts no playlist, and a frame costs 18 bytes. Never together with `ranges`: parts of one
            encoding do not fit the other.
        ranges: a part may be asked for.
    """

    body: bytes
    media_type: str
    tag: str
    cache_control: str
    compressible: bool = False
    ranges: bool = False


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes `first` to `last`, both included."""

    first: int
    last: int


def tag_of(body: bytes) -> str:
    """An entity tag that follows from the bytes alone."""
    return hashlib.sha256(body).hexdigest()[:32]


def respond(request: Request, representation: Representation) -> Response:
    """The answer to a GET or HEAD of the representation: 200, 206 or 304.

    Raises:
        HTTPException: 412, If-Match names no tag of ours; 416, the range lies behind the end.
    """
    asked = request.headers
    zipped = representation.compressible and accepts_gzip(asked)
    tag = f'"{representation.tag}-gzip"' if zipped else f'"{representation.tag}"'
    headers = {"ETag": tag, "Cache-Control": representation.cache_control}
    if representation.compressible:
        headers["Vary"] = "Accept-Encoding"
    if has_already(request, tag):
        return Response(status_code=304, headers=headers)
    if zipped:
        headers["Content-Encoding"] = "gzip"
        return Response(_gzipped(representation.body), headers=headers, media_type=representation.media_type)
    if not representation.ranges:
        return Response(representation.body, headers=headers, media_type=representation.media_type)
    headers["Accept-Ranges"] = "bytes"
    return _part(request, representation, tag, headers)


def has_already(request: Request, tag: str) -> bool:
    """Whether the client has what `tag` (with its quotes) stands for, so that 304 is the answer.

    Raises:
        HTTPException: 412, If-Match names no tag of ours.
    """
    if "if-match" in request.headers and not _lists(request.headers, "if-match", tag, weakly=False):
        raise HTTPException(412, "If-Match does not list what is here now")
    return _lists(request.headers, "if-none-match", tag, weakly=True)


def part_of(request: Request, tag: str, size_bytes: int) -> ByteRange | None:
    """The part of what `tag` stands for that is asked for; None: all of it.

    Raises:
        HTTPException: 416, as `requested_range`.
    """
    # RFC 9110 14.2: GET is the only method with ranges; 13.1.5: If-Range compares strongly
    applies = request.method == "GET" and request.headers.get("if-range", tag) == tag
    return requested_range(request.headers.getlist("range"), size_bytes) if applies else None


def _part(request: Request, representation: Representation, tag: str, headers: dict[str, str]) -> Response:
    body, media_type = representation.body, representation.media_type
    part = part_of(request, tag, len(body))
    if part is None:
        return Response(body, headers=headers, media_type=media_type)
    headers["Content-Range"] = f"bytes {part.first}-{part.last}/{len(body)}"
    return Response(body[part.first : part.last + 1], 206, headers, media_type)


def requested_range(values: list[str], size_bytes: int) -> ByteRange | None:
    """The one range that is asked for; None for none, several, or what is no range: all of it is the answer.

    Args:
        values: every Range header of the request.
    Raises:
        HTTPException: 416, it lies wholly behind the end.
    """
    found = _RANGE.fullmatch(values[0]) if len(values) == 1 else None
    if found is None:
        return None
    if found[3] is not None:
        first, last = max(0, size_bytes - int(found[3])), size_bytes - 1
    else:
        first, last = int(found[1]), size_bytes - 1 if found[2] is None else int(found[2])
        if found[2] is not None and last < first:
            return None
    if first >= size_bytes:
        detail = f"the range begins behind the end, at {size_bytes} bytes"
        raise HTTPException(416, detail, {"Content-Range": f"bytes */{size_bytes}"})
    return ByteRange(first, min(last, size_bytes - 1))


def _lists(headers: Headers, name: str, tag: str, *, weakly: bool) -> bool:
    """Whether the list of tags in a header holds `tag`; `*` holds every one."""
    text = ", ".join(headers.getlist(name)).strip()
    if text == "*":
        return True
    listed = _TAG.findall(text)
    return tag in (one.removeprefix("W/") if weakly else one for one in listed)


def accepts_gzip(headers: Headers) -> bool:
    """Whether the client takes gzip: named with a weight above 0, or covered by `*` and not named."""
    named: float | None = None
    others = 0.0
    for part in ",".join(headers.getlist("accept-encoding")).split(","):
        coding, _, parameter = part.strip().partition(";")
        weight = _weight(parameter.strip())
        match coding.strip().lower():
            case "gzip" | "x-gzip":
                named = weight
            case "*":
                others = weight
    return (others if named is None else named) > 0


def _weight(parameter: str) -> float:
    """1 where none is given; 0 for one that cannot be read, which asks for nothing."""
    found = _QVALUE.fullmatch(parameter)
    return float(found[1]) if found else float(not parameter)


@lru_cache(maxsize=64)
def _gzipped(body: bytes) -> bytes:
    """The same bytes each time, as a strong tag promises; many listeners ask for one playlist."""
    return gzip.compress(body, GZIP_LEVEL, mtime=0)
