"""`media-server sign`: a URL that plays without a token, for operators and tests."""

from __future__ import annotations

import time
from typing import Annotated, Final

import typer

from media_server.auth.signing import HOUR_S, MAX_AHEAD_S, UrlSigner, keys_of, scope_of
from media_server.cli.terminal import out, settings_or_stop, stop
from media_server.errors import Denied
from media_server.ids import is_canonical_uuid
from media_server.settings import Settings

SIGNED_PATHS: Final = ("/hls/", "/tracks/")
"""Where a signature is looked at."""

LONGEST_S: Final = MAX_AHEAD_S - HOUR_S
"""The end is rounded up to the hour and may be no more than a day ahead."""


def sign(
    target: Annotated[
        str, typer.Argument(metavar="PATH_OR_TRACK", help="A path, or a track id for its playlist.")
    ],
    lifetime_s: Annotated[
        int,
        typer.Option("--lifetime", help="Seconds it lasts at least; the full hour after it is the end."),
    ] = HOUR_S,
) -> None:
    """Print a signed URL. One for a segment opens all segments of its rendition."""
    settings = settings_or_stop()
    try:
        url = signed_url(settings, target, now=time.time(), lifetime_s=lifetime_s)
    except ValueError as error:
        stop(str(error))
    out.print(url, soft_wrap=True, markup=False)


def signed_url(settings: Settings, target: str, *, now: float, lifetime_s: int) -> str:
    """The URL that opens a path, or the master playlist of a track.

    Args:
        target: a path below /hls or /tracks as it stands in a request, or a canonical UUID.
        now: Unix seconds.
        lifetime_s: 1 to 82800.
    Raises:
        ValueError: it cannot be signed; one sentence.
    """
    keys = keys_of(settings)
    if not keys:
        raise ValueError("URL_SIGNING_KEYS and JWT_SECRET are not set, there is nothing to sign a URL with")
    if not 0 < lifetime_s <= LONGEST_S:
        raise ValueError(f"lifetime is {lifetime_s} s, 1 to {LONGEST_S} s are allowed")
    path = f"/hls/{target}/master.m3u8" if is_canonical_uuid(target) else target
    if not path.startswith(SIGNED_PATHS) or not path.isascii() or set(path) & set("?# "):
        raise ValueError(
            "only a track id, or a path that begins with /hls/ or /tracks/ and has no query, can be signed"
        )
    try:
        scope = scope_of(path)
    except Denied as error:
        raise ValueError(error.message) from None
    return f"{settings.base_url}{path}?{UrlSigner(keys).query(scope, now=now, lifetime_s=lifetime_s)}"
