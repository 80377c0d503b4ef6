"""The name under which a file is saved: of the track, and harmless on every system.

Source: RFC 6266 4 (Content-Disposition), RFC 8187 3.2 (`filename*`).
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

MAX_CHARACTERS = 120
"""With the extension and four bytes a character still a name that file systems take; they stop at 255 bytes
and at as many UTF-16 units."""

MAX_BYTES = 200

SPELT = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "AE", "ø": "o", "Ø": "O", "œ": "oe", "Œ": "OE", "ł": "l", "Ł": "L"}
    | {"đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "\u0131": "i"}
    | {"\u2019": "'", "\u2013": "-", "\u2014": "-"}
)
"""Characters that have no other form in Unicode, and one in ASCII: letters, the apostrophe, dashes."""

_FORBIDDEN = re.compile(r'[\\/:*?"<>|%;]+')
"""What separates paths, or is refused by Windows, or misread in the header's plain form by browsers."""


def attachment(title: str | None, artist: str | None, otherwise: str, extension: str) -> str:
    """The header's value: `Artist - Title.ext`, or `otherwise.ext` where nothing of it can stand."""
    words = [word for word in (harmless(artist or ""), harmless(title or "")) if word]
    name = _shortened(" - ".join(words)) or otherwise
    spelt = [_spelt_in_ascii(word) for word in words]
    is_told = bool(spelt) and bool(spelt[-1])  # an artist alone would be the name of many
    plain = _shortened(" - ".join(word for word in spelt if word)) if is_told else otherwise
    return (
        f"attachment; filename=\"{plain}.{extension}\"; filename*=UTF-8''{quote(name, safe='')}.{extension}"
    )


def harmless(text: str) -> str:
    """The text without control and format characters, separators of paths, and dots or spaces at its ends."""
    visible = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text)
    return re.sub(" +", " ", _FORBIDDEN.sub(" ", visible)).strip(" .")


def _spelt_in_ascii(word: str) -> str:
    """Letters without their marks; nothing where none is left of those that there were."""
    text = unicodedata.normalize("NFKD", word.translate(SPELT)).encode("ascii", "ignore").decode()
    is_left = text == word or any(character.isalnum() for character in text)
    return harmless(text) if is_left else ""  # again: a full-width quotation mark has become a plain one


def _shortened(name: str) -> str:
    return name[:MAX_CHARACTERS].encode()[:MAX_BYTES].decode(errors="ignore").strip(" .")
