"""What a file says of its own length is believed where it fits."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import av
import numpy as np
import pytest
import signals
import sources
from alignment import lag

from pipeline.decode import Reader
from pipeline.gapless import Gapless, mp3_length, parse_smpb, vorbis_length

NOTE = " 00000000 00000400 0000025C 000000000000BDA4 00000000 00000000 00000000 00000000"

LAME_DELAY_SAMPLES, DECODER_DELAY_SAMPLES = 576, 529


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


def itunes_mp3(path: Path, pcm: np.ndarray, rate_hz: int, *, changed: int = 0, by_lame: bool = False) -> None:
    """An MP3 whose ID3v2.3 comment notes what its frames are; an Info frame that no trimming is read of.

    Args:
        changed: by how much the note has too many samples of sound.
        by_lame: leave the name of the encoder in the Info frame, and note nonsense that adds up.
    """
    sources.encode(path, pcm, rate_hz, "libmp3lame", "mp3", options={"id3v2_version": "0"})
    made = path.read_bytes()
    with av.open(io.BytesIO(made), format="mp3") as container:
        stream = container.streams.audio[0]
        frames = sum(1 for packet in container.demux(stream) if packet.size)
    total = frames * (1152 if rate_hz >= 32_000 else 576)
    priming = 4000 if by_lame else LAME_DELAY_SAMPLES + DECODER_DELAY_SAMPLES
    padding = total - priming - pcm.shape[1] if not by_lame else 0
    samples = total - priming - padding + changed
    note = f" 00000000 {priming:08X} {padding:08X} {samples:016X} 00000000 00000000"
    frame = b"\0engiTunSMPB\0" + note.encode()
    tag = b"COMM" + len(frame).to_bytes(4, "big") + b"\0\0" + frame
    if not by_lame:
        assert made.count(b"Lavc") + made.count(b"Lavf") == 1
        made = made.replace(b"Lavc", b"iTun").replace(b"Lavf", b"iTun")
    path.write_bytes(b"ID3\3\0\0\0\0" + bytes([len(tag) >> 7, len(tag) & 127]) + tag + made)


@pytest.mark.parametrize(
    ("rate_hz", "channels", "samples"), [(44_100, 2, 20_001), (48_000, 1, 5_000), (22_050, 2, 12_345)]
)
def test_an_mp3_of_itunes_is_as_long_as_its_note_says(
    tmp_path: Path, rate_hz: int, channels: int, samples: int
) -> None:
    """FFmpeg 8.1 looks for no such note in an MP3; its delay has the decoder's in it, as AAC's has."""
    pcm = signals.music(1.0, rate_hz, channels)[:, :samples]
    itunes_mp3(tmp_path / "x.mp3", pcm, rate_hz)
    reader = Reader(tmp_path / "x.mp3", 10.0)
    blocks = list(reader)
    got = np.concatenate([block.pcm for block in blocks], axis=1)
    assert got.shape == pcm.shape
    assert reader.warnings == ()
    assert lag(pcm[0], got[0]) == 0
    assert [block.pts for block in blocks] == [0, *np.cumsum([block.samples for block in blocks])[:-1]]


def test_where_lame_says_how_long_an_mp3_is_the_note_is_not_asked(tmp_path: Path) -> None:
    """iTunes makes a note of its own in files of other encoders."""
    pcm = signals.music(0.5, 44_100, 2)[:, :20_001]
    itunes_mp3(tmp_path / "x.mp3", pcm, 44_100, by_lame=True)
    got = np.concatenate([block.pcm for block in Reader(tmp_path / "x.mp3", 10.0)], axis=1)
    assert got.shape == pcm.shape
    assert lag(pcm[0], got[0]) == 0


@pytest.mark.parametrize("changed", [1, -1152])
def test_a_note_that_is_not_of_these_frames_trims_nothing_of_an_mp3(tmp_path: Path, changed: int) -> None:
    """A file that was cut, or a tag that was copied: what begins late would have lost music."""
    pcm = signals.music(0.5, 44_100, 2)[:, :20_001]
    itunes_mp3(tmp_path / "x.mp3", pcm, 44_100, changed=changed)
    got = np.concatenate([block.pcm for block in Reader(tmp_path / "x.mp3", 10.0)], axis=1)
    assert lag(pcm[0], got[0]) == LAME_DELAY_SAMPLES + DECODER_DELAY_SAMPLES
    assert got.shape[1] % 1152 == 0


@pytest.mark.parametrize("text", ["", "nonsense", NOTE])
def test_a_note_without_an_mp3_around_it_says_nothing(tmp_path: Path, text: str) -> None:
    pcm = signals.music(0.1, 44_100, 1)
    signals.write(tmp_path / "x.mp3", pcm, 44_100, "mp3")
    assert mp3_length(text, tmp_path / "x.mp3") is None


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
    assert stated is None or stated.is_all


@pytest.mark.parametrize("samples", [4_000, 24_000, 144_000])
def test_a_vorbis_stream_of_one_page_is_not_shorter_than_it_says(tmp_path: Path, samples: int) -> None:
    """Of silence, whose packets are small: FFmpeg 8.1 takes half a short block too much off its end."""
    pcm = signals.silence(3.0)[:, :samples]
    signals.write(tmp_path / "x.ogg", pcm, 48_000, "ogg")
    stated = vorbis_length(tmp_path / "x.ogg")
    assert stated is not None
    assert stated.is_all
    assert sum(block.samples for block in Reader(tmp_path / "x.ogg", 10.0)) == samples


def test_a_vorbis_stream_of_one_page_is_not_longer_than_it_says(tmp_path: Path) -> None:
    """FFmpeg 8.1 decodes all of its last block."""
    pcm = signals.music(0.5, 8_000, 1)[:, :3993]
    signals.write(tmp_path / "x.ogg", pcm, 8_000, "ogg")
    assert sum(block.samples for block in Reader(tmp_path / "x.ogg", 10.0)) == 3993
