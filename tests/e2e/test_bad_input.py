"""What is no music: a failed job with a stable code, and a server that goes on.

What is no proper request is in test_bad_requests. Source: reliability, "Bad inputs, and the exact result".
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import bad_files
import numpy as np
import pytest
import signals
import sources
from companion.callbacks import Companion
from e2e.presentation import read
from e2e.server import Json, Server

RATE_HZ = bad_files.RATE_HZ

INPUT_CODES = frozenset(
    {"bad_channels", "bad_rate", "codec_not_allowed", "corrupt", "format_not_allowed", "limit_cpu"}
    | {"limit_memory", "metadata_limit", "no_audio_data", "no_audio_stream", "not_audio", "too_long"}
)
"""What a job may say of its input; anything else would be the server's own fault."""


# --- files ------------------------------------------------------------------------------------------------

REFUSED: Mapping[str, tuple[str, Callable[[], bytes]]] = {
    "02 one byte": ("not_audio", lambda: b"I"),
    "02 three bytes": ("not_audio", lambda: b"ID3"),
    "03 zeros": ("not_audio", lambda: bytes(1 << 20)),
    "04 noise": ("not_audio", lambda: bad_files.noise(1 << 20)),
    "05 ones": ("not_audio", lambda: b"\xff" * (1 << 20)),
    "06 program": ("not_audio", lambda: Path(sys.executable).resolve().read_bytes()[: 1 << 20]),
    "07 text": ("not_audio", lambda: b"It was a dark and stormy night. " * 300),
    "07 page": ("not_audio", lambda: b"<!DOCTYPE html><title>502</title>" * 40),
    "07 document": ("not_audio", lambda: b"%PDF-1.7\n" + bytes(5000)),
    "07 archive": ("not_audio", bad_files.archive),
    "07 program of Windows": ("not_audio", lambda: b"MZ" + bytes(5000)),
    "08 png": ("format_not_allowed", lambda: signals.picture(64, 64)),
    "08 jpeg": ("format_not_allowed", lambda: signals.jpeg(64, 48)),
    "08 gif": ("format_not_allowed", lambda: b"GIF89a" + bytes(3000)),
    "08 svg": ("format_not_allowed", lambda: bad_files.SCRIPT),
    "08 svg with a declaration": ("format_not_allowed", lambda: b'<?xml version="1.0"?>' + bad_files.SCRIPT),
    "13 film without sound": ("no_audio_stream", lambda: bad_files.movie(sound=False)),
    "16 seventeen streams": ("too_many_streams", lambda: bad_files.songs(17)),
    "16 ten thousand tracks": ("too_many_streams", lambda: bad_files.of_tracks(10_000)),
    "18 no index": ("corrupt", lambda: (data := bad_files.m4a())[: data.rindex(b"moov") - 4]),
    "22 wavpack": ("format_not_allowed", lambda: b"wvpk" + bad_files.noise(2000)),
    "23 another file in the middle": ("corrupt", bad_files.interrupted),
    "28 tags without end": ("metadata_limit", bad_files.many_tags),
    "29 tag of 256 MB": ("corrupt", lambda: b"ID3\3\0\0\x7f\x7f\x7f\x7f" + bad_files.mp3()),
    "31 no channels": ("bad_channels", lambda: bad_files.wav(0, RATE_HZ, bytes(4000))),
    "31 nine channels": ("bad_channels", lambda: bad_files.wav(9, RATE_HZ, bytes(18 * 100))),
    "31 208 channels": ("bad_channels", lambda: bad_files.wav(208, RATE_HZ, bytes(208 * 2 * 100))),
    "31 255 channels": ("bad_channels", lambda: bad_files.wav(255, RATE_HZ, bytes(510 * 100))),
    "31 65,535 channels": ("bad_channels", lambda: bad_files.wav(65_535, RATE_HZ, bytes(131_070 * 4))),
    "32 rate 0": ("bad_rate", lambda: bad_files.wav(1, 0, bytes(4000))),
    "32 rate 1": ("bad_rate", lambda: bad_files.wav(1, 1, bytes(2000))),
    "32 rate of 32 bits": ("bad_rate", lambda: bad_files.wav(1, 0xFFFFFFFF, bytes(4000))),
    "33 768 kHz": ("bad_rate", lambda: bad_files.wav(2, 768_000, bytes(40_000))),
    "33 dsd": ("format_not_allowed", lambda: b"DSD " + bytes(2000)),
    "34 no bits": ("codec_not_allowed", lambda: bad_files.wav(1, RATE_HZ, bytes(4000), bits=0)),
    "36 header": ("no_audio_data", lambda: bad_files.wav(2, RATE_HZ, b"")),
    "36 tag": ("no_audio_data", lambda: bad_files.id3((b"TIT2", b"\0x"))),
    "36 flac of no samples": ("no_audio_data", lambda: sources.flac_of_silence(RATE_HZ, 2, 0)),
    "38 no numbers": (
        "corrupt",
        lambda: bad_files.written(np.full((2, 4000), np.nan, np.float32), "wav", subtype="FLOAT"),
    ),
    "41 vorbis that changes": (
        "unsupported_change",
        lambda: (
            bad_files.written(signals.music(0.5), "ogg")
            + bad_files.written(signals.music(0.5, 22_050, 1), "ogg", 22_050)
        ),
    ),
    "42 ac-4": ("codec_not_allowed", lambda: bad_files.of_codec(b"ac-4", b"dac4")),
    "42 mhm1": ("codec_not_allowed", lambda: bad_files.of_codec(b"mhm1", b"mhaC")),
    "42 dtsx": ("codec_not_allowed", lambda: bad_files.of_codec(b"dtsx", b"udts")),
    "43 fairplay": ("encrypted", lambda: bad_files.m4a().replace(b"mp4a", b"drms", 1)),
    "43 common encryption": ("encrypted", lambda: bad_files.m4a().replace(b"mp4a", b"enca", 1)),
}
"""Row and what it is: the code, and the file."""


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
        "asx": f'<ASX version="3"><ENTRY><REF HREF="{bait}/a.mp3"/></ENTRY></ASX>'.encode(),
        "list": f"{bait}/a.mp3\n".encode(),
        "filters": f"amovie={bait}/a.mp3".encode(),
        "data": b"data:audio/mpeg;base64,SUQz",
        "dash": f'<?xml version="1.0"?><MPD><BaseURL>{bait}/</BaseURL></MPD>'.encode(),
        "pls": f"[playlist]\nFile1={bait}/a.mp3\nNumberOfEntries=1\n".encode(),
        "ffmetadata": b";FFMETADATA1\ntitle=x\n",
        "cue": f'FILE "{bait}/a.wav" WAVE\n  TRACK 01 AUDIO\n'.encode(),
        "cue-titled": f'PERFORMER "x"\nTITLE "y"\nFILE "{bait}/a.wav" WAVE\n'.encode(),
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
    made = {row: make() for row, (_, make) in REFUSED.items()}
    for name, content in (made | lures(canary.url)).items():
        desk.hand_in(name, content)
    return desk


@pytest.mark.parametrize("row", REFUSED)
def test_what_is_no_music_is_refused_with_its_reason(desk: Desk, row: str) -> None:
    """The bad inputs' rows by their numbers: one run, a failed callback with a stable code."""
    error = desk.refusal(row)
    assert error["code"] == REFUSED[row][0]
    if row.startswith("42"):
        assert row.partition(" ")[2] in error["message"], "the codec has a name"


@pytest.mark.parametrize("name", lures(""))
def test_a_file_that_names_another_is_not_followed(desk: Desk, canary: Canary, name: str) -> None:
    """Bad inputs 9 to 12 (CVE-2016-1897, CVE-2017-9993): refused by content, nobody is called."""
    assert desk.refusal(name)["code"] == "format_not_allowed"
    assert not canary.was_visited


@pytest.mark.slow
def test_hundreds_of_bad_files_in_a_row_harm_no_other(
    server: Server, server_companion: Companion, tmp_path: Path
) -> None:
    """Bad input 57: what is wrong with files is no outage; the song behind them is published at once."""
    path, song = tmp_path / "bad.mp3", tmp_path / "song.flac"
    signals.write(song, signals.music(1.0), RATE_HZ, "flac")
    handed_in = []
    for number in range(500):
        path.write_bytes(b"no music, number %d" % number)
        handed_in.append(server.upload(path)["job_id"])
    job = server.publish(song)
    assert job["attempt"] == 1
    for job_id in handed_in:
        job = server.wait_for(job_id)
        assert (job["status"], job["attempt"], job["error"]["code"]) == ("failed", 1, "not_audio")
        assert len(server_companion.wait_for(job_id)) == 1
    assert server.get("/readyz").status_code == 200
    assert "Traceback" not in server.output


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
        if job["status"] == "failed" and path.parent.name == "faulty":
            assert job["error"]["code"] == "corrupt", path
        if path.name.startswith("08 "):
            assert job["status"] == "failed", "FLAC blocks of 65536 samples do not exist"
    assert server.get("/readyz").status_code == 200
    assert server.get("/status").json()["jobs"]["running"] <= 1
    assert "Traceback" not in server.output
