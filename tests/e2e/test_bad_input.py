"""What is no music: a failed job with a stable code, and a server that goes on.

What is no proper request is in test_bad_requests. Source: reliability, "Bad inputs, and the exact result".
"""

from __future__ import annotations

import random
import socket
import struct
import sys
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
import signals
from companion.callbacks import Companion
from e2e.presentation import read
from e2e.server import Json, Server

RATE_HZ = 48_000

INPUT_CODES = frozenset(
    {"bad_channels", "bad_rate", "codec_not_allowed", "corrupt", "format_not_allowed", "limit_cpu"}
    | {"limit_memory", "metadata_limit", "no_audio_data", "no_audio_stream", "not_audio", "too_long"}
)
"""What a job may say of its input; anything else would be the server's own fault."""


# --- files ------------------------------------------------------------------------------------------------


def wav(channels: int, rate_hz: int, samples: bytes) -> bytes:
    """PCM of 16 bits with any header."""
    step = 2 * channels
    fmt = struct.pack(
        "<4sIHHIIHH", b"fmt ", 16, 1, channels, rate_hz, (step * rate_hz) & 0xFFFFFFFF, step & 0xFFFF, 16
    )
    body = b"WAVE" + fmt + struct.pack("<4sI", b"data", len(samples)) + samples
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def video() -> bytes:
    """An MP4 with a moving picture and no sound."""
    file = BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for grey in range(0, 250, 10):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), grey, np.uint8), format="rgb24")
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


def without_index(folder: Path) -> bytes:
    """An M4A whose upload was cut off before the moov at its end."""
    signals.write(folder / "whole.m4a", signals.music(2.0), RATE_HZ, "m4a")
    whole = (folder / "whole.m4a").read_bytes()
    return whole[: whole.rindex(b"moov") - 4]


def archive() -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as out:
        out.writestr("song.mp3", bytes(5000))
    return file.getvalue()


REFUSED = {
    **dict.fromkeys(("one-byte", "tag", "text", "page", "zeros", "noise", "ones"), "not_audio"),
    **dict.fromkeys(("program", "archive"), "not_audio"),
    "picture": "format_not_allowed",
    "video": "no_audio_stream",
    "header": "no_audio_data",
    "no-index": "corrupt",
    "slow": "bad_rate",
    "wide": "bad_channels",
}
"""The code of what is wrong, by the name of the file."""


def bad_files(folder: Path) -> dict[str, bytes]:
    return {
        "one-byte": b"I",
        "tag": b"ID3",
        "text": b"It was a dark and stormy night. " * 300,
        "page": b"<!DOCTYPE html><title>502</title>" * 40,
        "zeros": bytes(1 << 20),
        "noise": random.Random(7).randbytes(1 << 20),
        "ones": b"\xff" * (1 << 20),
        "program": Path(sys.executable).resolve().read_bytes()[: 1 << 20],
        "archive": archive(),
        "picture": signals.picture(64, 64),
        "video": video(),
        "header": wav(2, RATE_HZ, b""),
        "no-index": without_index(folder),
        "slow": wav(1, 1, bytes(2000)),
        "wide": wav(208, RATE_HZ, bytes(208 * 2 * 100)),
    }


def lures(bait: str) -> dict[str, bytes]:
    """Files that ask their reader to fetch something else."""
    segments = f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{bait}/a.ts\n#EXT-X-ENDLIST\n"
    port = bait.rpartition(":")[2]
    sdp = f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nt=0 0\nm=audio {port} RTP/AVP 0\n"
    return {
        "hls": segments.encode(),
        "hls-file": segments.replace(bait, "file:///etc").encode(),
        "hls-master": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{bait}/v.m3u8\n".encode(),
        "concat": f"ffconcat version 1.0\nfile '{bait}/a.mp3'\n".encode(),
        "concat-file": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        "sdp": sdp.encode(),
        "dash": f'<?xml version="1.0"?><MPD><BaseURL>{bait}/</BaseURL></MPD>'.encode(),
        "pls": f"[playlist]\nFile1={bait}/a.mp3\nNumberOfEntries=1\n".encode(),
        "ffmetadata": b";FFMETADATA1\ntitle=x\n",
        "cue": f'FILE "{bait}/a.wav" WAVE\n  TRACK 01 AUDIO\n'.encode(),
    }


class Canary:
    """Listens, answers nobody, and knows whether somebody came."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    @property
    def was_visited(self) -> bool:
        try:
            self._socket.accept()[0].close()
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        self._socket.close()


# --- jobs that fail ---------------------------------------------------------------------------------------


class Desk:
    """Where bad files are handed in, all at once; each job is looked at when it is asked for."""

    def __init__(self, server: Server, companion: Companion, folder: Path) -> None:
        self.server = server
        self._companion = companion
        self._folder = folder
        self._jobs: dict[str, Json] = {}

    def hand_in(self, name: str, content: bytes) -> None:
        path = self._folder / f"{name}.mp3"
        path.write_bytes(content)
        self._jobs[name] = self.server.upload(path)

    def refusal(self, name: str) -> Json:
        """The error of a job that failed, after all that must be so with every one."""
        accepted = self._jobs[name]
        job = self.server.wait_for(accepted["job_id"])
        assert (job["status"], job["attempt"], job["result"]) == ("failed", 1, None), job
        error: Json = job["error"]
        assert set(error) == {"code", "message", "retryable", "limits"}
        assert error["retryable"] is False
        assert error["message"]
        assert str(self.server.data_dir) not in error["message"]

        (told,) = self._companion.wait_for(job["job_id"])
        assert told.headers["idempotency-key"] == job["job_id"]
        assert told.path == f"/api/v1/internal/tracks/{job['track_id']}/stream-ready"
        assert (told.body["status"], told.body["error"]) == ("failed", error)
        assert told.body["stream_manifest_url"] is None
        assert self.server.get(f"/hls/{job['track_id']}/master.m3u8").status_code == 404
        return error


@pytest.fixture(scope="module")
def canary() -> Iterator[Canary]:
    canary = Canary()
    yield canary
    canary.close()


@pytest.fixture(scope="module")
def desk(
    server: Server, server_companion: Companion, canary: Canary, tmp_path_factory: pytest.TempPathFactory
) -> Desk:
    folder = tmp_path_factory.mktemp("bad")
    desk = Desk(server, server_companion, folder)
    for name, content in (bad_files(folder) | lures(canary.url)).items():
        desk.hand_in(name, content)
    return desk


@pytest.mark.parametrize(("name", "code"), REFUSED.items())
def test_what_is_no_music_is_refused_with_its_reason(desk: Desk, name: str, code: str) -> None:
    """Bad inputs 2 to 8, 13, 18, 31, 32, 36: one run, a failed callback with a stable code."""
    assert desk.refusal(name)["code"] == code


@pytest.mark.parametrize("name", lures(""))
def test_a_file_that_names_another_is_not_followed(desk: Desk, canary: Canary, name: str) -> None:
    """Bad inputs 9 to 12 (CVE-2016-1897, CVE-2017-9993): refused by content, nobody is called."""
    assert desk.refusal(name)["code"] == "format_not_allowed"
    assert not canary.was_visited


def test_half_a_file_is_half_a_track(desk: Desk, tmp_path: Path) -> None:
    """Bad input 17: what is there can be heard, and the warning says that something is missing."""
    signals.write(tmp_path / "whole.flac", signals.music(4.0), RATE_HZ, "flac")
    whole = (tmp_path / "whole.flac").read_bytes()
    (tmp_path / "half.flac").write_bytes(whole[: len(whole) // 2])
    job = desk.server.publish(tmp_path / "half.flac")
    assert job["warnings"] == job["result"]["warnings"] == ["truncated"]
    assert 1.0 < job["result"]["duration_seconds"] < 3.0


def test_files_that_were_made_to_break_decoders_break_nothing(
    server: Server, server_companion: Companion, corpus_dir: Path
) -> None:
    """Bad inputs 21, 22: each job ends, with a code of its input or as a track; the server goes on."""
    folders = ("claxon/fuzz", "flac-test-files/faulty", "hound/fuzz", "minimp3/fuzz")
    files = [path for name in folders for path in sorted((corpus_dir / name).iterdir()) if path.is_file()]
    assert len(files) >= 40
    handed_in = [(path, server.upload(path)) for path in files]
    for path, accepted in handed_in:
        job = server.wait_for(accepted["job_id"])
        (told,) = server_companion.wait_for(job["job_id"])
        assert told.body["status"] == job["status"], path
        if job["status"] == "completed":
            rungs = read(server.client, server.master_url(job["track_id"])).values()
            assert all(rung.presented_samples > 0 for rung in rungs), path
        else:
            assert (job["status"], job["attempt"]) == ("failed", 1), (path, job)
            assert job["error"]["code"] in INPUT_CODES, (path, job)
        if path.name.startswith("08 "):
            assert job["error"]["code"] == "corrupt", "FLAC blocks of 65536 samples do not exist"
    assert server.get("/readyz").status_code == 200
    assert server.get("/status").json()["jobs"]["running"] <= 1
    assert "Traceback" not in server.output
