"""A FLAC file that decodes to something else than was encoded says so."""

from __future__ import annotations

from pathlib import Path

import pytest
import signals
import soundfile

from pipeline.decode import Reader

MD5 = slice(26, 42)
"""Of a file that begins with `fLaC` and STREAMINFO (RFC 9639 8.2)."""


def warnings(path: Path) -> tuple[str, ...]:
    reader = Reader(path, 60.0)
    assert sum(block.samples for block in reader)
    return reader.warnings


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
@pytest.mark.parametrize("channels", [1, 2, 3, 8])
def test_a_checksum_is_of_the_samples_whatever_their_size(
    tmp_path: Path, subtype: str, channels: int
) -> None:
    """libFLAC wrote it; bad input 20: kept, with the warning, where it does not fit."""
    path = tmp_path / "x.flac"
    soundfile.write(path, signals.music(0.15, 44_100, channels).T, 44_100, subtype, format="FLAC")
    assert warnings(path) == ()
    whole = bytearray(path.read_bytes())
    whole[MD5.start] ^= 1
    path.write_bytes(whole)
    assert warnings(path) == ("checksum_mismatch",)
    path.write_bytes(whole[: len(whole) * 3 // 4])
    assert warnings(path) == ("truncated",)  # which says why


def test_a_file_that_states_none_is_not_wrong(tmp_path: Path) -> None:
    """RFC 9639 8.2: all zeros mean that it was not computed."""
    path = tmp_path / "x.flac"
    signals.write(path, signals.music(0.1), 48_000, "flac")
    whole = bytearray(path.read_bytes())
    whole[MD5] = bytes(16)
    path.write_bytes(whole)
    assert warnings(path) == ()


def test_the_files_of_the_working_group_are_what_they_say(corpus_dir: Path) -> None:
    """IETF CELLAR's decoder test bench: 8 to 32 bits, odd block sizes, up to eight channels."""
    files = sorted((corpus_dir / "flac-test-files" / "subset").glob("*.flac"))[::6]
    assert len(files) >= 8
    for path in files:
        reader = Reader(path, 10.0)
        assert "checksum_mismatch" not in warnings(path), (path.name, reader.info)
