"""Every format of the requirements, by content: what is in it, how long it is, and where it starts.

Source: requirements I3. A codec's delay and padding are trimmed where the file states them, and stay where it
does not: a guess would take music away.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import signals
import soundfile
import sources
from alignment import lag

from pipeline.decode import Reader
from pipeline.media import MediaInfo, Pcm
from pipeline.probe import probe

Write = Callable[[Path, Pcm, int], object]


def decoded(path: Path) -> tuple[Pcm, Reader]:
    reader = Reader(path, 60.0)
    return np.concatenate([block.pcm for block in reader], axis=1), reader


def libsndfile(kind: str, subtype: str) -> Write:
    def write(path: Path, pcm: Pcm, rate_hz: int) -> None:
        soundfile.write(path, pcm.T, rate_hz, subtype, format=kind)

    return write


def ffmpeg(codec: str, container: str, sample_format: str = "fltp", **options: str) -> Write:
    def write(path: Path, pcm: Pcm, rate_hz: int) -> None:
        sources.encode(
            path, pcm, rate_hz, codec, container, sample_format=sample_format, codec_options=options
        )

    return write


def itunes(path: Path, pcm: Pcm, rate_hz: int) -> None:
    """AAC without an edit list, its length in iTunes' own tag."""
    frames, priming = sources.whole_frames(path, pcm, rate_hz), sources.AAC_PRIMING_SAMPLES
    padding = frames * sources.AAC_FRAME_SAMPLES - priming - pcm.shape[1]
    note = f" 00000000 {priming:08X} {padding:08X} {pcm.shape[1]:016X} 00000000 00000000"
    sources.add_itunes_tag(path, "iTunSMPB", note)


LOSSLESS: dict[str, tuple[Write, str, int, float]] = {
    "wav u8": (libsndfile("WAV", "PCM_U8"), "pcm_u8", 8, -42),
    "wav 16": (libsndfile("WAV", "PCM_16"), "pcm_s16le", 16, -90),
    "wav 24": (libsndfile("WAV", "PCM_24"), "pcm_s24le", 24, -138),
    "wav 32": (libsndfile("WAV", "PCM_32"), "pcm_s32le", 32, -180),
    "wav float": (libsndfile("WAV", "FLOAT"), "pcm_f32le", 32, -200),
    "wav double": (libsndfile("WAV", "DOUBLE"), "pcm_f64le", 64, -200),
    "wav extensible": (libsndfile("WAVEX", "PCM_24"), "pcm_s24le", 24, -138),
    "rf64": (libsndfile("RF64", "PCM_24"), "pcm_s24le", 24, -138),
    "aiff 16": (libsndfile("AIFF", "PCM_16"), "pcm_s16be", 16, -90),
    "aiff 24": (libsndfile("AIFF", "PCM_24"), "pcm_s24be", 24, -138),
    "aifc float": (libsndfile("AIFF", "FLOAT"), "pcm_f32be", 32, -200),
    "aifc little": (ffmpeg("pcm_s16le", "aiff", "s16"), "pcm_s16le", 16, -86),
    "flac 16": (libsndfile("FLAC", "PCM_16"), "flac", 16, -90),
    "flac 24": (libsndfile("FLAC", "PCM_24"), "flac", 24, -138),
    "flac in ogg": (ffmpeg("flac", "ogg", "s16"), "flac", 16, -86),
    "flac in mp4": (ffmpeg("flac", "mp4", "s16"), "flac", 16, -86),
    "alac 16": (ffmpeg("alac", "ipod", "s16p"), "alac", 16, -86),
    "alac 24": (ffmpeg("alac", "ipod", "s32p"), "alac", 24, -138),
}
"""How to write it; FFmpeg's name of its codec; bits of a sample; the largest error in dB of full scale."""

LOSSY: dict[str, tuple[Write, tuple[int, ...]]] = {
    "mp3 cbr": (ffmpeg("libmp3lame", "mp3", b="128000"), (16_000, 44_100, 48_000)),
    "mp3 vbr": (ffmpeg("libmp3lame", "mp3", flags="+qscale", global_quality="236"), (24_000, 44_100)),
    "m4a": (ffmpeg("aac", "ipod"), (8_000, 44_100, 96_000)),
    "m4a of itunes": (itunes, (44_100,)),
    "vorbis": (libsndfile("OGG", "VORBIS"), (8_000, 44_100, 192_000)),
    "opus": (ffmpeg("libopus", "ogg", "flt"), (48_000,)),
    "opus in webm": (ffmpeg("libopus", "webm", "flt"), (48_000,)),
    "opus in mp4": (ffmpeg("libopus", "mp4", "flt"), (48_000,)),
}
"""Those that state their own length: how to write it, and at which rates to try."""

STATE_NO_DELAY: dict[str, tuple[Write, int]] = {
    "adts": (ffmpeg("aac", "adts"), 1024),
    "mp3 without a tag": (
        lambda path, pcm, rate_hz: sources.encode(
            path, pcm, rate_hz, "libmp3lame", "mp3", bit_rate_bps=128_000, options={"write_xing": "0"}
        ),
        1105,
    ),
}
"""Where the encoder's delay is part of what is heard, and how long it is (LAME: 576 + 529)."""


@pytest.mark.parametrize(("write", "codec", "bits", "error_db"), LOSSLESS.values(), ids=LOSSLESS)
def test_a_lossless_file_gives_its_samples_back(
    tmp_path: Path, write: Write, codec: str, bits: int, error_db: float
) -> None:
    pcm = signals.music(0.1, 44_100, 2)
    path = tmp_path / "picture.jpg"
    write(path, pcm, 44_100)
    info = probe(path)
    assert (info.codec, info.bit_depth, info.rate_hz, info.channels) == (codec, bits, 44_100, 2)
    got, reader = decoded(path)
    assert got.shape == pcm.shape
    assert 20 * np.log10(np.abs(got - pcm).max() + 1e-30) < error_db
    assert reader.warnings == ()


@pytest.mark.parametrize(
    ("name", "rate_hz"), [(name, rate_hz) for name, (_, rates) in LOSSY.items() for rate_hz in rates]
)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_lossy_file_is_as_long_as_what_was_encoded_and_starts_where_it_did(
    tmp_path: Path, name: str, rate_hz: int, channels: int
) -> None:
    """Delay and padding: LAME's tag, edit lists, iTunSMPB, Opus' pre-skip and granules (RFC 7845 4)."""
    pcm = signals.music(0.5, rate_hz, channels)[:, : rate_hz // 2 - 7]
    path = tmp_path / "song.wav"
    LOSSY[name][0](path, pcm, rate_hz)
    got, reader = decoded(path)
    assert (got.shape, reader.rate_hz, reader.warnings) == (pcm.shape, rate_hz, ())
    assert [lag(a, b) for a, b in zip(pcm, got, strict=True)] == [0] * channels


@pytest.mark.parametrize("name", [*LOSSY, "flac 16", "wav 24", "alac 16", "aiff 16"])
def test_an_album_that_goes_on_from_file_to_file_has_no_seam(tmp_path: Path, name: str) -> None:
    """Two files cut from one signal join without a sample lost or added, and each is in its place."""
    write = LOSSY[name][0] if name in LOSSY else LOSSLESS[name][0]
    rate_hz = 48_000 if "opus" in name else 44_100
    whole = signals.music(0.8, rate_hz, 2)
    seam = rate_hz // 3 + 1
    for number, piece in enumerate((whole[:, :seam], whole[:, seam:])):
        write(tmp_path / f"{number}.bin", piece, rate_hz)
    first, second = (decoded(tmp_path / f"{number}.bin")[0] for number in range(2))
    joined = np.concatenate([first, second], axis=1)
    assert (first.shape[1], joined.shape) == (seam, whole.shape)
    around = slice(seam - 8192, seam + 8192)
    for piece in (slice(0, seam), slice(seam, None), around):
        assert lag(whole[0, piece], joined[0, piece]) == 0


@pytest.mark.parametrize(("write", "delay"), STATE_NO_DELAY.values(), ids=STATE_NO_DELAY)
def test_a_delay_that_no_file_states_stays(tmp_path: Path, write: Write, delay: int) -> None:
    """ADTS has no room for it; in MP3 it is LAME's tag that has: all that was encoded is there, and more."""
    pcm = signals.music(0.5, 44_100, 2)
    write(tmp_path / "x", pcm, 44_100)
    got, _ = decoded(tmp_path / "x")
    assert lag(pcm[0], got[0]) == delay
    assert got.shape[1] >= delay + pcm.shape[1]


def test_spectral_band_replication_doubles_rate_and_length(tmp_path: Path) -> None:
    """HE-AAC (ISO 14496-3 1.6.5, signalled backward compatibly): 2048 samples a frame at the higher rate."""
    path = tmp_path / "x.m4a"
    frames = sources.whole_frames(path, signals.music(0.3, 22_050, 2), 22_050)
    plain = path.read_bytes()
    assert plain.count(sources.WITHOUT_SBR) == 1
    path.write_bytes(plain.replace(sources.WITHOUT_SBR, sources.WITH_SBR))
    info: MediaInfo = probe(path)
    got, reader = decoded(path)
    assert (info.codec, info.rate_hz, reader.rate_hz) == ("aac", 44_100, 44_100)
    assert got.shape == (2, frames * 2048)


@pytest.mark.parametrize("container", ["ogg", "webm", "mp4"])
@pytest.mark.parametrize("gain_db", [-6.0, 6.0])
def test_the_gain_in_an_opus_header_is_applied(tmp_path: Path, container: str, gain_db: float) -> None:
    """RFC 7845 5.1: a player MUST apply the output gain, before any that tags ask for."""
    path, pcm = tmp_path / "x", signals.sine(440, 0.3, amplitude=0.2)
    sources.encode(path, pcm, 48_000, "libopus", container, sample_format="flt")
    plain, _ = decoded(path)
    sources.set_opus_gain(path, gain_db)
    louder, reader = decoded(path)
    assert louder.shape == plain.shape == pcm.shape
    assert reader.warnings == ()
    assert np.allclose(louder, plain * 10 ** (gain_db / 20), atol=1e-4)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 32_000, 88_200, 96_000, 176_400, 192_000])
@pytest.mark.parametrize("kind", ["wav 24", "flac 24"])
def test_every_usual_rate_is_read(tmp_path: Path, kind: str, rate_hz: int) -> None:
    pcm = signals.music(0.02, rate_hz, 1)
    LOSSLESS[kind][0](tmp_path / "x", pcm, rate_hz)
    got, reader = decoded(tmp_path / "x")
    assert (got.shape, reader.rate_hz) == (pcm.shape, rate_hz)
