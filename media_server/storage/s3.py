"""Storage in a bucket.

An object is replaced by one request, so a reader sees the old one or the new one. A deleted prefix goes in
batches: who reads meanwhile may find a part of it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError

from media_server.errors import Denied, NotFound, Unavailable
from media_server.storage.base import ANY_BYTES, Keys, key_parts, object_not_found, parts_of
from media_server.storage.download import download

if TYPE_CHECKING:
    from media_server.storage.s3_client import S3Client

Result = TypeVar("Result")

MULTIPART_FROM_BYTES, PART_BYTES = 16 * 2**20, 16 * 2**20
"""10,000 parts are the most: 160 GB, far over MAX_SOURCE_BYTES."""

MAX_LISTED_KEYS = 200_000
"""More than the files of a track can be; whoever asks for more asks for the whole storage."""

NOT_FOUND, RANGE_NOT_SATISFIABLE = 404, 416

READS = 3
"""Of an object whose bytes break off; the requests themselves are repeated by the client."""


class S3Storage:
    """Objects of one bucket. What is wrong with the bucket or our access to it is `Unavailable`."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    async def put(self, key: str, data: bytes, *, media_type: str, cache_control: str = "") -> None:
        key_parts(key)
        extra = {"ContentType": media_type, **self._client.encryption}
        if cache_control:
            extra["CacheControl"] = cache_control
        body = bytes(data)
        await self._write(lambda s3: s3.put_object(Bucket=self._bucket, Key=key, Body=body, **extra))

    async def put_file(
        self, key: str, path: Path, *, media_type: str = ANY_BYTES, cache_control: str = ""
    ) -> None:
        key_parts(key)
        extra = {"ContentType": media_type, **self._client.encryption}
        if cache_control:
            extra["CacheControl"] = cache_control
        await self._write(
            lambda s3: s3.upload_file(str(path), self._bucket, key, ExtraArgs=extra, Config=_in_parts())
        )

    async def get(self, key: str) -> bytes:
        key_parts(key)
        return await self._read(lambda s3: self._bytes(s3, Key=key))

    async def read(self, key: str, start: int, stop: int) -> bytes:
        key_parts(key)
        if start == stop:  # a range of S3's has at least one byte
            await self._read(lambda s3: s3.head_object(Bucket=self._bucket, Key=key))
            return b""
        return await self._read(lambda s3: self._bytes(s3, Key=key, Range=f"bytes={start}-{stop - 1}"))

    async def get_file(self, key: str, path: Path) -> None:
        key_parts(key)
        stop = threading.Event()

        def fetch(s3: Any) -> None:
            answer = s3.get_object(Bucket=self._bucket, Key=key)
            with contextlib.closing(answer["Body"]) as body:
                download(body, path, stop)

        with _ours():
            await self._client.write(fetch, stop)

    async def move(self, key: str, to: str) -> None:
        key_parts(key), key_parts(to)
        source = {"Bucket": self._bucket, "Key": key}

        def move(s3: Any) -> None:
            if key == to:
                s3.head_object(**source)
                return
            s3.copy(source, self._bucket, to, ExtraArgs=self._client.encryption, Config=_in_parts())
            s3.delete_object(**source)

        await self._write(move)

    async def list(self, prefix: str) -> Keys:
        below = f"{'/'.join(parts_of(prefix))}/"
        return await self._read(lambda s3: self._list(s3, below))

    async def delete(self, prefix: str) -> int:
        parts_of(prefix)
        if prefix.endswith("/"):
            return await self._write(lambda s3: self._delete_below(s3, prefix))
        return await self._write(lambda s3: self._delete_object(s3, prefix))

    async def check(self) -> None:
        await self._read(lambda s3: s3.list_objects_v2(Bucket=self._bucket, MaxKeys=1))

    async def _read(self, work: Callable[[Any], Result]) -> Result:
        with _ours():
            return await self._client.read(work)

    async def _write(self, work: Callable[[Any], Result]) -> Result:
        with _ours():
            return await self._client.write(work)

    def _bytes(self, s3: Any, **which: str) -> bytes:
        for reads_left in reversed(range(READS)):
            try:
                answer = s3.get_object(Bucket=self._bucket, **which)
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] != RANGE_NOT_SATISFIABLE:
                    raise
                return b""
            try:
                with contextlib.closing(answer["Body"]) as body:
                    data: bytes = body.read()
                    return data
            except (HTTPClientError, IncompleteReadError):
                if not reads_left:
                    raise
        raise AssertionError

    def _pages(self, s3: Any, below: str) -> Iterator[Keys]:
        paginator = s3.get_paginator("list_objects_v2")
        for page in paginator.paginate(Bucket=self._bucket, Prefix=below):
            # a name that ends with a slash is the folder that some tools make
            yield [found["Key"] for found in page.get("Contents", ()) if not found["Key"].endswith("/")]

    def _list(self, s3: Any, below: str) -> Keys:
        keys: Keys = []
        for page in self._pages(s3, below):
            keys += page
            if len(keys) > MAX_LISTED_KEYS:
                raise Unavailable("storage", f"below {below} lie more than {MAX_LISTED_KEYS} objects")
        return sorted(keys)

    def _delete_below(self, s3: Any, below: str) -> int:
        count = 0
        for page in self._pages(s3, below):
            if not page:
                continue
            objects = [{"Key": key} for key in page]
            answer = s3.delete_objects(Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True})
            if refused := answer.get("Errors"):
                code = refused[0].get("Code", "")
                raise Unavailable(
                    "storage", f"{len(refused)} of {len(page)} objects were not deleted: {code}"
                )
            count += len(page)
        return count

    def _delete_object(self, s3: Any, key: str) -> int:
        try:
            s3.head_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != NOT_FOUND:
                raise
            return 0
        s3.delete_object(Bucket=self._bucket, Key=key)
        return 1


@contextlib.contextmanager
def _ours() -> Iterator[None]:
    """No listener is denied or misses anything because the bucket or its key is not set up."""
    try:
        yield
    except Denied as error:
        raise Unavailable("storage", error.message) from error
    except NotFound as error:
        if error.code == object_not_found().code:
            raise
        raise Unavailable("storage", error.message) from error


def _in_parts() -> TransferConfig:
    # no threads beside the client's
    return TransferConfig(
        multipart_threshold=MULTIPART_FROM_BYTES, multipart_chunksize=PART_BYTES, use_threads=False
    )
