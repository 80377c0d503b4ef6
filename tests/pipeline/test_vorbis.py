"""Ogg Vorbis: libsndfile's sound, our headers."""

from __future__ import annotations

import signals
import whole_files

from pipeline.ogg import packets_of, pages_in


def test_a_cover_larger_than_a_page_comes_out_again(tmp_path) -> None:
    """Headers over several pages; the audio's pages are counted on behind them."""
    said = whole_files.about(cover=True)
    assert said.cover is not None
    padded = said.cover.data + bytes(100_000)  # what follows a JPEG's end is no part of the picture
    large = whole_files.About(
        tags=said.tags, loudness=said.loudness, cover=whole_files.Cover(data=padded, media_type="image/jpeg")
    )
    data = whole_files.made(whole_files.output("ogg-128"), signals.music(0.3), large)
    audio, tags = whole_files.seen(data, tmp_path)
    assert audio["picture"] == ("mjpeg", 64, 48)
    assert tags["title"] == "Überfahrt"
    pages = list(pages_in(bytearray(data)))
    assert [page.number for page in pages] == list(range(len(pages)))
    assert {page.serial for page in pages} == {1}
    assert len(packets_of(pages)[1]) > 100_000


def test_every_quality_is_nominally_its_bit_rate() -> None:
    """Vorbis I 4.2.2: the nominal bit rate in the identification header, of stereo at 48 kHz."""
    for kbit in (128, 192, 256, 320):
        data = whole_files.made(whole_files.output(f"ogg-{kbit}"), signals.silence(0.05))
        identification = packets_of(pages_in(bytearray(data)))[0]
        assert int.from_bytes(identification[20:24], "little") == kbit * 1000
