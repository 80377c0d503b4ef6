"""What is known of a file once it is stored: enough to list it, check it and render it.

Owns: StoredFile and StoredSegment, the leaves of `asset.json`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file of a track's version: its name, its size, the hash of its content in hex."""

    name: str
    bytes: int
    sha256: str
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSegment:
    """A media segment; `duration` counts samples at its rendition's rate."""

    name: str
    duration: int
    bytes: int
    sha256: str
