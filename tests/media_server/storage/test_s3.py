"""What others see of what we keep in a bucket, and what happens while the bucket is away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.buckets import emptied, settings_of, shared_client
from servers.s3 import NotInstalledError, PrivateS3, shared_s3
from servers.scripted_http import answering, head

from media_server.errors import Unavailable
from media_server.settings import Settings
from media_server.storage.s3 import MULTIPART_FROM_BYTES, READS, S3Storage
from media_server.storage.s3_client import ATTEMPTS, S3Client

BUCKET = "storage-s3"
WITHIN_S = 20.0


@pytest.fixture
def server() -> PrivateS3:
    try:
        return shared_s3()
    except NotInstalledError as error:
        pytest.skip(str(error))


@pytest.fixture
def storage(server: PrivateS3) -> S3Storage:
    return S3Storage(shared_client(), emptied(BUCKET))


@pytest.fixture(scope="module")
def own_server() -> Iterator[PrivateS3]:
    """One that may be stopped and frozen."""
    try:
        server = PrivateS3()
    except NotInstalledError as error:
        pytest.skip(str(error))
    with server:
        server.make_bucket(BUCKET)
        yield server


@pytest.fixture
def client(own_server: PrivateS3) -> Iterator[S3Client]:
    client = S3Client(settings_of(own_server), read_timeout_s=0.5)
    yield client
    client.close()


async def test_an_object_carries_its_type_and_what_caches_may_do(
    server: PrivateS3, storage: S3Storage
) -> None:
    """I11: a CDN reads the bucket itself."""
    await storage.put("a/1.m4s", b"segment", media_type="audio/mp4", cache_control="public, max-age=9")
    await storage.put("a/plain", b"x", media_type="text/plain")
    segment = server.client.head_object(Bucket=BUCKET, Key="a/1.m4s")
    assert (segment["ContentType"], segment["CacheControl"]) == ("audio/mp4", "public, max-age=9")
    plain = server.client.head_object(Bucket=BUCKET, Key="a/plain")
    assert (plain["ContentType"], plain.get("CacheControl")) == ("text/plain", None)


async def test_a_large_file_is_put_in_parts_and_leaves_no_unfinished_upload(
    server: PrivateS3, storage: S3Storage, tmp_path: Path
) -> None:
    """F28: no incomplete upload stays."""
    (tmp_path / "file").write_bytes(bytes(MULTIPART_FROM_BYTES + 1))
    await storage.put_file("uploads/file", tmp_path / "file")
    await storage.move("uploads/file", "sources/file")
    stored = server.client.head_object(Bucket=BUCKET, Key="sources/file")
    assert stored["ContentLength"] == MULTIPART_FROM_BYTES + 1
    assert "-" in server.client.head_object(Bucket=BUCKET, Key="sources/file")["ETag"]
    assert not server.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads")


async def test_a_folder_that_a_tool_made_is_no_object(server: PrivateS3, storage: S3Storage) -> None:
    server.put(BUCKET, "a/folder/", b"")
    await storage.put("a/b", b"x", media_type="text/plain")
    assert await storage.list("a/") == ["a/b"]


async def test_a_bucket_that_is_not_there_is_no_missing_object(server: PrivateS3) -> None:
    """A listener is told to come again, not that the track is gone."""
    storage = S3Storage(shared_client(), "nobody-made-it")
    for call in (storage.get("a/b"), storage.check(), storage.put("a/b", b"", media_type="text/plain")):
        with pytest.raises(Unavailable, match="no such bucket") as caught:
            await call
        assert caught.value.code == "storage"


async def test_a_stopped_storage_is_unavailable_within_its_time_and_the_same_client_finds_it_again(
    own_server: PrivateS3, client: S3Client, tmp_path: Path
) -> None:
    """F12: no new client, no restart of ours."""
    storage = S3Storage(client, BUCKET)
    await storage.put("a/b", b"kept", media_type="text/plain")
    await asyncio.to_thread(own_server.stop)
    (tmp_path / "file").write_bytes(b"x")
    calls = (
        storage.get("a/b"),
        storage.put("a/b", b"lost", media_type="text/plain"),
        storage.put_file("a/c", tmp_path / "file"),
        storage.get_file("a/b", tmp_path / "brought"),
        storage.list("a/"),
        storage.delete("a/"),
        storage.check(),
    )
    async with asyncio.timeout(WITHIN_S):
        errors = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in errors] == [Unavailable] * len(calls)
    assert {error.retry_after_s for error in errors if isinstance(error, Unavailable)} == {5.0}
    assert not (tmp_path / "brought").exists()
    await asyncio.to_thread(own_server.start)
    await storage.check()
    assert await storage.get("a/b") == b"kept"


async def test_a_storage_that_hangs_is_unavailable_within_its_time(
    own_server: PrivateS3, client: S3Client
) -> None:
    """F13: it accepts and says nothing."""
    storage = S3Storage(client, BUCKET)
    await storage.put("a/b", b"x", media_type="text/plain")
    own_server.pause()
    try:
        async with asyncio.timeout(WITHIN_S):
            with pytest.raises(Unavailable, match="ReadTimeoutError"):
                await storage.get("a/b")
    finally:
        own_server.resume()
    assert await storage.get("a/b") == b"x"


@pytest.mark.parametrize(("broken", "served"), [(READS - 1, True), (READS, False)])
async def test_an_object_that_breaks_off_is_read_again_a_few_times(
    server: PrivateS3, broken: int, served: bool
) -> None:
    """F13: a listener gets the whole segment or an error, never the half of it."""

    async def answer(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(head(4) + (b"da" if number < broken else b"data"))

    async with answering(answer) as url:
        client = S3Client(Settings.model_validate({**settings_of(server).model_dump(), "s3_endpoint": url}))
        try:
            reading = S3Storage(client, BUCKET).get("a/b")
            if served:
                assert await reading == b"data"
            else:
                with pytest.raises(Unavailable):
                    await reading
        finally:
            await asyncio.to_thread(client.close)


async def test_a_storage_that_says_nothing_is_not_asked_more_often_than_others(server: PrivateS3) -> None:
    """F13: each attempt costs the whole time for reading."""
    asked, enough = 0, asyncio.Event()

    async def answer(number: int, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await enough.wait()

    async with answering(answer) as url:
        settings = Settings.model_validate({**settings_of(server).model_dump(), "s3_endpoint": url})
        client = S3Client(settings, read_timeout_s=0.1)
        try:
            with pytest.raises(Unavailable, match="ReadTimeoutError"):
                await S3Storage(client, BUCKET).get("a/b")
        finally:
            enough.set()
            await asyncio.to_thread(client.close)
    assert asked == ATTEMPTS


async def test_a_cancelled_write_has_no_effect_afterwards(server: PrivateS3, storage: S3Storage) -> None:
    """base.py: whoever was cancelled finds what it finds, and nothing comes after it."""
    writes = [
        asyncio.create_task(storage.put(f"a/{number}", bytes(100_000), media_type="text/plain"))
        for number in range(64)
    ]
    await writes[0]
    for write in writes:
        write.cancel()
    await asyncio.gather(*writes, return_exceptions=True)
    found = await storage.list("a/")
    assert await storage.delete("a/") == len(found) < 64
    assert await storage.list("a/") == []


async def test_encryption_goes_with_what_is_stored(server: PrivateS3, tmp_path: Path) -> None:
    """O10: S3_SSE. The server answers with what it was asked for."""
    client = S3Client(settings_of(server, s3_sse="AES256"))
    try:
        storage = S3Storage(client, emptied(BUCKET))
        (tmp_path / "file").write_bytes(b"x")
        await storage.put("a/put", b"x", media_type="text/plain")
        await storage.put_file("a/file", tmp_path / "file")
        await storage.move("a/file", "a/moved")
        for key in ("a/put", "a/moved"):
            head = server.client.head_object(Bucket=BUCKET, Key=key)
            assert head.get("ServerSideEncryption") == "AES256"
            assert await storage.get(key) == b"x"
    finally:
        client.close()
