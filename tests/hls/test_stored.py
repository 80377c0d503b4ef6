"""The leaves of `asset.json`."""

from __future__ import annotations

from pydantic import TypeAdapter

from hls.stored import StoredFile, StoredSegment


def test_a_stored_file_has_these_keys() -> None:
    """Files that are stored today are read by the server of tomorrow."""
    text = b'{"name":"cover.jpg","bytes":10,"sha256":"ab","media_type":"image/jpeg"}'
    file = StoredFile(name="cover.jpg", bytes=10, sha256="ab", media_type="image/jpeg")
    assert TypeAdapter(StoredFile).dump_json(file) == text
    assert TypeAdapter(StoredFile).validate_json(text) == file


def test_a_stored_segment_has_these_keys() -> None:
    text = b'{"name":"0-ab.m4s","duration":184320,"bytes":61000,"sha256":"ab"}'
    segment = StoredSegment(name="0-ab.m4s", duration=184_320, bytes=61_000, sha256="ab")
    assert TypeAdapter(StoredSegment).dump_json(segment) == text
    assert TypeAdapter(StoredSegment).validate_json(text) == segment
