"""Signals that tests are made of, and the files they are written to.

Deterministic: the same call gives the same samples. PCM is float32 of the shape (channels, samples).
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal, get_args

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from pipeline.media import Block

Pcm = NDArray[np.float32]

LOSSY = {
    "mp3": ("libmp3lame", "mp3", "fltp", 320_000),
    "m4a": ("aac", "mp4", "fltp", 192_000),
    "aac": ("aac", "adts", "fltp", 192_000),
    "opus": ("libopus", "ogg", "flt", 128_000),
}
"""Encoder, container, sample format and bit rate; that of mp3 fills every rung."""

WholeSignal = Literal["wander", "quiet", "full scale", "silence"]
WHOLE_SIGNALS: tuple[WholeSignal, ...] = get_args(WholeSignal)

SOUNDFILE = {"wav": "WAV", "flac": "FLAC", "aiff": "AIFF", "ogg": "OGG"}

SOUNDFILE_TAGS = {"title", "artist", "album", "date", "genre", "comment", "copyright", "tracknumber"}

CAN_CARRY_A_COVER = {"mp3", "m4a"}


def seconds(duration_s: float, rate_hz: int) -> NDArray[np.float64]:
    """The times of the samples."""
    return np.arange(round(duration_s * rate_hz)) / rate_hz


def sine(
    frequency_hz: float,
    duration_s: float,
    rate_hz: int = 48_000,
    *,
    amplitude: float = 0.5,
    channels: int = 2,
    phase_deg: float = 0.0,
) -> Pcm:
    """The same sine in every channel."""
    phase = 2 * np.pi * frequency_hz * seconds(duration_s, rate_hz) + np.radians(phase_deg)
    return np.tile((amplitude * np.sin(phase)).astype(np.float32), (channels, 1))


def square(half_period_samples: int, samples: int, *, amplitude: float = 1.0, channels: int = 2) -> Pcm:
    """A square wave that a clipped master looks like, the same in every channel."""
    high = np.arange(samples) // half_period_samples % 2 == 0
    return np.tile(np.where(high, amplitude, -amplitude).astype(np.float32), (channels, 1))


def steps(levels_dbfs: Sequence[tuple[float, float]], rate_hz: int = 48_000, *, channels: int = 2) -> Pcm:
    """A 1 kHz sine whose peak follows (level, seconds) pairs; the phase goes on where the level steps."""
    amplitude = np.concatenate([np.full(round(s * rate_hz), 10 ** (db / 20)) for db, s in levels_dbfs])
    wave = amplitude * np.sin(2 * np.pi * 1000 * np.arange(len(amplitude)) / rate_hz)
    return np.tile(wave.astype(np.float32), (channels, 1))


def sweep(
    from_hz: float, to_hz: float, duration_s: float, rate_hz: int = 48_000, *, amplitude: float = 0.5
) -> Pcm:
    """Two channels of a sine that rises by as many octaves in each second."""
    t = seconds(duration_s, rate_hz)
    octaves_per_s = np.log(to_hz / from_hz) / duration_s
    phase = 2 * np.pi * from_hz * np.expm1(octaves_per_s * t) / octaves_per_s
    return np.tile((amplitude * np.sin(phase)).astype(np.float32), (2, 1))


def impulses(at_samples: Sequence[int], samples: int, *, amplitude: float = 1.0, channels: int = 2) -> Pcm:
    """Silence but for single samples."""
    out = np.zeros((channels, samples), np.float32)
    out[:, list(at_samples)] = amplitude
    return out


def noise(
    duration_s: float, rate_hz: int = 48_000, *, rms: float = 0.1, channels: int = 2, seed: int = 1
) -> Pcm:
    """White noise, independent in each channel."""
    generator = np.random.default_rng(seed)
    return generator.normal(0, rms, (channels, round(duration_s * rate_hz))).astype(np.float32)


def pink(
    duration_s: float, rate_hz: int = 48_000, *, rms: float = 0.1, channels: int = 2, seed: int = 1
) -> Pcm:
    """Noise with as much power in each octave from 20 Hz up, independent in each channel."""
    samples = round(duration_s * rate_hz)
    spectrum = np.fft.rfft(noise(duration_s, rate_hz, channels=channels, seed=seed))
    frequency_hz = np.fft.rfftfreq(samples, 1 / rate_hz)
    shaped = np.fft.irfft(spectrum * (frequency_hz >= 20) / np.sqrt(np.maximum(frequency_hz, 20)), samples)
    return (shaped * (rms / shaped.std())).astype(np.float32)


def silence(duration_s: float, rate_hz: int = 48_000, channels: int = 2) -> Pcm:
    return np.zeros((channels, round(duration_s * rate_hz)), np.float32)


def music(duration_s: float, rate_hz: int = 48_000, channels: int = 2, *, peak: float = 0.7) -> Pcm:
    """A mixture with harmonics, beats, a slow swell and some noise; channels differ; never silent."""
    t = seconds(duration_s, rate_hz)
    beat = np.exp(-6 * (t * 2 % 1))
    swell = 0.6 + 0.4 * np.sin(2 * np.pi * 0.13 * t)
    out = []
    for channel in range(channels):
        notes = sum(
            np.sin(2 * np.pi * f * t + channel * k) / (k + 1)
            for k, f in enumerate((110.0, 220.0, 277.18, 329.63, 880.0, 3520.0))
        )
        hiss = np.random.default_rng(channel).normal(0, 0.3, len(t))
        out.append(swell * notes + beat * hiss)
    mixed = np.array(out)
    return (mixed * (peak / max(np.abs(mixed).max(initial=0.0), 1e-9))).astype(np.float32)


def whole(kind: WholeSignal, samples: int, *, channels: int = 2) -> NDArray[np.int16]:
    """16-bit PCM by integer arithmetic alone, the same on every machine; channels differ."""
    i = np.arange(samples)
    lanes = []
    for channel in range(channels):
        wander = ((i * i * 7_919 + i * 104_729 * (channel + 1)) >> 3) % 65_536 - 32_768
        match kind:
            case "wander":
                lanes.append(wander)
            case "quiet":
                lanes.append(wander // 100)
            case "full scale":
                lanes.append(np.where(i // (100 + 57 * channel) % 2, -32_768, 32_767))
            case "silence":
                lanes.append(0 * i)
    return np.array(lanes, np.int16)


def as_float(pcm: NDArray[np.int16]) -> Pcm:
    """16-bit PCM as a decoder gives it."""
    return pcm.astype(np.float32) / np.float32(32_768)


def blocks(pcm: Pcm, size: int = 16_384) -> list[Block]:
    """The signal as a decoder gives it: in order, without a hole, the last one shorter."""
    return [Block(pts=start, pcm=pcm[:, start : start + size]) for start in range(0, pcm.shape[1], size)]


def write(
    path: Path,
    pcm: Pcm,
    rate_hz: int,
    fmt: str,
    *,
    subtype: str | None = None,
    tags: Mapping[str, str] | None = None,
    cover: bytes | None = None,
) -> int:
    """Write PCM as a file of the format, whatever the path is called.

    Args:
        fmt: wav, flac, aiff, ogg (Vorbis), mp3, m4a, aac (ADTS) or opus.
        subtype: libsndfile's, for the first four.
        tags: for the first four only what libsndfile has a name for.
        cover: a PNG, attached as a picture (mp3 and m4a).
    Returns:
        how many samples of each channel a gapless reader must find in it.
    """
    assert cover is None or fmt in CAN_CARRY_A_COVER
    if fmt in SOUNDFILE:
        assert set(tags or {}) <= SOUNDFILE_TAGS
        with soundfile.SoundFile(path, "w", rate_hz, len(pcm), subtype, format=SOUNDFILE[fmt]) as file:
            for name, value in (tags or {}).items():
                setattr(file, name, value)
            file.write(pcm.T)
        return pcm.shape[1]
    codec, container, sample_format, bit_rate = LOSSY[fmt]
    layout = "mono" if pcm.shape[0] == 1 else "stereo"
    with av.open(str(path), "w", format=container) as out:
        out.metadata.update(tags or {})
        stream = out.add_stream(codec, rate=rate_hz, layout=layout)
        stream.bit_rate = bit_rate
        picture = out.add_stream("png", rate=1) if cover else None
        if picture is not None:
            picture.disposition = av.stream.Disposition.attached_pic
        if picture is not None and cover is not None:
            # only what the muxer asks for; the picture's own header is what a reader goes by
            picture.width, picture.height, picture.pix_fmt = 8, 8, "rgb24"
        out.start_encoding()
        if picture is not None and cover is not None:
            packet = av.Packet(cover)
            packet.stream, packet.pts, packet.dts = picture, 0, 0
            out.mux(packet)
        planar = pcm if sample_format.endswith("p") else np.ascontiguousarray(pcm.T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(planar), format=sample_format, layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, 0, Fraction(1, rate_hz)
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return pcm.shape[1]


def picture(width: int, height: int) -> bytes:
    """A PNG with a gradient."""
    ramp = np.linspace(0, 255, width, dtype=np.uint8)
    pixels = np.repeat(np.tile(ramp, (height, 1))[:, :, None], 3, axis=2)
    encoder = av.CodecContext.create("png", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = width, height, "rgb24", Fraction(1, 1)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def pixels(data: bytes) -> NDArray[np.uint8]:
    """The pixels of a picture file, shape (height, width, 4): red, green, blue, opacity."""
    with av.open(io.BytesIO(data)) as opened:
        frame = next(opened.decode(video=0))
        assert isinstance(frame, av.VideoFrame)
        return np.asarray(frame.to_ndarray(format="rgba"))


def jpeg(width: int, height: int) -> bytes:
    """The same gradient as a JPEG."""
    decoder = av.CodecContext.create("png", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    frame = decoder.decode(av.Packet(picture(width, height)))[0].reformat(format="yuvj420p")
    encoder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = (
        width,
        height,
        "yuvj420p",
        Fraction(1, 1),
    )
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def picture_header(width: int, height: int) -> bytes:
    """A small PNG whose header claims another size."""
    small = bytearray(picture(8, 8))
    small[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    small[29:33] = zlib.crc32(bytes(small[12:29])).to_bytes(4, "big")
    return bytes(small)
