"""multipart/form-data, read as it comes.

Owns: which parts there are and how long they may be. The part `file` is handed on piece by piece, the fields
are kept, what is unknown is skipped. Source: RFC 7578, RFC 2046 5.1.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from media_server.errors import BadRequest, LimitExceeded, Unsupported

MULTIPART: Final = "multipart/form-data"
FILE: Final = "file"
MAX_FIELD_BYTES: Final = 65_536
MAX_PARTS: Final = 64
MAX_BOUNDARY_CHARACTERS: Final = 70
"""RFC 2046 5.1.1."""


class Sink(Protocol):
    """Where the file's bytes go."""

    def write(self, data: memoryview) -> None:
        """Take the next bytes; they are only valid during the call."""
        ...


def boundary_of(content_type: str) -> bytes:
    """The boundary that a Content-Type names.

    Raises:
        Unsupported: `unsupported_media_type`, it is no multipart/form-data.
        BadRequest: `bad_form`, it names none.
    """
    media_type, options = parse_options_header(content_type)
    if media_type.strip() != MULTIPART.encode():
        raise Unsupported("unsupported_media_type", f"the body must be {MULTIPART}")
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= MAX_BOUNDARY_CHARACTERS:
        raise BadRequest("bad_form", f"the boundary must have 1 to {MAX_BOUNDARY_CHARACTERS} characters")
    return boundary


@dataclass(slots=True)
class _Part:
    """The part that is being read."""

    header: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)
    disposition: bytes = b""
    name: str | None = None
    body: bytearray = field(default_factory=bytearray)


class FormReader:
    """A push parser: `feed` the body in any pieces, then `end`.

    `fields` holds the known fields that came, `has_file` whether the file did, `file_name` what the sender
    calls it (foreign text, good for showing only). Synchronous; it may run on any
    thread, one call at a time.
    """

    def __init__(self, boundary: bytes, sink: Sink, known: Collection[str]) -> None:
        self.fields: dict[str, str] = {}
        self.has_file = False
        self.file_name = ""
        self._sink = sink
        self._known = known
        self._part = _Part()
        self._parts = 0
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._part.header.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._part.value.extend(data[start:end]),
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_finished,
                "on_part_data": self._data,
                "on_part_end": self._end,
                "on_end": self._form_end,
            },
        )

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body.

        Raises:
            BadRequest: `bad_form`, they are no form, or one with too many parts.
            LimitExceeded: `too_large`, a field is too long.
        """
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise BadRequest("bad_form", "the body is no well-formed multipart/form-data") from error

    def end(self) -> None:
        """The body is over.

        Raises:
            BadRequest: `bad_form`, the form is not.
        """
        if not self._ended:
            raise BadRequest("bad_form", "the form ends before its last boundary")

    def _begin(self) -> None:
        self._part = _Part()
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise BadRequest("bad_form", f"the form has more than {MAX_PARTS} parts")

    def _header_end(self) -> None:
        if bytes(self._part.header).lower() == b"content-disposition":
            self._part.disposition = bytes(self._part.value)
        self._part.header.clear()
        self._part.value.clear()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._part.disposition.decode("latin-1"))
        name = _text(options.get(b"name", b""))
        if name == FILE:
            if self.has_file:
                raise BadRequest("bad_form", "the form has more than one file")
            self.has_file = True
            self.file_name = options.get(b"filename", b"").decode(errors="replace")
        if name in self.fields:
            raise BadRequest("bad_form", f"the form has {name} twice")
        self._part.name = name

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._part.name == FILE:
            self._sink.write(memoryview(data)[start:end])
        elif self._part.name in self._known:
            self._part.body += data[start:end]
            if len(self._part.body) > MAX_FIELD_BYTES:
                message = f"{self._part.name} has more than {MAX_FIELD_BYTES} bytes"
                raise LimitExceeded("too_large", message, {"field_bytes": float(MAX_FIELD_BYTES)})

    def _end(self) -> None:
        name = self._part.name
        if name is not None and name in self._known:
            self.fields[name] = _text(bytes(self._part.body))

    def _form_end(self) -> None:
        self._ended = True


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise BadRequest("bad_form", "the form is not in UTF-8") from None
