"""What the companion API changed of a track since its upload: each field with the time of its change.

The newest change of a field counts, and an upload that is newer than it counts more. They are kept beside the
track: a change may come before the track is made, and holds for every version that is made later.
Source: contract, `track.updated`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from hls.asset import Asset
from media_server.errors import NotFound, Unavailable
from media_server.storage.base import Storage

FIELDS: Final = frozenset({"visibility", "user_id", "title", "artist"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Amendment:
    """A field's value since `at`, RFC 3339 in UTC."""

    value: str | None
    at: str


Amendments = Mapping[str, Amendment]
_AMENDMENTS: TypeAdapter[dict[str, Amendment]] = TypeAdapter(dict[str, Amendment])


def amendments_key(track_id: str) -> str:
    return f"amendments/{track_id}.json"


def amended(known: Amendments, changes: Mapping[str, str | None], at: str) -> Amendments:
    """With these changes, made at that time; a field that was changed later stays."""
    newer = {
        name: Amendment(value=value, at=at)
        for name, value in changes.items()
        if name in FIELDS and (name not in known or known[name].at <= at)
    }
    return {**known, **newer}


def applied(amendments: Amendments, asset: Asset) -> Asset:
    """The asset with what was changed after its upload was accepted."""
    changes: dict[str, Any] = {
        name: amendment.value
        for name, amendment in amendments.items()
        if name in FIELDS and amendment.at > asset.order
    }
    return replace(asset, **changes)


async def load(storage: Storage, track_id: str) -> Amendments:
    """What was changed of a track so far.

    Raises:
        Unavailable: `bad_amendments`, what is stored is none of ours.
    """
    try:
        return _AMENDMENTS.validate_json(await storage.get(amendments_key(track_id)))
    except NotFound:
        return {}
    except ValidationError:
        raise Unavailable("bad_amendments", f"{amendments_key(track_id)} is not of ours") from None


async def save(storage: Storage, track_id: str, amendments: Amendments) -> None:
    await storage.put(
        amendments_key(track_id),
        _AMENDMENTS.dump_json(dict(amendments)),
        media_type="application/json",
        cache_control="no-store",
    )
