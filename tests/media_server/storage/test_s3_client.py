"""boto3's errors are ours, in one sentence without a secret; every wait ends."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from servers.buckets import emptied, settings_of, shared_client
from servers.ports import free_ports
from servers.s3 import NotInstalledError, PrivateS3, shared_s3
from servers.scripted_http import answering, head

from media_server.errors import Denied, NotFound, Unavailable
from media_server.settings import Settings
from media_server.storage.s3_client import ATTEMPTS, THREADS, S3Client

BUCKET = "storage-s3-client"
WITHIN_S = 20.0
SLOW_DOWN = (
    b"HTTP/1.1 503 Slow Down\r\nConnection: close\r\n"
    b"Content-Type: application/xml\r\nContent-Length: 36\r\n\r\n"
    b"<Error><Code>SlowDown</Code></Error>"
)
SECRET = "wrong-secret-0123456789"


@pytest.fixture
def server() -> PrivateS3:
    try:
        return shared_s3()
    except NotInstalledError as error:
        pytest.skip(str(error))


@contextmanager
def opened(settings: Settings) -> Iterator[S3Client]:
    client = S3Client(settings)
    try:
        yield client
    finally:
        client.close()


def settings_with(server: PrivateS3, **changes: object) -> Settings:
    return Settings.model_validate({**settings_of(server).model_dump(), **changes})


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"s3_secret_key": SECRET}, "SignatureDoesNotMatch"), ({"s3_access_key": "AKX"}, "InvalidAccessKeyId")],
)
async def test_a_wrong_key_is_said_in_one_sentence_without_it(
    server: PrivateS3, changes: dict[str, str], code: str
) -> None:
    """Reliability, secrets: never in a message."""
    emptied(BUCKET)
    with opened(settings_with(server, **changes)) as client, pytest.raises(Unavailable) as caught:
        await client.read(lambda s3: s3.list_objects_v2(Bucket=BUCKET))
    error = caught.value
    assert error.message == f"the storage at {server.url} refuses S3_ACCESS_KEY or its secret: {code}"
    assert SECRET not in repr(error) and SECRET not in str(error.__cause__)


async def test_a_key_that_may_not_is_denied(server: PrivateS3) -> None:
    """F14: 403."""
    emptied(BUCKET)
    server.client.put_bucket_policy(
        Bucket=BUCKET,
        Policy='{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*",'
        f' "Action": "s3:GetObject", "Resource": "arn:aws:s3:::{BUCKET}/closed"}}]}}',
    )
    try:
        server.put(BUCKET, "closed", b"x")
        with pytest.raises(Denied) as caught:
            await shared_client().read(lambda s3: s3.get_object(Bucket=BUCKET, Key="closed"))
        assert caught.value.code == "storage_denied"
    finally:
        server.client.delete_bucket_policy(Bucket=BUCKET)


async def test_a_missing_object_and_a_missing_bucket_are_told_apart(server: PrivateS3) -> None:
    emptied(BUCKET)
    for bucket, code in [(BUCKET, "object_not_found"), ("nobody-made-it", "no_such_bucket")]:
        with pytest.raises(NotFound) as caught:
            await shared_client().read(lambda s3, bucket=bucket: s3.get_object(Bucket=bucket, Key="a"))
        assert caught.value.code == code


async def test_nobody_there_is_unavailable_within_its_time() -> None:
    """F12."""
    (port,) = free_ports(1)
    settings = Settings(
        _env_file=None, s3_endpoint=f"http://127.0.0.1:{port}", s3_access_key="AK", s3_secret_key=SECRET
    )
    with opened(settings) as client:
        async with asyncio.timeout(WITHIN_S):
            with pytest.raises(Unavailable, match="does not answer: EndpointConnectionError"):
                await client.read(lambda s3: s3.list_buckets())


@pytest.mark.parametrize(("busy", "served"), [(ATTEMPTS - 1, True), (ATTEMPTS, False)])
async def test_a_storage_that_is_busy_is_asked_again_a_few_times(busy: int, served: bool) -> None:
    """F12: SlowDown."""
    asked = 0

    async def answer(number: int, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked = number + 1
        writer.write(SLOW_DOWN if number < busy else head(4) + b"data")

    async with answering(answer) as url:
        settings = Settings(_env_file=None, s3_endpoint=url, s3_access_key="AK", s3_secret_key=SECRET)
        with opened(settings) as client:
            reading = client.read(lambda s3: s3.get_object(Bucket=BUCKET, Key="a")["Body"].read())
            if served:
                assert await reading == b"data"
            else:
                with pytest.raises(Unavailable, match="refuses with 503: SlowDown"):
                    await reading
    assert asked == ATTEMPTS


async def test_our_own_mistake_is_not_taken_for_the_storages(server: PrivateS3) -> None:
    with pytest.raises(ZeroDivisionError):
        await shared_client().read(lambda s3: 1 / 0)


async def test_a_cancelled_write_is_waited_for_and_told_to_stop(server: PrivateS3) -> None:
    began, stop, ended = threading.Event(), threading.Event(), threading.Event()

    def work(s3: object) -> None:
        began.set()
        assert stop.wait(WITHIN_S)
        ended.set()

    writing = asyncio.create_task(shared_client().write(work, stop))
    assert await asyncio.to_thread(began.wait, WITHIN_S)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert ended.is_set()


async def test_a_cancelled_read_is_left_alone(server: PrivateS3) -> None:
    began, release = threading.Event(), threading.Event()

    def work(s3: object) -> None:
        began.set()
        assert release.wait(WITHIN_S)

    reading = asyncio.create_task(shared_client().read(work))
    assert await asyncio.to_thread(began.wait, WITHIN_S)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    release.set()


async def test_a_write_that_did_not_begin_never_does(server: PrivateS3) -> None:
    release, done = threading.Event(), []
    with opened(settings_of(server)) as client:
        busy = [asyncio.create_task(client.write(lambda s3: release.wait(WITHIN_S))) for _ in range(THREADS)]
        late = asyncio.create_task(client.write(lambda s3: done.append("late")))
        await asyncio.sleep(0)
        late.cancel()
        with pytest.raises(asyncio.CancelledError):
            await late
        release.set()
        await asyncio.gather(*busy)
    assert done == []


async def test_a_read_behind_many_that_hang_does_not_wait_for_all_of_them(server: PrivateS3) -> None:
    """Style, async: every wait has a deadline."""
    release = threading.Event()
    client = S3Client(settings_of(server), answer_within_s=0.05)
    try:
        hanging = [
            asyncio.create_task(client.write(lambda s3: release.wait(WITHIN_S))) for _ in range(THREADS)
        ]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match=r"did not answer within 0\.05 s"):
            await client.read(lambda s3: None)
        release.set()
        await asyncio.gather(*hanging)
    finally:
        release.set()
        client.close()


def test_closing_twice_is_closing_once(server: PrivateS3) -> None:
    client = S3Client(settings_of(server))
    client.close()
    client.close()


def test_a_server_without_s3_does_not_import_boto3() -> None:
    """It takes half a second of every start."""
    look = "import sys, media_server.app, media_server.storage.sources; print('boto3' in sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", look], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert told.stdout == "False\n"
