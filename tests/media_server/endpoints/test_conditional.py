"""media_server/endpoints/conditional.py"""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from media_server.endpoints.conditional import (
    ByteRange,
    Representation,
    accepts_gzip,
    requested_range,
    respond,
    tag_of,
)

BODY = bytes(range(256)) * 4


def answer(
    *headers: tuple[str, str], method: str = "GET", compressible: bool = False, ranges: bool = True
) -> Response:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    request = Request({"type": "http", "method": method, "headers": raw})
    return respond(
        request,
        Representation(
            body=BODY,
            media_type="audio/mp4",
            tag="t1",
            cache_control="no-cache",
            compressible=compressible,
            ranges=ranges,
        ),
    )


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("gzip; q=0.001", True),
        ("gzip;q=1.000", True),
        ("gzip;q=2", False),
        ("gzip;q=", False),
        ("deflate, br", False),
        ("deflate , gzip;q=0.5", True),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("*;q=0, gzip", True),
        ("gzip, identity;q=1, *;q=0", True),
        ("", False),
        ("identity", False),
    ],
)
def test_gzip_is_taken_as_its_weight_says(header: str, accepted: bool) -> None:
    """RFC 9110 12.5.3: a weight of 0 is a refusal; `*` stands for what is not named."""
    assert accepts_gzip(Headers({"Accept-Encoding": header})) is accepted


def test_without_accept_encoding_nothing_is_zipped() -> None:
    """ffmpeg and mpv send none and take none."""
    assert not accepts_gzip(Headers({}))


def test_a_zipped_answer_has_a_tag_of_its_own() -> None:
    """RFC 9110 8.8.3: strong tags differ where bytes differ."""
    zipped = answer(("Accept-Encoding", "gzip"), compressible=True, ranges=False)
    plain = answer(compressible=True, ranges=False)
    assert gzip.decompress(bytes(zipped.body)) == bytes(plain.body) == BODY
    assert (zipped.headers["etag"], plain.headers["etag"]) == ('"t1-gzip"', '"t1"')
    assert zipped.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert zipped.headers["content-length"] == str(len(zipped.body))


def test_the_tag_of_one_encoding_does_not_match_the_other() -> None:
    known = ("If-None-Match", '"t1"')
    assert answer(known, ("Accept-Encoding", "gzip"), compressible=True, ranges=False).status_code == 200
    assert answer(known, compressible=True, ranges=False).status_code == 304


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ('"t1"', 304),
        ('W/"t1"', 304),
        ('"a", "t1"', 304),
        ('"a,b","t1"', 304),
        ("*", 304),
        ('"t2"', 200),
        ("t1", 200),
        ('"t1', 200),
        ("", 200),
        ('"T1"', 200),
    ],
)
def test_if_none_match_compares_weakly(header: str, status: int) -> None:
    """RFC 9110 13.1.2."""
    found = answer(("If-None-Match", header))
    assert found.status_code == status
    assert found.headers["etag"] == '"t1"'
    assert bytes(found.body) == (b"" if status == 304 else BODY)


@pytest.mark.parametrize(
    ("header", "passes"), [('"t1"', True), ("*", True), ('W/"t1"', False), ('"t2"', False)]
)
def test_if_match_compares_strongly(header: str, passes: bool) -> None:
    """RFC 9110 13.1.1."""
    if passes:
        assert answer(("If-Match", header)).status_code == 200
        return
    with pytest.raises(HTTPException) as refused:
        answer(("If-Match", header))
    assert refused.value.status_code == 412


@pytest.mark.parametrize(
    ("values", "size", "expected"),
    [
        (["bytes=0-0"], 10, ByteRange(0, 0)),
        (["bytes=0-"], 10, ByteRange(0, 9)),
        (["bytes=3-100"], 10, ByteRange(3, 9)),
        (["bytes=9-9"], 10, ByteRange(9, 9)),
        (["bytes=-1"], 10, ByteRange(9, 9)),
        (["bytes=-100"], 10, ByteRange(0, 9)),
        (["Bytes=1-2"], 10, ByteRange(1, 2)),
        (["bytes=00000-00001"], 10, ByteRange(0, 1)),
        ([], 10, None),
        (["bytes=0-0", "bytes=0-0"], 10, None),
        (["bytes=0-0,2-3"], 10, None),
        (["bytes=0-0, 1-1" * 2000], 10, None),
        (["bytes=5-2"], 10, None),
        (["bytes=100-50"], 10, None),
        (["bytes=-"], 10, None),
        (["bytes="], 10, None),
        (["bytes 0-1"], 10, None),
        (["bytes= 0-1"], 10, None),
        (["bytes=0 - 1"], 10, None),
        (["bytes=+1-2"], 10, None),
        (["bytes=--1"], 10, None),
        (["bytes=0-1-2"], 10, None),
        (["bytes=0x0-0x1"], 10, None),
        (["bytes=\u0661-\u0662"], 10, None),
        (["bytes=0-" + "9" * 5000], 10, None),
        (["items=0-1"], 10, None),
    ],
)
def test_a_range_is_one_or_none(values: list[str], size: int, expected: ByteRange | None) -> None:
    """RFC 9110 14.1.2, 14.2; reliability, range DoS: one range, else 200 full."""
    assert requested_range(values, size) == expected


@pytest.mark.parametrize(
    ("value", "size"),
    [("bytes=10-", 10), ("bytes=10-20", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-5", 0)],
)
def test_a_range_behind_the_end_cannot_be_satisfied(value: str, size: int) -> None:
    """RFC 9110 15.5.17."""
    with pytest.raises(HTTPException) as refused:
        requested_range([value], size)
    assert refused.value.status_code == 416
    assert refused.value.headers == {"Content-Range": f"bytes */{size}"}


@given(size=st.integers(1, 10_000), first=st.integers(0, 12_000), length=st.integers(1, 12_000))
def test_a_range_is_what_slicing_gives(size: int, first: int, length: int) -> None:
    body = bytes(size)
    value = f"bytes={first}-{first + length - 1}"
    if first >= size:
        with pytest.raises(HTTPException):
            requested_range([value], size)
        return
    found = requested_range([value], size)
    assert found is not None
    assert 0 <= found.first <= found.last < size
    assert len(body[found.first : found.last + 1]) == len(body[first : first + length])


@given(st.text(max_size=40))
def test_any_text_is_a_range_none_or_a_416(text: str) -> None:
    """No header makes a 500."""
    try:
        found = requested_range([text], 100)
    except HTTPException as refused:
        assert refused.status_code == 416
    else:
        assert found is None or 0 <= found.first <= found.last < 100


@pytest.mark.parametrize(
    ("if_range", "status"),
    [('"t1"', 206), ('"t2"', 200), ('W/"t1"', 200), ("Sat, 01 Jan 2026 00:00:00 GMT", 200)],
)
def test_if_range_holds_for_the_same_bytes_only(if_range: str, status: int) -> None:
    """RFC 9110 13.1.5: compared strongly; there is no date to match."""
    assert answer(("Range", "bytes=0-1"), ("If-Range", if_range)).status_code == status


def test_a_known_representation_wins_over_its_range() -> None:
    """RFC 9110 13.2.2: If-None-Match comes before Range."""
    assert answer(("Range", "bytes=0-1"), ("If-None-Match", '"t1"')).status_code == 304


def test_ranges_are_only_for_get() -> None:
    """RFC 9110 14.2."""
    assert answer(("Range", "bytes=0-1"), method="HEAD").status_code == 200


def test_a_tag_follows_from_the_bytes() -> None:
    assert tag_of(b"a") == tag_of(b"a") != tag_of(b"b")
