"""What is stored is held to the manifest: each file, its size and its hash."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace

import presentations
import pytest
from presentations import TRACK_ID as TRACK

from hls.asset import AssetDownload, AssetRendition
from hls.stored import StoredFile, StoredSegment
from media_server.errors import NotFound
from media_server.storage import verification
from media_server.storage.assets import asset_key
from media_server.storage.memory import MemoryStorage
from media_server.storage.verification import Verified, promised, verify


def stored(name: str, data: bytes) -> StoredFile:
    return StoredFile(
        name=name, bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), media_type="audio/mp4"
    )


def segment(name: str, data: bytes) -> StoredSegment:
    return StoredSegment(name=name, duration=48_000, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


ASSET = replace(
    presentations.asset(
        AssetRendition(
            name="128k",
            codec="mp4a.40.2",
            bitrate_bps=128_000,
            rate_hz=48_000,
            channels=2,
            priming_samples=1024,
            init=stored("init.mp4", b"init"),
            segments=(segment("0.m4s", b"first"), segment("1.m4s", b"second")),
        ),
        duration_samples=94_976,
    ),
    waveform=stored("waveform.dat", b"wave"),
    cover=stored("cover.jpg", b"cover"),
    downloads=(
        AssetDownload(
            name="mp3-320",
            format="mp3",
            bitrate_bps=320_000,
            rate_hz=44_100,
            channels=2,
            file=stored("a.mp3", b"whole file"),
        ),
    ),
)
VERSION = ASSET.version
FILES = {
    f"tracks/{TRACK}/{VERSION}/128k/init.mp4": b"init",
    f"tracks/{TRACK}/{VERSION}/128k/0.m4s": b"first",
    f"tracks/{TRACK}/{VERSION}/128k/1.m4s": b"second",
    f"tracks/{TRACK}/{VERSION}/waveform.dat": b"wave",
    f"tracks/{TRACK}/{VERSION}/cover.jpg": b"cover",
    f"tracks/{TRACK}/{VERSION}/downloads/a.mp3": b"whole file",
}


async def storage_of(files: dict[str, bytes]) -> MemoryStorage:
    storage = MemoryStorage()
    for key, data in {asset_key(TRACK): ASSET.to_json(), **files}.items():
        await storage.put(key, data, media_type="audio/mp4")
    return storage


def told(files: dict[str, bytes]) -> list[Verified]:
    async def scenario() -> list[Verified]:
        return [file async for file in verify(await storage_of(files), TRACK)]

    return asyncio.run(scenario())


def test_every_file_of_the_manifest_is_read() -> None:
    assert [file.key for file in told(FILES)] == list(FILES)
    assert [file.bytes for file in told(FILES)] == [len(data) for data in FILES.values()]
    assert not any(file.flaw for file in told(FILES))


def test_the_manifest_names_all_that_a_job_stores() -> None:
    assert [key for key, _ in promised(ASSET)] == list(FILES)


@pytest.mark.parametrize("key", FILES)
def test_what_is_gone_cut_or_changed_is_found(key: str) -> None:
    """Each file, each way; nothing else is blamed."""
    whole = FILES[key]
    for data, flaw in ((None, "missing"), (whole[:-1], "size"), (b"X" + whole[1:], "hash")):
        files = {name: content for name, content in FILES.items() if name != key}
        found = told(files if data is None else {**files, key: data})
        assert [(file.key, file.flaw) for file in found if file.flaw] == [(key, flaw)]


def test_a_file_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lossless one has hundreds of megabytes; pieces that end with the file and that do not."""
    for size in (1, 2, 3, 5):
        monkeypatch.setattr(verification, "READ_BYTES", size)
        assert not any(file.flaw for file in told(FILES))


def test_a_track_that_is_not_there_is_said() -> None:
    async def scenario() -> None:
        with pytest.raises(NotFound) as error:
            [file async for file in verify(MemoryStorage(), TRACK)]
        assert error.value.code == "track_not_found"

    asyncio.run(scenario())
