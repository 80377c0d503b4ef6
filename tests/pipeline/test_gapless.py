"""What a file says of its own length is believed where it fits."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import signals
import sources
from alignment import lag

from pipeline.decode import Reader
from pipeline.gapless import Gapless, parse_smpb, vorbis_length

NOTE = " 00000000 00000400 0000025C 000000000000BDA4 00000000 00000000 00000000 00000000"


def test_the_note_states_delay_padding_and_length() -> None:
    assert parse_smpb(NOTE) == Gapless(samples=48_548, padding=604)


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", NOTE[:20], NOTE.replace("BDA4", "0000"), NOTE.replace("000004", "0F0004"),
     NOTE.replace("025C", "x25C"), NOTE.replace("0000025C", "FFFFFFFF")],
)  # fmt: skip
def test_what_states_nothing_that_can_be_is_no_note(text: str) -> None:
    assert parse_smpb(text) is None


@pytest.mark.parametrize(("decoded", "excess"), [(1604, 604), (1000, 0), (900, 0), (1100, 100), (1605, 0)])
def test_only_padding_is_cut_off(decoded: int, excess: int) -> None:
    """A note that was copied from another file must not cost music."""
    assert Gapless(samples=1000, padding=604).excess(decoded) == excess


def itunes(path: Path, pcm: np.ndarray, note: str | None = None) -> None:
    """An M4A as iTunes wrote them: whole frames, no edit list, the note alone."""
    frames, priming = sources.whole_frames(path, pcm, 44_100), sources.AAC_PRIMING_SAMPLES
    padding = frames * sources.AAC_FRAME_SAMPLES - priming - pcm.shape[1]
    made = f" 00000000 {priming:08X} {padding:08X} {pcm.shape[1]:016X} 00000000 00000000"
    sources.add_itunes_tag(path, "iTunSMPB", note or made)


@pytest.mark.parametrize("samples", [20_000, 20_480, 20_481])
def test_an_m4a_of_itunes_is_as_long_as_its_note_says(tmp_path: Path, samples: int) -> None:
    pcm = signals.music(0.5, 44_100, 2)[:, :samples]
    itunes(tmp_path / "x.m4a", pcm)
    reader = Reader(tmp_path / "x.m4a", 10.0)
    got = np.concatenate([block.pcm for block in reader], axis=1)
    assert got.shape == pcm.shape
    assert reader.warnings == ()
    assert lag(pcm[0], got[0]) == 0


def test_a_note_of_another_file_costs_no_music(tmp_path: Path) -> None:
    pcm = signals.music(0.5, 44_100, 2)
    itunes(tmp_path / "x.m4a", pcm, note=f" 00000000 00000400 00000100 {10_000:016X} 00000000")
    assert sum(block.samples for block in Reader(tmp_path / "x.m4a", 10.0)) >= pcm.shape[1]


def page(serial: int, granule: int, body: bytes = b"x") -> bytes:
    return b"OggS\0\0" + struct.pack("<qII4xB", granule, serial, 0, 1) + bytes([len(body)]) + body


@pytest.mark.parametrize(
    ("pages", "samples"),
    [
        (page(7, 0) + page(7, 3993), 3993),
        (page(7, 0) + page(8, 3993), None),  # chained: the granules of each stream begin anew
        (page(7, 0) + page(7, -1), None),
        (page(7, 0), None),
        (b"OggS", None),
        (b"", None),
    ],
)
def test_vorbis_ends_at_the_granule_of_its_last_page(
    tmp_path: Path, pages: bytes, samples: int | None
) -> None:
    """Vorbis I A.2: the last one may be less than what its packets hold."""
    path = tmp_path / "x.ogg"
    path.write_bytes(pages)
    stated = vorbis_length(path)
    assert (stated and stated.samples) == samples


def test_a_vorbis_stream_of_one_page_is_not_longer_than_it_says(tmp_path: Path) -> None:
    """FFmpeg 8.1 decodes all of its last block."""
    pcm = signals.music(0.5, 8_000, 1)[:, :3993]
    signals.write(tmp_path / "x.ogg", pcm, 8_000, "ogg")
    assert sum(block.samples for block in Reader(tmp_path / "x.ogg", 10.0)) == 3993
