"""A body is written as it is, or not at all."""

from __future__ import annotations

import hashlib
import io
import itertools
import threading
from pathlib import Path

import pytest

from media_server.errors import LimitExceeded, Unavailable
from media_server.storage.download import GRACE_S, LEAST_BYTES_PER_S, PIECE_BYTES, Stopped, download

DATA = bytes(range(256)) * 1024


class BreaksOff(io.BytesIO):
    """A body whose connection ends after its first piece."""

    def read(self, amt: int | None = -1) -> bytes:
        if self.tell():
            raise ConnectionResetError("by the peer")
        return super().read(amt)


def test_what_is_written_is_what_is_hashed(tmp_path: Path) -> None:
    got = download(io.BytesIO(DATA), tmp_path / "file", threading.Event())
    assert (tmp_path / "file").read_bytes() == DATA
    assert (got.sha256, got.size_bytes) == (hashlib.sha256(DATA).hexdigest(), len(DATA))


def test_a_body_of_just_the_limit_is_within_it(tmp_path: Path) -> None:
    assert download(io.BytesIO(DATA), tmp_path / "a", threading.Event(), len(DATA)).size_bytes == len(DATA)


def test_a_body_over_the_limit_is_read_no_further_and_leaves_nothing(tmp_path: Path) -> None:
    """Bad input 49."""
    body = io.BytesIO(DATA)
    with pytest.raises(LimitExceeded) as caught:
        download(body, tmp_path / "file", threading.Event(), 10)
    assert (caught.value.code, caught.value.limits) == ("too_large", {"MAX_SOURCE_BYTES": 10.0})
    assert body.tell() == PIECE_BYTES
    assert list(tmp_path.iterdir()) == []


def test_a_body_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    """F13: reset in the middle."""
    with pytest.raises(ConnectionResetError):
        download(BreaksOff(DATA), tmp_path / "file", threading.Event())
    assert list(tmp_path.iterdir()) == []


def test_nobody_waits_so_it_stops(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        download(io.BytesIO(DATA), tmp_path / "file", stop)
    assert list(tmp_path.iterdir()) == []


def test_a_body_that_trickles_is_given_up(tmp_path: Path) -> None:
    """F13: the least throughput, after a while of grace."""
    in_time = GRACE_S + PIECE_BYTES / LEAST_BYTES_PER_S
    body = io.BytesIO(DATA)
    download(body, tmp_path / "slow", threading.Event(), now=itertools.count(0, in_time / 4).__next__)
    clock = iter([0.0, in_time + 1]).__next__
    with pytest.raises(Unavailable, match="too slow") as caught:
        download(io.BytesIO(DATA), tmp_path / "slower", threading.Event(), now=clock)
    assert caught.value.code == "storage"
    assert not (tmp_path / "slower").exists()


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        download(io.BytesIO(DATA), tmp_path / "file", threading.Event())
    assert (tmp_path / "file").read_bytes() == b"mine"
