"""Tracks, packets and readers of boxes for the tests of hls/."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import cache

import av
import numpy as np
import pytest
from av.codec.context import Flags
from numpy.typing import NDArray

from hls.boxes import walk
from hls.cmaf import Track
from pipeline.ladder import Codec
from pipeline.media import Packet

FRAME = 1024
STEREO_ASC = bytes.fromhex("1190")  # AAC-LC, 48 kHz, 2 channels (ISO/IEC 14496-3 1.6.2.1)
STEREO_OPUS_HEAD = b"OpusHead" + bytes.fromhex("01 02 3801 80bb0000 0000 00")  # RFC 7845 5.1, pre-skip 312
# RFC 9639 8.2: blocks of 7680 samples, 96 kHz, 2 channels, 24 bits; no frame sizes, length and hash
STEREO_STREAM_INFO = bytes.fromhex("1e00 1e00 000000 000000 17700370 00000000") + bytes(16)

Sound = tuple[Track, list[Packet], NDArray[np.float32]]


@pytest.fixture(scope="session")
def track() -> Track:
    return Track(
        codec=Codec.AAC,
        rate_hz=48_000,
        channels=2,
        bitrate_bps=128_000,
        priming_samples=FRAME,
        codec_config=STEREO_ASC,
    )


@pytest.fixture(scope="session")
def opus_track() -> Track:
    return Track(
        codec=Codec.OPUS,
        rate_hz=48_000,
        channels=2,
        bitrate_bps=128_000,
        priming_samples=312,
        codec_config=STEREO_OPUS_HEAD,
    )


@pytest.fixture(scope="session")
def flac_track() -> Track:
    return Track(
        codec=Codec.FLAC,
        rate_hz=96_000,
        channels=2,
        bitrate_bps=0,
        priming_samples=0,
        codec_config=STEREO_STREAM_INFO,
        bit_depth=24,
    )


def made_packets(count: int, last_duration: int = FRAME) -> list[Packet]:
    """`count` packets as an AAC encoder numbers them: one of priming, the last one with padding."""
    packets = []
    for index in range(count):
        priming = FRAME if index == 0 else 0
        padding = FRAME - last_duration if 0 < index == count - 1 else 0
        packets.append(
            Packet(
                pts=max(0, (index - 1) * FRAME),
                duration=FRAME - priming - padding,
                data=struct.pack(">I", index) * (1 + index % 3),
                trim_start=priming,
                trim_end=padding,
            )
        )
    return packets


@pytest.fixture(scope="session")
def packets() -> Callable[..., list[Packet]]:
    return made_packets


@cache
def encoded_sound(
    samples: int, channels: int = 2, bitrate_bps: int = 128_000, codec: Codec = Codec.AAC
) -> Sound:
    """Noise of `samples` samples, coded by FFmpeg's encoder at 48 kHz; pcm has (channels, samples).

    The samples are 16-bit integers, so that FLAC has them exactly.
    """
    noise = np.random.default_rng(samples).normal(scale=0.1, size=(channels, samples + 64))
    pcm = np.apply_along_axis(np.convolve, 1, noise, np.hanning(9) / 4, mode="same")[:, :samples]
    pcm = np.ascontiguousarray(np.rint(pcm * 32_768) / 32_768, dtype=np.float32)
    layout = {1: "mono", 2: "stereo"}[channels]
    coder = av.CodecContext.create(codec.value, "w")
    coder.sample_rate, coder.layout = 48_000, layout
    coder.format = {Codec.AAC: "fltp", Codec.OPUS: "flt", Codec.FLAC: "s16"}[codec]
    if codec is Codec.FLAC:
        coder.options = {"frame_size": str(codec.frame_samples)}
    else:
        coder.bit_rate = bitrate_bps
    coder.flags |= Flags.global_header
    coder.open()
    configuration = bytes(coder.extradata)  # as it is before there is sound: that is when it is stored
    coded = []
    for start in range(0, samples, FRAME):
        part = np.ascontiguousarray(pcm[:, start : start + FRAME])
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
        frame.sample_rate, frame.pts = 48_000, start
        coded += coder.encode(frame)
    coded += coder.encode(None)
    priming = -coded[0].pts
    track = Track(
        codec=codec,
        rate_hz=48_000,
        channels=channels,
        bitrate_bps=bitrate_bps,
        priming_samples=priming,
        codec_config=configuration,
        bit_depth=16 if codec is Codec.FLAC else None,
    )
    # the last packet of FLAC has no sound in it
    return track, [_packet(item, codec) for item in coded if item.size], pcm


def _packet(coded: av.Packet, codec: Codec) -> Packet:
    start, end = coded.pts, coded.pts + coded.duration
    return Packet(
        pts=max(0, start),
        duration=max(0, end) - max(0, start),
        data=bytes(coded),
        trim_start=min(0, end) - min(0, start),
        trim_end=0 if codec is Codec.FLAC else codec.frame_samples - coded.duration,
    )


@pytest.fixture(scope="session")
def sound() -> Callable[..., Sound]:
    return encoded_sound


def found_payloads(data: bytes, path: str) -> list[bytes]:
    """The payloads of all boxes at `path`, for example `moov/trak/tkhd`, in the order of the file."""
    first, _, rest = path.partition("/")
    here = [data[box.payload_start : box.end] for box in walk(data) if box.kind == first.encode()]
    return [inner for payload in here for inner in found_payloads(payload, rest)] if rest else here


@pytest.fixture(scope="session")
def payloads() -> Callable[[bytes, str], list[bytes]]:
    return found_payloads


@pytest.fixture(scope="session")
def payload() -> Callable[[bytes, str], bytes]:
    """Reads the one box at a path."""

    def only(data: bytes, path: str) -> bytes:
        [found] = found_payloads(data, path)
        return found

    return only


def sample_durations(segment: bytes) -> Iterator[int]:
    """The duration of each sample, from tfhd's default or trun's own (ISO/IEC 14496-12 8.8.7, 8.8.8)."""
    [tfhd], [trun] = found_payloads(segment, "moof/traf/tfhd"), found_payloads(segment, "moof/traf/trun")
    flags, count = struct.unpack(">II", trun[:8])
    if not flags & 0x100:
        [default] = struct.unpack(">I", tfhd[8:12])
        yield from [default] * count
    else:
        yield from (duration for duration, _ in struct.iter_unpack(">II", trun[12:]))


@pytest.fixture(scope="session")
def durations() -> Callable[[bytes], list[int]]:
    return lambda segment: list(sample_durations(segment))
