"""Originals come from the buckets that are named, whatever their keys look like."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from servers.buckets import emptied, settings_of, shared_client
from servers.ports import free_ports
from servers.s3 import NotInstalledError, PrivateS3, shared_s3
from servers.scripted_http import answering, head

from media_server.errors import Denied, LimitExceeded, NotFound, Unavailable
from media_server.settings import Settings
from media_server.storage.s3_client import S3Client
from media_server.storage.sources import S3Sources

BUCKET, ANOTHER = "storage-sources", "storage-sources-other"
WITHIN_S = 20.0
LIMIT = 10_000_000
SECRET = "wrong-secret-0123456789"


@pytest.fixture
def server() -> PrivateS3:
    try:
        server = shared_s3()
    except NotInstalledError as error:
        pytest.skip(str(error))
    emptied(BUCKET)
    return server


@pytest.fixture
def sources(server: PrivateS3) -> S3Sources:
    return S3Sources(shared_client(), (BUCKET,), missing_delays_s=())


@asynccontextmanager
async def opened_at(url: str) -> AsyncIterator[S3Sources]:
    """The sources at a storage that is not what it should be."""
    client = S3Client(Settings(_env_file=None, s3_endpoint=url, s3_access_key="AK", s3_secret_key=SECRET))
    try:
        yield S3Sources(client, (BUCKET,))
    finally:
        await asyncio.to_thread(client.close)


async def test_an_object_is_brought_and_hashed(server: PrivateS3, sources: S3Sources, tmp_path: Path) -> None:
    data = bytes(range(256)) * 4096
    server.put(BUCKET, "in/song.flac", data)
    got = await sources.download(BUCKET, "in/song.flac", tmp_path / "src.bin", LIMIT)
    assert got == (hashlib.sha256(data).hexdigest(), len(data))
    assert (tmp_path / "src.bin").read_bytes() == data


@pytest.mark.parametrize(
    "key",
    ["a b+c%20d.flac", "Ünïcödé/日本 ♫.wav", "q?x=1&y=2#z", "'\"<&>.mp3", "...", "a/..b/c..", "k" * 250],
)
async def test_a_key_is_any_text(server: PrivateS3, sources: S3Sources, tmp_path: Path, key: str) -> None:
    """Keys are data: nothing in them is a path, a query or an escape."""
    server.put(BUCKET, key, key.encode())
    await sources.download(BUCKET, key, tmp_path / "src.bin", LIMIT)
    assert (tmp_path / "src.bin").read_bytes() == key.encode()
    assert list(tmp_path.iterdir()) == [tmp_path / "src.bin"]


@pytest.mark.parametrize(
    "key", [f"../{ANOTHER}/x", f"a/../../{ANOTHER}/x", "..", "./x", "a/.", "", "k" * 1025, "\udcff"]
)
async def test_a_key_that_leads_elsewhere_names_nothing(
    server: PrivateS3, sources: S3Sources, tmp_path: Path, key: str
) -> None:
    """Reliability, path traversal: out of the bucket that is allowed into one that is not."""
    emptied(ANOTHER)
    server.put(ANOTHER, "x", b"of somebody else")
    server.put(BUCKET, "x", b"x")
    with pytest.raises(NotFound) as caught:
        await sources.download(BUCKET, key, tmp_path / "src.bin", LIMIT)
    assert caught.value.code == "source_not_found"
    assert list(tmp_path.iterdir()) == []


async def test_a_bucket_that_is_not_named_is_forbidden(
    server: PrivateS3, sources: S3Sources, tmp_path: Path
) -> None:
    """contract: SOURCE_BUCKETS."""
    server.put(emptied(ANOTHER), "x", b"x")
    for bucket in (ANOTHER, "", BUCKET.upper(), f"{BUCKET}/x"):
        with pytest.raises(Denied, match="SOURCE_BUCKETS") as caught:
            await sources.download(bucket, "x", tmp_path / "src.bin", LIMIT)
        assert caught.value.code == "source_forbidden"


async def test_an_object_that_may_not_be_read_is_forbidden_at_once(
    server: PrivateS3, sources: S3Sources, tmp_path: Path
) -> None:
    """F14: 403."""
    server.put(BUCKET, "closed", b"x")
    server.client.put_bucket_policy(
        Bucket=BUCKET,
        Policy='{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*",'
        f' "Action": "s3:GetObject", "Resource": "arn:aws:s3:::{BUCKET}/closed"}}]}}',
    )
    try:
        with pytest.raises(Denied) as caught:
            await sources.download(BUCKET, "closed", tmp_path / "src.bin", LIMIT)
        assert caught.value.code == "source_forbidden"
    finally:
        server.client.delete_bucket_policy(Bucket=BUCKET)


async def test_a_missing_object_or_bucket_is_not_found(
    server: PrivateS3, sources: S3Sources, tmp_path: Path
) -> None:
    nowhere = S3Sources(shared_client(), ("nobody-made-it",), missing_delays_s=(0, 0))
    for buckets, bucket in [(sources, BUCKET), (nowhere, "nobody-made-it")]:
        with pytest.raises(NotFound) as caught:
            await buckets.download(bucket, "gone.flac", tmp_path / "src.bin", LIMIT)
        assert caught.value.code == "source_not_found"
    assert list(tmp_path.iterdir()) == []


async def test_a_message_may_be_faster_than_the_upload(server: PrivateS3, tmp_path: Path) -> None:
    """F14: 404 is asked again before it is believed."""
    delays = iter([0, 0, 0])

    class Delays(tuple[float, ...]):
        """What comes between two looks."""

        def __iter__(self):
            for number, delay_s in enumerate(delays):
                if number == 2:
                    server.put(BUCKET, "late.flac", b"late")
                yield delay_s

    sources = S3Sources(shared_client(), (BUCKET,), missing_delays_s=Delays())
    assert (await sources.download(BUCKET, "late.flac", tmp_path / "src.bin", LIMIT))[1] == 4


async def test_an_object_over_the_limit_is_refused_before_it_is_read(
    server: PrivateS3, sources: S3Sources, tmp_path: Path
) -> None:
    """Bad input 49."""
    server.put(BUCKET, "big", b"x" * 11)
    await sources.download(BUCKET, "big", tmp_path / "fits", 11)
    with pytest.raises(LimitExceeded, match="the source has 11 bytes, at most 10") as caught:
        await sources.download(BUCKET, "big", tmp_path / "src.bin", 10)
    assert (caught.value.code, caught.value.limits) == ("too_large", {"MAX_SOURCE_BYTES": 10.0})
    assert not (tmp_path / "src.bin").exists()


async def test_a_storage_that_is_away_is_no_fault_of_the_source(tmp_path: Path) -> None:
    """F12: the job is tried again."""
    (port,) = free_ports(1)
    async with asyncio.timeout(WITHIN_S), opened_at(f"http://127.0.0.1:{port}") as sources:
        with pytest.raises(Unavailable) as caught:
            await sources.download(BUCKET, "a", tmp_path / "src.bin", LIMIT)
    assert caught.value.code == "storage"


async def test_a_wrong_secret_is_no_fault_of_the_source_and_stays_secret(
    server: PrivateS3, tmp_path: Path
) -> None:
    client = S3Client(Settings.model_validate({**settings_of(server).model_dump(), "s3_secret_key": SECRET}))
    try:
        with pytest.raises(Unavailable, match="SignatureDoesNotMatch") as caught:
            await S3Sources(client, (BUCKET,)).download(BUCKET, "a", tmp_path / "src.bin", LIMIT)
    finally:
        client.close()
    assert SECRET not in caught.value.message


async def test_a_full_disk_is_no_fault_of_the_source(
    server: PrivateS3, sources: S3Sources, tmp_path: Path
) -> None:
    """F16."""
    server.put(BUCKET, "a", b"x")
    with pytest.raises(Unavailable) as caught:
        await sources.download(BUCKET, "a", tmp_path / "no-folder" / "src.bin", LIMIT)
    assert caught.value.code == "disk"


async def test_a_cancelled_download_stops_and_leaves_nothing(tmp_path: Path) -> None:
    """The folder of the attempt is removed next: nothing may be written there any more."""
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def answer(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(head(LIMIT))
        for sent in range(0, LIMIT, 100_000):
            writer.write(bytes(100_000))
            await writer.drain()
            if sent:
                began.set()
                await cancelled.wait()

    async with answering(answer) as url, opened_at(url) as sources:
        downloading = asyncio.create_task(sources.download(BUCKET, "big", tmp_path / "src.bin", LIMIT))
        await began.wait()
        downloading.cancel()
        asyncio.get_running_loop().call_soon(cancelled.set)
        with pytest.raises(asyncio.CancelledError):
            await downloading
        assert list(tmp_path.iterdir()) == []


async def test_a_body_that_ends_too_early_is_no_source(tmp_path: Path) -> None:
    """F13: truncated with 200."""

    async def answer(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(head(1000) + bytes(999))

    async with answering(answer) as url, opened_at(url) as sources:
        with pytest.raises(Unavailable) as caught:
            await sources.download(BUCKET, "a", tmp_path / "src.bin", LIMIT)
    assert caught.value.code == "storage"
    assert list(tmp_path.iterdir()) == []
