"""Comments of an AIFF file that FFmpeg does not read."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.aiff import comments


def chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack(">I", len(data)) + data + bytes(len(data) & 1)


def comment(text: bytes, marker: int = 0) -> bytes:
    return struct.pack(">IHH", 3_000_000_000, marker, len(text)) + text + bytes(len(text) & 1)


ODD, EVEN, CUE = comment(b"one"), comment(b"two!"), comment(b"cue", marker=1)


@pytest.mark.parametrize(
    ("chunks", "text"),
    [
        (chunk(b"COMT", b"\0\2" + ODD + EVEN), "one\ntwo!"),
        (chunk(b"COMT", b"\0\2" + CUE + EVEN), "two!"),
        (chunk(b"SSND", bytes(7)) + chunk(b"COMT", b"\0\1" + ODD), "one"),
        (chunk(b"COMT", b"\0\1" + comment(b"n\xf6te")), "n\udcf6te"),
        (chunk(b"COMT", b"\0\x09" + ODD), "one"),
        (chunk(b"COMT", b"\0\1" + ODD[:-2]), "on"),
        (chunk(b"COMT", b""), ""),
        (chunk(b"ANNO", b"note"), ""),
        (b"", ""),
    ],
)
def test_comments_are_those_on_the_file_itself(tmp_path: Path, chunks: bytes, text: str) -> None:
    """AIFF 1.3, 7.0: a comment with a marker is on a place in the sound."""
    path = tmp_path / "x.aiff"
    path.write_bytes(b"FORM" + struct.pack(">I", 4 + len(chunks)) + b"AIFF" + chunks)
    assert comments(path) == text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_any_bytes_are_read_to_an_end(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.aiff"
    path.write_bytes(b"FORM\0\0\0\0AIFFCOMT" + data)
    assert isinstance(comments(path), str)
