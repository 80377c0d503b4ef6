"""The probe reads this one file with this one demuxer, and knows its limits."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import pytest
import signals
import sources

from pipeline.errors import MediaError
from pipeline.probe import probe


@pytest.mark.parametrize("fmt", ["wav", "flac", "aiff", "ogg", "mp3", "m4a", "aac", "opus"])
def test_what_a_file_is_does_not_depend_on_its_name(tmp_path: Path, fmt: str) -> None:
    path = tmp_path / "song.txt"
    signals.write(path, signals.music(1.0, 48_000, 2), 48_000, fmt)
    info = probe(path)
    assert (info.rate_hz, info.channels) == (48_000, 2)
    assert info.duration_s == pytest.approx(1.0, abs=0.1)
    assert (info.bit_depth is not None) == (fmt in {"wav", "flac", "aiff"})


def wav_header(rate_hz: int, channels: int, bits: int = 16) -> bytes:
    block = channels * bits // 8
    data = bytes(block * 100)
    fmt = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_hz * block & 0xFFFFFFFF, block & 0xFFFF, bits)
    return (b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + struct.pack("<I", 16) + fmt
            + b"data" + struct.pack("<I", len(data)) + data)  # fmt: skip


@pytest.mark.parametrize(
    ("rate_hz", "channels", "code"),
    [(1, 2, "bad_rate"), (7_999, 2, "bad_rate"), (768_000, 2, "bad_rate"), (48_000, 9, "bad_channels"),
     (48_000, 255, "bad_channels")],
)  # fmt: skip
def test_rates_and_channels_outside_the_limits_are_refused(
    tmp_path: Path, rate_hz: int, channels: int, code: str
) -> None:
    """Bad inputs 31 to 33."""
    path = tmp_path / "x.wav"
    path.write_bytes(wav_header(rate_hz, channels))
    with pytest.raises(MediaError) as caught:
        probe(path)
    assert caught.value.code == code


def test_a_film_without_sound_is_refused(tmp_path: Path) -> None:
    """Bad input 13."""
    path = tmp_path / "x.mp4"
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        out.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        out.mux(stream.encode(None))
    with pytest.raises(MediaError) as caught:
        probe(path)
    assert caught.value.code == "no_audio_stream"


@pytest.mark.parametrize("entry", [b"drms", b"enca"])
def test_an_encrypted_file_is_refused_as_one(tmp_path: Path, entry: bytes) -> None:
    """Bad input 43: FairPlay and Common Encryption, told by the sample entry; without a key it is noise."""
    path = tmp_path / "x.m4a"
    signals.write(path, signals.music(0.2), 48_000, "m4a")
    path.write_bytes(path.read_bytes().replace(b"mp4a", entry, 1))
    with pytest.raises(MediaError) as caught:
        probe(path)
    assert caught.value.code == "encrypted"


def test_a_matroska_of_two_songs_plays_the_first_and_says_so(tmp_path: Path) -> None:
    """Bad input 15; and 16, with more streams than anybody means."""
    path = tmp_path / "x.mka"
    for count in (2, 17):
        with av.open(str(path), "w", format="matroska") as out:
            streams = [out.add_stream("pcm_s16le", rate=48_000, layout="mono") for _ in range(count)]
            out.start_encoding()
            for stream in streams:
                out.mux(stream.encode(sources.frame(signals.music(0.1, 48_000, 1), 48_000, "s16")))
                out.mux(stream.encode(None))
        if count == 2:
            assert probe(path).warnings == ("multiple_audio_streams",)
    with pytest.raises(MediaError) as caught:
        probe(path)
    assert caught.value.code == "too_many_streams"


def test_a_playlist_inside_an_upload_is_never_followed(tmp_path: Path) -> None:
    """Fact 5: FFmpeg plays neighbour files from inside uploads."""
    signals.write(tmp_path / "neighbour.wav", signals.music(0.2), 48_000, "wav")
    path = tmp_path / "x.mp3"
    for text in ("ffconcat version 1.0\nfile neighbour.wav\n", "#EXTM3U\n#EXTINF:1,\nneighbour.wav\n"):
        path.write_text(text)
        with pytest.raises(MediaError) as caught:
            probe(path)
        assert caught.value.code == "format_not_allowed"
