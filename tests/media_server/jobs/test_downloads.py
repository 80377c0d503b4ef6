"""The child's pieces become a file, and nothing that it says can make another one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from media_server.errors import LimitExceeded, Unavailable
from media_server.jobs.downloads import Downloads
from media_server.jobs.events import FileMade, PieceMade

MADE = FileMade(output="mp3-320", format="mp3", bitrate_bps=320_000, rate_hz=48_000, channels=2)


def piece(offset: int) -> PieceMade:
    return PieceMade(output="mp3-320", offset=offset)


def test_later_pieces_lie_over_earlier_ones(tmp_path: Path) -> None:
    """Muxers come back to fill in what they know only at the end."""
    downloads = Downloads(tmp_path, 100)
    for offset, data in [(0, b"....sound"), (9, b" and more"), (0, b"head")]:
        downloads.write(piece(offset), data)
    made = downloads.finish(MADE)
    assert made.path.read_bytes() == b"headsound and more"
    assert (made.size_bytes, made.sha256) == (18, hashlib.sha256(b"headsound and more").hexdigest())


def test_a_file_has_no_holes(tmp_path: Path) -> None:
    """A child that was taken over must not make a file of terabytes."""
    downloads = Downloads(tmp_path, 1 << 50)
    downloads.write(piece(0), b"abc")
    with pytest.raises(Unavailable) as caught:
        downloads.write(piece(4), b"x")
    assert caught.value.code == "child_protocol"


def test_a_file_grows_only_to_its_limit(tmp_path: Path) -> None:
    downloads = Downloads(tmp_path, 4)
    downloads.write(piece(0), b"abcd")
    with pytest.raises(LimitExceeded) as caught:
        downloads.write(piece(3), b"de")
    assert (caught.value.code, caught.value.limits) == ("too_large", {"MAX_SOURCE_BYTES": 4.0})


def test_a_file_of_no_piece_is_none(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no piece"):
        Downloads(tmp_path, 4).finish(MADE)


def test_a_disk_that_refuses_is_not_the_track_s_fault(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        Downloads(tmp_path / "gone", 4).write(piece(0), b"a")
    assert caught.value.code == "disk"
