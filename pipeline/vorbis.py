"""Ogg Vorbis files: libsndfile's encoder, with the comments and the serial number put in afterwards.

libsndfile knows eight tags, no picture, and draws the stream's number by lot. Its pages are passed on as they
come; only the header pages are made anew. Source: Vorbis I 4.2, 5; RFC 3533.
"""

from __future__ import annotations

import numpy as np
import soundfile

from pipeline.about import About, picture_comment, spelled
from pipeline.media import Block
from pipeline.ogg import Page, comment_header, header_pages, packets_of, pages_in, renumbered
from pipeline.outputs import Format, Output
from pipeline.sink import Piece, Sink

QUALITIES = {128: 0.4, 192: 0.6, 256: 0.8, 320: 0.9}
"""libvorbis's quality whose nominal bit rate at 44.1 and 48 kHz in stereo is this many kbit/s."""

SERIAL = 1
HEADER_PACKETS = 3


class VorbisWriter:
    """A stage: Blocks at the output's rate and channels in, Pieces of the file out."""

    def __init__(self, output: Output, about: About) -> None:
        self._comments = {**spelled(about, Format.OGG), **picture_comment(about)}
        self._coded = Sink()
        self._file = Sink()
        self._waiting = bytearray()
        self._headers: list[Page] | None = []
        self._pages = 0
        stereo_kbit = (output.bitrate_bps or 0) * 2 // output.channels // 1000
        self._encoder = soundfile.SoundFile(
            self._coded,
            "w",
            output.rate_hz,
            output.channels,
            "VORBIS",
            format="OGG",
            # libsndfile takes what is left of the quality
            compression_level=1.0 - QUALITIES[stereo_kbit],
        )

    def push(self, block: Block) -> list[Piece]:
        self._encoder.write(np.ascontiguousarray(block.pcm.T))
        return self._pass_on()

    def flush(self) -> list[Piece]:
        self._encoder.close()
        return self._pass_on(everything=True)

    def _pass_on(self, *, everything: bool = False) -> list[Piece]:
        for piece in self._coded.take(everything=True):
            self._waiting += piece.data
        for page in pages_in(self._waiting):
            if self._headers is None:
                self._write(page)
            else:
                self._take_header(page)
        return self._file.take(everything=everything)

    def _take_header(self, page: Page) -> None:
        """Wait for all three headers; the first is alone on its page, the audio begins on one of its own."""
        assert self._headers is not None
        self._headers.append(page)
        packets = packets_of(self._headers)
        if len(packets) < HEADER_PACKETS:
            return
        self._write(self._headers[0])
        comments = comment_header(packets[1], self._comments)
        for made in header_pages([comments, packets[2]], SERIAL, self._pages):
            self._write(made)
        self._headers = None

    def _write(self, page: Page) -> None:
        self._file.write(renumbered(page, SERIAL, self._pages).to_bytes())
        self._pages += 1
