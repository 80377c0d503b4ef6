"""Files that reliability's table "Bad inputs, and the exact result" speaks of: how they are made."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
import signals
import sources
from signals import Pcm

RATE_HZ = 48_000
SCRIPT = b'<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg xmlns="http://www.w3.org/2000/svg">&x;</svg>'
MEBIBYTE = 1 << 20


def written(pcm: Pcm, fmt: str, rate_hz: int = RATE_HZ, *, subtype: str | None = None) -> bytes:
    with TemporaryDirectory() as folder:
        signals.write(path := Path(folder, "x"), pcm, rate_hz, fmt, subtype=subtype)
        return path.read_bytes()


def encoded(pcm: Pcm, codec: str, container: str, rate_hz: int = RATE_HZ, **how: object) -> bytes:
    with TemporaryDirectory() as folder:
        sources.encode(path := Path(folder, "x"), pcm, rate_hz, codec, container, **how)
        return path.read_bytes()


def mp3(
    duration_s: float = 0.5, *, with_header: bool = False, rate_hz: int = 44_100, channels: int = 2
) -> bytes:
    """Frames without ID3; `with_header` adds the frame that counts them."""
    options = {"id3v2_version": "0", "write_xing": str(int(with_header))}
    pcm = signals.music(duration_s, rate_hz, channels)
    return encoded(pcm, "libmp3lame", "mp3", rate_hz, bit_rate_bps=128_000, options=options)


def wav(
    channels: int,
    rate_hz: int,
    samples: bytes,
    *,
    bits: int = 16,
    stated: int | None = None,
    before: bytes = b"",
) -> bytes:
    """PCM with any header; `stated` is how many bytes its chunk claims, `before` stands in front of that."""
    step = bits // 8 * channels
    fmt = struct.pack(
        "<4sIHHIIHH", b"fmt ", 16, 1, channels, rate_hz, (step * rate_hz) & 0xFFFFFFFF, step & 0xFFFF, bits
    )
    size = len(samples) if stated is None else stated
    body = b"WAVE" + fmt + before + struct.pack("<4sI", b"data", size) + samples
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def whole(duration_s: float = 0.5) -> bytes:
    """Stereo of 16 bits as a WAVE file has it, at 48 kHz."""
    return (signals.music(duration_s).T * 32_767).astype("<i2").tobytes()


def id3(*frames: tuple[bytes, bytes]) -> bytes:
    """A tag of version 2.3."""
    body = b"".join(name + struct.pack(">IH", len(data), 0) + data for name, data in frames)
    return b"ID3\3\0\0" + bytes(len(body) >> shift & 127 for shift in (21, 14, 7, 0)) + body


def movie(*, sound: bool) -> bytes:
    """An MP4 of a second with a moving picture."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        track = out.add_stream("aac", rate=RATE_HZ, layout="stereo") if sound else None
        if track:
            out.mux(track.encode(sources.frame(signals.music(0.5), RATE_HZ, "fltp")))
            out.mux(track.encode(None))
        for grey in range(0, 250, 10):
            picture = np.full((64, 64, 3), grey, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))
    return file.getvalue()


def songs(count: int, *, later: int = 0) -> bytes:
    """A Matroska of so many tracks; all but the first ten packets are `later` samples too late."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as out:
        streams = [out.add_stream("aac", rate=RATE_HZ, layout="stereo") for _ in range(count)]
        for stream in streams:
            coded = [*stream.encode(sources.frame(signals.music(0.5), RATE_HZ, "fltp")), *stream.encode(None)]
            for number, packet in enumerate(coded):
                packet.pts = packet.dts = packet.pts + (later if number >= 10 else 0)
                out.mux(packet)
    return file.getvalue()


def m4a() -> bytes:
    """With its index at the end."""
    return written(signals.music(0.5), "m4a")


def of_codec(name: bytes, config: bytes) -> bytes:
    """An M4A whose sample entry says that it is of another codec."""
    return m4a().replace(b"mp4a", name, 1).replace(b"esds", config)


def of_tracks(count: int) -> bytes:
    """An M4A that has its one track many times."""
    data = m4a()
    at = data.rindex(b"moov") - 4
    index = data[at:]
    start = index.index(b"trak") - 4
    end = start + int.from_bytes(index[start : start + 4], "big")
    return data[:at] + sources.atom(b"moov", index[8:start], index[start:end] * count, index[end:])


def greedy() -> bytes:
    """ALAC whose configuration asks for frames of 2^24 samples: 44 KB that want 300 MB at once."""
    data = bytearray(encoded(signals.music(0.3), "alac", "ipod", sample_format="s16p"))
    entry = data.index(b"alac", data.index(b"stsd"))
    at = data.index(b"alac", entry + 4) + 8
    data[at : at + 4] = (1 << 24).to_bytes(4, "big")
    return bytes(data)


def flac(*, cut_to: float = 1.0, changed_hash: bool = False) -> bytes:
    data = bytearray(written(signals.music(0.5), "flac"))
    if changed_hash:
        data[26] ^= 0xFF
    return bytes(data[: int(len(data) * cut_to)])


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as out:
        out.writestr("song.mp3", bytes(5000))
    return file.getvalue()


def noise(size_bytes: int) -> bytes:
    return random.Random(7).randbytes(size_bytes)


def with_noise(song: bytes, size_bytes: int) -> bytes:
    """So many bytes of it, in its middle, are others."""
    at = (len(song) - size_bytes) // 2
    return song[:at] + noise(size_bytes) + song[at + size_bytes :]


def interrupted() -> bytes:
    """An MP3 with as long a WAVE in its middle."""
    song = mp3(1.5)
    return song[: len(song) // 2] + wav(2, RATE_HZ, whole(1.5)) + song[len(song) // 2 :]


def counted_wrongly() -> bytes:
    """An MP3 whose Info frame states 5381 seconds."""
    song = bytearray(mp3(with_header=True))
    song[(at := song.index(b"Info") + 8) : at + 4] = (206_000).to_bytes(4, "big")
    return bytes(song)


def odd() -> Pcm:
    """Music with samples that are no numbers, or as large as no music is."""
    pcm = signals.music(0.5)
    pcm[0, 100], pcm[1, 500], pcm[0, 9000] = np.nan, np.inf, 1e30
    return pcm


def cover(data: bytes, media_type: bytes = b"image/png", count: int = 1) -> bytes:
    pictures = [(b"APIC", b"\0" + media_type + b"\0\3%d\0" % number + data) for number in range(count)]
    return id3(*pictures) + mp3()


def many_tags() -> bytes:
    return id3(*((b"TXXX", b"\0%05d\0x" % number) for number in range(40_000))) + mp3()


def harmful_tags() -> bytes:
    """Line ends, an escape, a script, half a surrogate pair, another code page, ten megabytes."""
    frames = (
        (b"TIT2", b"\0a\r\nX: 1\x1b[31m<script>"),
        (b"TPE1", b"\1\xff\xfe\0\xd8x\0"),
        (b"TALB", b"\0" + "\u30c6\u30b9\u30c8".encode("cp932")),
        (b"COMM", b"\0eng\0" + b"x" * 10_000_000),
    )
    return id3(*frames) + mp3()
