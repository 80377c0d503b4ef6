"""What was deleted stays deleted: a mark with the time, which older uploads meet before they are published.

One for each track, one for each user; the newest deletion counts.
Source: contract, Events; reliability F8.
"""

from __future__ import annotations

import hashlib
from typing import Final

import orjson

from media_server.errors import Conflict, NotFound, Unavailable
from media_server.storage.base import Storage

DELETED: Final = "deleted"
"""The code of a job whose track was deleted after it was asked for."""


async def bury_track(storage: Storage, track_id: str, at: str) -> None:
    """Mark it deleted at that time, RFC 3339 in UTC, unless a later mark is there."""
    await _bury(storage, _key_of_track(track_id), at)


async def bury_user(storage: Storage, user_id: str, at: str) -> None:
    """Mark a user's tracks deleted, also those that are only being made."""
    await _bury(storage, _key_of_user(user_id), at)


async def must_not_be_deleted(storage: Storage, track_id: str, user_id: str | None, since: str) -> None:
    """Return if nobody deleted the track, or its user, since it was asked for.

    Raises:
        Conflict: `deleted`.
    """
    keys = [_key_of_track(track_id), *([_key_of_user(user_id)] if user_id is not None else [])]
    for key in keys:
        deleted_at = await _deleted_at(storage, key)
        if deleted_at is not None and since <= deleted_at:
            raise Conflict(DELETED, f"the track was deleted at {deleted_at}, after it was asked for")


async def _bury(storage: Storage, key: str, at: str) -> None:
    known = await _deleted_at(storage, key)
    if known is None or known < at:
        mark = orjson.dumps({"deleted_at": at})
        await storage.put(key, mark, media_type="application/json", cache_control="no-store")


async def _deleted_at(storage: Storage, key: str) -> str | None:
    try:
        return str(orjson.loads(await storage.get(key))["deleted_at"])
    except NotFound:
        return None
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise Unavailable("bad_tombstone", f"{key} is not a mark of ours") from None


def _key_of_track(track_id: str) -> str:
    return f"tombstones/tracks/{track_id}.json"


def _key_of_user(user_id: str) -> str:
    # an id of others may be any text; a key may not
    return f"tombstones/users/{hashlib.sha256(user_id.encode()).hexdigest()}.json"
