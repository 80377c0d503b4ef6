"""The index stands at the front and holds the tags that iTunes has no atom for."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
import signals
import whole_files

from pipeline.m4a import reserved_bytes, with_freeform
from pipeline.sink import Piece


def boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        found.append((kind, data[at + 8 : at + size]))
        at += size
    return found


def test_the_index_is_in_front_of_the_sound() -> None:
    data = whole_files.made(whole_files.output("m4a-128"), signals.music(0.5), whole_files.about(cover=True))
    kinds = [kind for kind, _ in boxes(data)]
    assert [kind for kind in kinds if kind != b"free"] == [b"ftyp", b"moov", b"mdat"]


def test_the_edit_list_presents_the_sound_to_the_sample() -> None:
    """ISO/IEC 14496-12 8.6.6: the priming is skipped, the padding not presented."""
    data = whole_files.made(whole_files.output("m4a-128-44100"), signals.music(0.5, 44_100))
    moov = dict(boxes(data))[b"moov"]
    trak = dict(boxes(moov))[b"trak"]
    elst = dict(boxes(dict(boxes(trak))[b"edts"]))[b"elst"]
    assert struct.unpack(">IIIiI", elst) == (0, 1, 22_050, 1024, 1 << 16)
    timescale, duration = struct.unpack_from(">II", dict(boxes(moov))[b"mvhd"], 12)
    assert (timescale, duration) == (44_100, 22_050)


@pytest.mark.parametrize("tags", [{}, whole_files.TAGS], ids=["no other tag", "others"])
def test_replaygain_is_there_with_or_without_other_tags(tags: dict[str, str], tmp_path) -> None:
    said = replace(whole_files.about(), tags=tags)
    data = whole_files.made(whole_files.output("m4a-128"), signals.music(0.2), said)
    _, seen = whole_files.seen(data, tmp_path)
    assert seen["replaygain_track_gain"] == "-4.00 dB"
    assert seen["replaygain_track_peak"] == "0.891251"
    assert seen.get("isrc") == tags.get("isrc")


def test_there_is_room_for_the_index_of_the_longest_track() -> None:
    """Four bytes a frame, 188 frames in four seconds, and what does not grow."""
    output = whole_files.output("m4a-320")
    hours = reserved_bytes(whole_files.about(), output, 4 * 3600 * 48_000)
    assert hours > 4 * (4 * 3600 * 48_000 // 1024)
    lengths = [
        len(dict(boxes(whole_files.made(output, signals.noise(duration_s))))[b"moov"])
        for duration_s in (1.0, 5.0)
    ]
    assert lengths[0] < 2000
    assert lengths[1] - lengths[0] < 4 * 190 * 1.1


def test_an_index_larger_than_the_muxer_s_buffer_is_put_together(tmp_path) -> None:
    """FFmpeg writes 32 KiB at a time and comes back for the sizes; a song of three minutes has as much."""
    said = whole_files.about(cover=True)
    assert said.cover is not None
    large = replace(said.cover, data=said.cover.data + bytes(100_000))  # behind the end of a JPEG
    said = replace(said, tags=said.tags | {"title": "😀" * 1024}, cover=large)
    data = whole_files.made(whole_files.output("m4a-128"), signals.music(0.2), said)
    assert len(dict(boxes(data))[b"moov"]) > 100_000
    audio, tags = whole_files.seen(data, tmp_path)
    assert (audio["picture"], audio["duration_ts"]) == (("mjpeg", 64, 48), 9_600)
    assert (tags["title"], tags["replaygain_track_gain"]) == ("😀" * 1024, "-4.00 dB")


def test_an_index_without_room_is_an_error() -> None:
    tight = Piece(28, struct.pack(">I4s", 8, b"moov") + struct.pack(">I4s", 16, b"free") + bytes(8))
    with pytest.raises(ValueError, match="there is room for"):
        with_freeform([Piece(0, b"ftyp"), tight], whole_files.about())
