"""The text that playlists are made of: attribute lists, quoted strings, URI lines.

Owns: what may stand in them. A playlist with a stray quote or line feed is another playlist.
Source: bis 4.1 (lines), 4.2 (attribute lists).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping


def attribute_list(attributes: Mapping[str, str]) -> str:
    """NAME=value pairs with commas and no white space, which clients take literally (bis 4.2)."""
    return ",".join(f"{name}={value}" for name, value in attributes.items())


def quoted_string(text: str) -> str:
    """`text` in double quotes (bis 4.2).

    Raises:
        ValueError: it holds a quote or a control character; there is no way to escape them.
    """
    if '"' in text or _has_control(text):
        raise ValueError(f"a quoted string holds a quote or a control character: {text!r}")
    return f'"{text}"'


def uri_line(uri: str) -> str:
    """`uri` as a line of its own (bis 4.1).

    Raises:
        ValueError: a client would take it for a blank line, a comment or a tag, or for several lines.
    """
    if not uri or uri.startswith("#") or uri != uri.strip() or _has_control(uri):
        raise ValueError(f"not a URI line: {uri!r}")
    return uri


def _has_control(text: str) -> bool:
    return any(unicodedata.category(character) == "Cc" for character in text)
