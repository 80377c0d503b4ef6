"""Sources as other people's programs write them: every codec and container that is read, and their oddities.

What a plain file of a format is lies in `signals`; here is what it may look like elsewhere.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile
from signals import Pcm

from pipeline.ogg import pages_in

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}

WAVE_PCM = struct.pack("<H", 1) + bytes.fromhex("000000001000800000aa00389b71")
"""KSDATAFORMAT_SUBTYPE_PCM."""


def encode(
    path: Path,
    pcm: Pcm,
    rate_hz: int,
    codec: str,
    container: str,
    *,
    sample_format: str = "fltp",
    bit_rate_bps: int | None = None,
    options: Mapping[str, str] | None = None,
    codec_options: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write PCM by an encoder of FFmpeg's into one of its containers.

    Args:
        sample_format: flt, fltp, s16, s16p or s32p: what the encoder takes.
        options: of the muxer.
    """
    with av.open(str(path), "w", format=container, options=dict(options or {})) as out:
        layout = LAYOUTS[len(pcm)]
        out.metadata.update(tags or {})
        stream = out.add_stream(codec, rate=rate_hz, layout=layout, options=dict(codec_options or {}))
        stream.format = sample_format
        if bit_rate_bps is not None:
            stream.bit_rate = bit_rate_bps
        out.mux(stream.encode(frame(pcm, rate_hz, sample_format)))
        out.mux(stream.encode(None))


def frame(pcm: Pcm, rate_hz: int, sample_format: str) -> av.AudioFrame:
    """The whole signal as one frame."""
    whole = {"s16": (32_767, np.int16), "s32": (2**31 - 1, np.int32), "flt": (1, np.float32)}
    scale, kind = whole[sample_format.removesuffix("p")]
    values = (pcm.astype(np.float64) * scale).astype(kind)
    planar = values if sample_format.endswith("p") else values.T.reshape(1, -1)
    made = av.AudioFrame.from_ndarray(np.ascontiguousarray(planar), sample_format, LAYOUTS[len(pcm)])
    made.sample_rate, made.pts, made.time_base = rate_hz, 0, Fraction(1, rate_hz)
    return made


AAC_FRAME_SAMPLES = AAC_PRIMING_SAMPLES = 1024
"""Of FFmpeg's AAC encoder."""

WITHOUT_SBR, WITH_SBR = bytes.fromhex("56e500"), bytes.fromhex("56e5a0")
"""How an AudioSpecificConfig ends (ISO 14496-3 1.6.5): no spectral band replication, and one to 44.1 kHz."""


def whole_frames(path: Path, pcm: Pcm, rate_hz: int) -> int:
    """An M4A without an edit list whose every AAC frame counts as presented; returns how many there are.

    The index stands at its end, and there are no tags.
    """
    options = {"use_editlist": "0", "fflags": "+bitexact"}
    with av.open(str(path), "w", format="mp4", options=options) as out:
        stream = out.add_stream("aac", rate=rate_hz, layout=LAYOUTS[len(pcm)])
        packets = [*stream.encode(frame(pcm, rate_hz, "fltp")), *stream.encode(None)]
        for packet in packets:
            packet.duration = AAC_FRAME_SAMPLES
            out.mux(packet)
    return len(packets)


def set_opus_gain(path: Path, gain_db: float) -> None:
    """Put an output gain into the header of an Opus stream (RFC 7845 5.1, in MP4 the `dOps` box)."""
    data, steps = bytearray(path.read_bytes()), round(gain_db * 256)
    if (at := data.find(b"dOps")) >= 0:
        data[at + 12 : at + 14] = steps.to_bytes(2, "big", signed=True)
    else:
        at = data.index(b"OpusHead")
        data[at + 16 : at + 18] = steps.to_bytes(2, "little", signed=True)
    if data[:4] == b"OggS":
        first, *others = pages_in(data)
        data = bytearray(b"".join(page.to_bytes() for page in (first, *others)))
    path.write_bytes(data)


def high_efficiency(path: Path, pcm: Pcm, rate_hz: int, bit_rate_bps: int) -> None:
    """HE-AAC in an M4A: each frame ends with an element of spectral band replication, of an empty band.

    Args:
        rate_hz: of the core, 22,050; what is heard has twice that.
    """
    options = {"use_editlist": "0", "fflags": "+bitexact"}
    with av.open(str(path), "w", format="mp4", options=options) as out:
        stream = out.add_stream("aac", rate=rate_hz, layout=LAYOUTS[len(pcm)])
        stream.bit_rate = bit_rate_bps
        for coded in [*stream.encode(frame(pcm, rate_hz, "fltp")), *stream.encode(None)]:
            packet = av.Packet(_with_replication(bytes(coded)))
            packet.pts, packet.dts, packet.time_base = coded.pts, coded.dts, coded.time_base
            packet.duration, packet.stream = AAC_FRAME_SAMPLES, stream
            out.mux(packet)
    plain = path.read_bytes()
    assert plain.count(WITHOUT_SBR) == 1
    path.write_bytes(plain.replace(WITHOUT_SBR, WITH_SBR))


def _with_replication(coded: bytes) -> bytes:
    """A raw_data_block with a fill_element of one byte before its end (ISO 14496-3 4.4.2.1, 4.4.2.7)."""
    end, fill_element, one_byte, sbr_data, no_header = "111", "110", "0001", "1101", "0000"
    bits = "".join(f"{byte:08b}" for byte in coded).rstrip("0")
    assert bits.endswith(end)
    bits = bits.removesuffix(end) + fill_element + one_byte + sbr_data + no_header + end
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def add_itunes_tag(path: Path, name: str, value: str) -> None:
    """Give an M4A whose index stands at its end and has no tags yet a tag of iTunes' own kind."""
    text = atom(b"mean", bytes(4), b"com.apple.iTunes") + atom(b"name", bytes(4), name.encode())
    tag = atom(b"----", text, atom(b"data", b"\0\0\0\1", bytes(4), value.encode()))
    add_tags(path, tag)


def add_tags(path: Path, *tags: bytes) -> None:
    """As `add_itunes_tag`, for atoms that were made already."""
    whole = path.read_bytes()
    at = whole.rindex(b"moov") - 4
    handler = atom(b"hdlr", bytes(8), b"mdirappl", bytes(9))
    udta = atom(b"udta", atom(b"meta", bytes(4), handler, atom(b"ilst", *tags)))
    path.write_bytes(whole[:at] + atom(b"moov", whole[at + 8 :], udta))


def atom(kind: bytes, *parts: bytes) -> bytes:
    """A box of MP4."""
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def rf64(pcm: Pcm, rate_hz: int) -> bytes:
    """A WAVE file of 16 bits with sizes of 64 bits (EBU Tech 3306)."""
    file = io.BytesIO()
    soundfile.write(file, pcm.T, rate_hz, "PCM_16", format="RF64")
    return file.getvalue()


FLAC_BLOCK_SAMPLES = 65_535


def flac_of_silence(rate_hz: int, channels: int, duration_s: int) -> bytes:
    """FLAC of 16 bits in which a frame of a second and more has a few dozen bytes (RFC 9639 8.2, 9)."""
    samples = rate_hz * duration_s
    numbers = rate_hz << 44 | channels - 1 << 41 | 15 << 36 | samples
    about = struct.pack(">HH6xQ16x", FLAC_BLOCK_SAMPLES, FLAC_BLOCK_SAMPLES, numbers)
    frames = []
    for number, start in enumerate(range(0, samples, FLAC_BLOCK_SAMPLES)):
        block = min(FLAC_BLOCK_SAMPLES, samples - start)
        coded_number = chr(number).encode("utf-8", "surrogatepass")  # 9.1.5: as UTF-8 codes a character
        header = (
            b"\xff\xf8\x70" + bytes([channels - 1 << 4 | 8]) + coded_number + struct.pack(">H", block - 1)
        )
        header += _crc(header, 0x07, 8)
        frame = header + bytes(3) * channels  # 9.2.3: a subframe of one constant, 0
        frames.append(frame + _crc(frame, 0x8005, 16))
    return b"fLaC\x80" + len(about).to_bytes(3, "big") + about + b"".join(frames)


def _crc(data: bytes, polynomial: int, bits: int) -> bytes:
    """RFC 9639 9.1.8, 9.3: most significant bit first, from 0."""
    crc = 0
    for byte in data:
        crc ^= byte << bits - 8
        for _ in range(8):
            crc = crc << 1 ^ (polynomial if crc >> bits - 1 & 1 else 0)
            crc &= (1 << bits) - 1
    return crc.to_bytes(bits // 8, "big")


def wave_extensible(pcm: Pcm, rate_hz: int, mask: int) -> bytes:
    """A WAVE file of 16 bits whose header names the loudspeakers (WAVE_FORMAT_EXTENSIBLE)."""
    channels, step = len(pcm), 2 * len(pcm)
    header = struct.pack("<HHIIHHHHI", 0xFFFE, channels, rate_hz, rate_hz * step, step, 16, 22, 16, mask)
    data = np.round(pcm.T * 32_767).astype("<i2").tobytes()
    return riff(b"WAVE", (b"fmt ", header + WAVE_PCM), (b"data", data))


def riff(kind: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A RIFF file of these chunks."""
    padded = (name + struct.pack("<I", len(data)) + data + bytes(len(data) & 1) for name, data in chunks)
    body = kind + b"".join(padded)
    return b"RIFF" + struct.pack("<I", len(body)) + body
