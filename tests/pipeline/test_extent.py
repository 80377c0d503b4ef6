"""A file that stops before its own end is told from one that does not."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from pipeline.extent import is_cut_off


def wave(path: Path, stated: int, present: int, ds64: int | None = None) -> Path:
    """A WAVE file whose data chunk states one size and has another."""
    chunks = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    if ds64 is not None:
        chunks = b"ds64" + struct.pack("<IQQQI", 28, 0, ds64, 0, 0) + chunks
    path.write_bytes(
        (b"RIFF" if ds64 is None else b"RF64") + b"\0\0\0\0WAVE" + chunks
        + b"LIST" + struct.pack("<I", 3) + b"abc\0"
        + b"data" + struct.pack("<I", stated) + bytes(present)
    )  # fmt: skip
    return path


@pytest.mark.parametrize(
    ("stated", "present", "cut"),
    [(100, 100, False), (100, 99, True), (100, 120, False), (0, 50, False), (0xFFFFFFFF, 50, False)],
)
def test_a_wave_is_cut_off_if_its_data_chunk_promises_more(
    tmp_path: Path, stated: int, present: int, cut: bool
) -> None:
    """Bad input 35: sizes that a writer never filled in promise nothing."""
    assert is_cut_off(wave(tmp_path / "x.wav", stated, present), "wav") is cut


def test_rf64_states_its_size_in_ds64(tmp_path: Path) -> None:
    """EBU Tech 3306."""
    assert is_cut_off(wave(tmp_path / "a.wav", 0xFFFFFFFF, 50, ds64=60), "wav")
    assert not is_cut_off(wave(tmp_path / "b.wav", 0xFFFFFFFF, 60, ds64=60), "wav")


def page(flags: int, body: bytes) -> bytes:
    return b"OggS\0" + bytes([flags]) + bytes(20) + bytes([1, len(body)]) + body


def test_an_ogg_ends_with_a_whole_page_marked_as_the_last(tmp_path: Path) -> None:
    """RFC 3533 6: header type 0x04."""
    path = tmp_path / "x.ogg"
    path.write_bytes(page(2, b"head") + page(4, b"tail"))
    assert not is_cut_off(path, "ogg")
    path.write_bytes(page(2, b"head") + page(0, b"middle"))
    assert is_cut_off(path, "ogg")
    path.write_bytes((page(2, b"head") + page(4, b"tail"))[:-1])
    assert is_cut_off(path, "ogg")
