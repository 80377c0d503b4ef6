"""Text that does not say how it is encoded is guessed only where there is little doubt."""

from __future__ import annotations

import pytest

from pipeline.charset import readable


def as_latin_1(raw: bytes) -> str:
    """What FFmpeg makes of an ID3v2 frame that calls its bytes Latin-1."""
    return raw.decode("latin-1")


def as_they_are(raw: bytes) -> str:
    """What PyAV makes of bytes that no format said anything about."""
    return raw.decode("utf-8", "surrogateescape")


@pytest.mark.parametrize("read", [as_latin_1, as_they_are])
@pytest.mark.parametrize(
    ("raw", "meant"),
    [
        (b"Don\x92t", "Don\u2019t"),
        (b"\x93Caf\xe9\x94 \x96 \x80 5", "\u201cCaf\u00e9\u201d \u2013 \u20ac 5"),
        ("\u30c6\u30b9\u30c8".encode("cp932"), "\u30c6\u30b9\u30c8"),
        ("\u6771\u4eac\u306e\u590f Part 2".encode("cp932"), "\u6771\u4eac\u306e\u590f Part 2"),
    ],
)
def test_the_writers_code_page_is_told_by_what_it_wrote(read, raw: bytes, meant: str) -> None:
    """Bad input 45, cp932: kana among it, or it is Windows' Western."""
    assert readable(read(raw)) == meant


@pytest.mark.parametrize(
    "text", ["plain", "Caf\u00e9", "\u0416lu\u0165", "\u30c6", "", "\U0001f3b5", "a\u0085\u30c6"]
)
def test_what_is_unicode_stays_as_it_is(text: str) -> None:
    assert readable(text) == text


def test_bytes_of_no_encoding_are_latin() -> None:
    """ID3v1 and RIFF INFO: a byte that is no UTF-8."""
    assert readable(as_they_are(b"Caf\xe9")) == "Caf\u00e9"


@pytest.mark.parametrize("raw", [b"\x81", b"\x81\x8d\x8f\x90\x9d", b"\xff\xfe\x81"])
def test_what_no_code_page_has_is_replaced_and_never_escapes(raw: bytes) -> None:
    assert readable(as_they_are(raw)).isprintable()
    assert not any("\ud800" <= c <= "\udfff" for c in readable(as_they_are(raw)))
