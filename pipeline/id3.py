"""What FFmpeg's muxer leaves out of the ID3v2.3 tag of an MP3: texts that say in which language they are.

It writes comments and lyrics as texts of its user's own (`TXXX`), where no player looks. So it leaves room at
the end of its tag, and the frames go there. Source: ID3v2.3.0 3.1 (header), 4.9 (USLT), 4.11 (COMM).
"""

from __future__ import annotations

import struct

from pipeline.about import WITH_LANGUAGE, About
from pipeline.tag_bounds import synchsafe

HEADER_BYTES = 10
UTF16 = b"\1"
LITTLE_ENDIAN = b"\xff\xfe"
NO_DESCRIPTION = LITTLE_ENDIAN + bytes(2)
UNKNOWN_LANGUAGE = b"XXX"
"""ID3v2.4 4.8: of which language a source's text is, it may have said, but FFmpeg does not."""


def language_frames(about: About) -> bytes:
    """The frames of these tags, in a fixed order; empty where there is nothing for them."""
    return b"".join(
        _frame(WITH_LANGUAGE[name], text) for name, text in about.kept().items() if name in WITH_LANGUAGE
    )


def tag_end(head: bytes | bytearray) -> int:
    """Where the tag ends that a file of this head begins with.

    Raises:
        ValueError: there is none.
    """
    if head[:3] != b"ID3" or len(head) < HEADER_BYTES:
        raise ValueError(f"expected an ID3v2 tag, got {bytes(head[:HEADER_BYTES])!r}")
    return HEADER_BYTES + synchsafe(bytes(head[6:HEADER_BYTES]))


def _frame(kind: bytes, text: str) -> bytes:
    body = UTF16 + UNKNOWN_LANGUAGE + NO_DESCRIPTION + LITTLE_ENDIAN + text.encode("utf-16-le")
    return kind + struct.pack(">IH", len(body), 0) + body
