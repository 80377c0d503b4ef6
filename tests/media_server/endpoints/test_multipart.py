"""media_server/endpoints/multipart.py"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from media_server.endpoints.multipart import MAX_FIELD_BYTES, MAX_PARTS, FormReader, boundary_of
from media_server.errors import BadRequest, LimitExceeded, Unsupported

BOUNDARY = b"----x"


class Kept:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: memoryview) -> None:
        self.data += bytes(data)


def part(name: str, value: bytes, extra: str = "") -> bytes:
    head = f'--{BOUNDARY.decode()}\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'
    return head.encode() + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"


def read(body: bytes, *cuts: int) -> tuple[FormReader, bytes]:
    """Read a body that comes in pieces, cut at these places."""
    kept = Kept()
    reader = FormReader(BOUNDARY, kept, ("title", "artist"))
    places = [0, *sorted(cuts), len(body)]
    for start, end in pairwise(places):
        reader.feed(body[start:end])
    reader.end()
    return reader, kept.data


FILE = part("file", b"RIFF\r\n--not\x00\xff", '; filename="a.wav"')


def test_a_form_is_its_fields_and_one_file() -> None:
    reader, data = read(form(part("title", "Überfahrt".encode()), FILE, part("other", b"skipped")))
    assert reader.fields == {"title": "Überfahrt"}
    assert reader.has_file
    assert data == b"RIFF\r\n--not\x00\xff"


@given(
    data=st.binary(max_size=300)
    | st.lists(st.sampled_from([b"\r", b"\n", b"-", b"\r\n--", BOUNDARY[:3], b"a"])).map(b"".join),
    cuts=st.lists(st.integers(0, 600)),
)
def test_however_the_body_is_cut_the_file_is_the_same(data: bytes, cuts: list[int]) -> None:
    """A network cuts anywhere, also within a boundary."""
    # a client picks a boundary that its data does not hold
    assume(b"\r\n--" + BOUNDARY not in b"\r\n" + data)
    body = form(part("title", b"t"), part("file", data, '; filename="f"'), part("artist", b"a"))
    reader, found = read(body, *(min(cut, len(body)) for cut in cuts))
    assert found == data
    assert reader.fields == {"title": "t", "artist": "a"}


def test_one_byte_at_a_time_gives_the_same() -> None:
    body = form(part("title", b"t"), FILE)
    reader, data = read(body, *range(len(body)))
    assert (reader.fields, data) == ({"title": "t"}, b"RIFF\r\n--not\x00\xff")


def test_a_file_part_may_be_empty_or_absent() -> None:
    assert read(form(part("file", b"")))[0].has_file
    assert not read(form(part("title", b"t")))[0].has_file


def test_a_name_is_no_path() -> None:
    """The file name of the user goes nowhere: it is not even read."""
    reader, data = read(form(part("file", b"x", '; filename="../../etc/passwd"')))
    assert (reader.has_file, data) == (True, b"x")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no form at all",
        FILE,
        form(FILE)[:-6],
        form(FILE, FILE),
        form(part("title", b"a"), part("title", b"b")),
        form(part("title", b"\xff\xfe")),
        form(*[part("other", b"")] * (MAX_PARTS + 1)),
        b"--" + BOUNDARY + b"\r\nbad header\r\n\r\nx\r\n--" + BOUNDARY + b"--\r\n",
        b"--" + BOUNDARY + b"\r\n" + b"X: y\r\n" * 1000 + b"\r\nx\r\n--" + BOUNDARY + b"--\r\n",
    ],
)
def test_what_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest) as told:
        read(body)
    assert told.value.code == "bad_form"


def test_a_field_has_a_bound_and_an_unknown_one_is_skipped() -> None:
    """Upload: each field <= 64 KiB, unknown fields ignored."""
    assert len(read(form(part("title", b"x" * MAX_FIELD_BYTES)))[0].fields["title"]) == MAX_FIELD_BYTES
    with pytest.raises(LimitExceeded) as told:
        read(form(part("title", b"x" * (MAX_FIELD_BYTES + 1))))
    assert told.value.limits == {"field_bytes": float(MAX_FIELD_BYTES)}
    assert read(form(part("other", b"x" * (MAX_FIELD_BYTES + 1))))[0].fields == {}


@given(st.binary(max_size=400))
def test_any_bytes_are_a_form_or_refused(body: bytes) -> None:
    """No body makes a 500."""
    try:
        read(body)
    except (BadRequest, LimitExceeded) as told:
        assert told.code in {"bad_form", "too_large"}


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('Multipart/Form-Data; charset=utf-8; boundary="a b"', b"a b"),
    ],
)
def test_the_boundary_is_in_the_content_type(content_type: str, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    ("content_type", "error"),
    [
        ("", Unsupported),
        ("application/octet-stream", Unsupported),
        ("multipart/mixed; boundary=abc", Unsupported),
        ("multipart/form-data", BadRequest),
        ("multipart/form-data; boundary=", BadRequest),
        ("multipart/form-data; boundary=" + "x" * 71, BadRequest),
    ],
)
def test_without_a_boundary_there_is_no_form(content_type: str, error: Any) -> None:
    with pytest.raises(error):
        boundary_of(content_type)
