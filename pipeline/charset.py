"""Text whose file does not say, or lies about, how it is encoded.

ID3v1 and RIFF INFO have no encoding at all, Vorbis comments are UTF-8 by rule only, and what ID3v2 calls
Latin-1 is as often the code page of whoever's machine wrote it. Guessed is only where the bytes leave little
doubt; the rest is read as Windows' Western code page, a superset of what Latin-1 can print.
"""

from __future__ import annotations

SHIFT_JIS, WESTERN = "cp932", "cp1252"

_KANA = ("\u3040", "\u30ff")
_MIN_KANA_SHARE = 1 / 5
"""Japanese has more kana than that; a Western text misread as Shift-JIS hardly any: a low quotation
mark or the sign of the florin would have to stand before just the right letters."""


def readable(text: str) -> str:
    """The text as its writer most likely meant it.

    Args:
        text: decoded as UTF-8 with `surrogateescape`; what FFmpeg took for Latin-1 is U+0080 to U+00FF.
    """
    raw = _bytes_behind(text)
    return text if raw is None else _guessed(raw)


def _bytes_behind(text: str) -> bytes | None:
    """The bytes, where the text is no Unicode of its writer's; else None."""
    if any("\udc80" <= c <= "\udcff" for c in text):
        return text.encode("utf-8", "surrogateescape")
    # Latin-1 has no printable character there, so it was not Latin-1
    if any("\x80" <= c <= "\x9f" for c in text) and all(c <= "\xff" for c in text):
        return text.encode("latin-1")
    return None


def _guessed(raw: bytes) -> str:
    try:
        japanese = raw.decode(SHIFT_JIS)
    except UnicodeDecodeError:
        return raw.decode(WESTERN, "replace")
    foreign = [c for c in japanese if c > "\x7f"]
    kana = sum(_KANA[0] <= c <= _KANA[1] for c in foreign)
    return japanese if kana and kana >= _MIN_KANA_SHARE * len(foreign) else raw.decode(WESTERN, "replace")
