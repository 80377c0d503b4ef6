"""MP3, M4A, Opus and FLAC files: FFmpeg's encoders and muxers, fed with Blocks.

What makes a file gapless is in each: delay and padding in MP3's LAME tag, the edit list in M4A, pre-skip and
the last page's granule in Opus (RFC 7845 4.2, 4.4), STREAMINFO's samples and MD5 in FLAC (RFC 9639 8.2).
The same Blocks give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.about import About, edges_of, picture_comment, spelled
from pipeline.encode import CODER_OPTIONS, THOROUGH_OPTIONS
from pipeline.id3 import HEADER_BYTES, language_frames, tag_end
from pipeline.ladder import Codec
from pipeline.m4a import reserved_bytes, with_freeform
from pipeline.media import Block, Pcm
from pipeline.outputs import Format, Output
from pipeline.sink import Piece, Sink

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import OutputContainer

LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
"""What a count of channels stands for (RFC 9639 9.1.3)."""

BITEXACT = {"fflags": "+bitexact"}
"""No version of a library and no random serial number in the file."""

PICTURED = frozenset({Format.MP3, Format.M4A, Format.FLAC})
"""Where the muxer takes the cover as a stream; elsewhere it is a comment."""

LAME_LOUDER = {192_000: 1 / 0.97, 256_000: 1.0, 320_000: 1.0}
LAME_LOUDER_BELOW = 1 / 0.95
"""LAME turns sound down before it codes it, by bit rate (measured: a sine comes back at 0.95 or 0.97 of its
level). Every file is to be as loud as the ladder, so it is turned up by as much; floats do not clip."""

MP3_FRAME_SAMPLES = 1152
"""A reader of MP3 wants to see two frames; a shorter track keeps one of nothing but padding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Muxing:
    """How FFmpeg makes a format: names of its coder, its muxer and the samples it takes."""

    coder: str
    muxer: str
    sample_format: str
    coder_options: Mapping[str, str] = field(default_factory=dict)
    muxer_options: Mapping[str, str] = field(default_factory=dict)


MUXINGS = {
    # ID3v2.3 is what every player reads; 2.4's texts are lost on some
    Format.MP3: Muxing(
        coder="libmp3lame", muxer="mp3", sample_format="fltp", muxer_options={"id3v2_version": "3"}
    ),
    Format.M4A: Muxing(
        coder="aac",
        muxer="mp4",
        sample_format="fltp",
        coder_options=THOROUGH_OPTIONS,  # nobody listens to it while it is made, or measures it afterwards
        muxer_options={"brand": "M4A "},
    ),
    Format.OPUS: Muxing(
        coder="libopus", muxer="ogg", sample_format="flt", coder_options=CODER_OPTIONS[Codec.OPUS]
    ),
    Format.FLAC: Muxing(coder="flac", muxer="flac", sample_format="s16"),
}


class ContainerWriter:
    """A stage: Blocks at the output's rate and channels in, Pieces of the file out.

    Args:
        samples: how many will be pushed; an M4A keeps room for an index of that many at its front.
    """

    def __init__(self, output: Output, about: About, samples: int) -> None:
        self._output = output
        self._samples = samples
        self._about = about
        self._muxing = MUXINGS[output.format]
        self._layout = LAYOUTS[output.channels]
        self._sample_format = "s32" if output.bit_depth == 24 else self._muxing.sample_format
        self._louder = np.float32(1.0)
        if output.format is Format.MP3:
            self._louder = np.float32(LAME_LOUDER.get(output.bitrate_bps or 0, LAME_LOUDER_BELOW))
        self._sink = Sink()
        self._frames = language_frames(about) if output.format is Format.MP3 else b""
        self._head = bytearray(HEADER_BYTES)
        options = {**BITEXACT, **self._muxing.muxer_options}
        if output.format is Format.MP3:
            options["metadata_header_padding"] = str(len(self._frames))
        if output.format is Format.M4A:
            options["moov_size"] = str(reserved_bytes(about, output, samples))
            options["movie_timescale"] = str(output.rate_hz)  # an edit list counts in it: to the sample
        self._container: OutputContainer = av.open(
            self._sink, "w", format=self._muxing.muxer, options=options
        )
        self._stream = self._open()

    def _open(self) -> AudioStream:
        output, container = self._output, self._container
        container.metadata.update(spelled(self._about, output.format))
        if output.format not in PICTURED:
            container.metadata.update(picture_comment(self._about))
        stream = cast(
            "AudioStream",
            container.add_stream(
                self._muxing.coder,
                rate=output.rate_hz,
                layout=self._layout,
                options=dict(self._muxing.coder_options),
            ),
        )
        context = stream.codec_context
        if output.bitrate_bps:
            stream.bit_rate = output.bitrate_bps
        context.format = self._sample_format
        context.time_base = Fraction(1, output.rate_hz)
        context.flags |= av.codec.context.Flags.bitexact
        if self._about.cover is not None and output.format in PICTURED:
            self._add_picture(self._about.cover.data, edges_of(self._about.cover))
        else:
            container.start_encoding()
        return stream

    def _add_picture(self, jpeg: bytes, edges: tuple[int, int]) -> None:
        picture = self._container.add_stream("mjpeg", rate=1)
        picture.disposition = av.stream.Disposition.attached_pic
        picture.width, picture.height = edges
        picture.pix_fmt = "yuvj420p"
        picture.metadata["comment"] = "Cover (front)"  # FFmpeg's word for the type of an attached picture
        self._container.start_encoding()
        packet = av.Packet(jpeg)
        packet.stream, packet.pts, packet.dts = picture, 0, 0
        self._container.mux(packet)

    def push(self, block: Block) -> list[Piece]:
        interleaved = not self._sample_format.endswith("p")
        pcm = as_samples(block.pcm * self._louder, self._sample_format)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(pcm.T).reshape(1, -1) if interleaved else np.ascontiguousarray(pcm),
            format=self._sample_format,
            layout=self._layout,
        )
        frame.sample_rate, frame.pts = self._output.rate_hz, block.pts
        frame.time_base = Fraction(1, self._output.rate_hz)
        self._container.mux(self._stream.encode(frame))
        return self._taken()

    def flush(self) -> list[Piece]:
        """The end of the file, and what the muxer could fill in only now."""
        last = self._stream.encode(None)
        if self._output.format is Format.MP3 and self._samples > MP3_FRAME_SAMPLES:
            # the muxer takes the padding of the last frame for all there is: it must not be of nothing else
            last = [packet for packet in last if packet.duration]
        self._container.mux(last)
        self._container.close()
        pieces = self._taken(everything=True)
        if self._output.format is Format.M4A:
            return with_freeform(pieces, self._about)
        if self._frames:
            pieces.append(Piece(tag_end(self._head) - len(self._frames), self._frames))
        return pieces

    def _taken(self, *, everything: bool = False) -> list[Piece]:
        pieces = self._sink.take(everything=everything)
        for piece in pieces:
            if piece.offset < HEADER_BYTES:  # behind a picture the muxer comes back to it
                self._head[piece.offset : piece.offset + len(piece.data)] = piece.data[
                    : HEADER_BYTES - piece.offset
                ]
        return pieces


def as_samples(pcm: Pcm, sample_format: str) -> NDArray[Any]:
    """PCM in a coder's own numbers: what came from 16 or 24 bits becomes these bits again, no other.

    24 bits stand in the upper part of 32.
    """
    match sample_format:
        case "s16":
            return _whole(pcm, 16).astype(np.int16)
        case "s32":
            return np.asarray(_whole(pcm, 24).astype(np.int32) << 8)
    return pcm


def _whole(pcm: Pcm, bits: int) -> NDArray[Any]:
    full_scale = 1 << (bits - 1)
    return np.asarray(np.rint(pcm * np.float32(full_scale)).clip(-full_scale, full_scale - 1))
