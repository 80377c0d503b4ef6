"""Ids of tracks, users and jobs: canonical lower-case UUIDs, checked before they become paths or keys."""

from __future__ import annotations

import uuid


def canonical_uuid(text: str) -> str:
    """`text` if it is a canonical lower-case UUID.

    Raises:
        ValueError: it is anything else.
    """
    if len(text) != 36 or str(uuid.UUID(text)) != text:
        raise ValueError("must be a canonical lower-case UUID")
    return text


def is_canonical_uuid(text: str) -> bool:
    """True if `text` is a canonical lower-case UUID."""
    try:
        return canonical_uuid(text) == text
    except ValueError:
        return False
