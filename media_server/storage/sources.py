"""Originals in buckets of others: read, never written, and only from the buckets that the operator names.

A key is data. It may hold any text that a request can carry as it is; one with a part `.` or `..` cannot, for
what lies between us and the storage would read it as a path into another bucket.
Source: contract, SOURCE_BUCKETS; reliability F13, F14.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from media_server.errors import Denied, NotFound, Unavailable
from media_server.storage.download import Downloaded, download, too_large

if TYPE_CHECKING:
    from media_server.storage.s3_client import S3Client

MAX_KEY_BYTES = 1024
"""S3's longest key, in UTF-8."""

MISSING_DELAYS_S = (2.0, 8.0, 20.0)
"""The message may be faster than the upload: a missing object is asked for again after these."""


class S3Sources:
    """The buckets that a job's source may lie in."""

    def __init__(
        self, client: S3Client, buckets: Sequence[str], missing_delays_s: Sequence[float] = MISSING_DELAYS_S
    ) -> None:
        self._client = client
        self._buckets = frozenset(buckets)
        self._missing_delays_s = missing_delays_s

    async def download(self, bucket: str, key: str, into: Path, max_bytes: int) -> tuple[str, int]:
        """Bring an object to the file `into`, which must not exist; its SHA-256 in hex and its bytes.

        Raises:
            Denied: `source_forbidden`, the bucket is not in SOURCE_BUCKETS, or our key may not read there.
            NotFound: `source_not_found`, also after another half minute.
            LimitExceeded: `too_large`, more than `max_bytes`; at most those were read.
            Unavailable: `storage`, it is out of reach or too slow; `disk`, the local disk refuses.
        """
        if bucket not in self._buckets:
            raise Denied("source_forbidden", "the source's bucket is not one of SOURCE_BUCKETS")
        _must_be_a_key(key)
        for delay_s in self._missing_delays_s:
            try:
                return await self._download(bucket, key, into, max_bytes)
            except NotFound:
                await asyncio.sleep(delay_s)
        return await self._download(bucket, key, into, max_bytes)

    async def _download(self, bucket: str, key: str, into: Path, max_bytes: int) -> tuple[str, int]:
        stop = threading.Event()

        def bring(s3: Any) -> Downloaded:
            answer = s3.get_object(Bucket=bucket, Key=key)
            with contextlib.closing(answer["Body"]) as body:
                if answer["ContentLength"] > max_bytes:
                    raise too_large(str(answer["ContentLength"]), max_bytes)
                return download(body, into, stop, max_bytes)

        try:
            got = await self._client.write(bring, stop)
        except Denied as error:
            raise Denied("source_forbidden", error.message) from error
        except NotFound:
            raise NotFound("source_not_found", "there is no such object in the source's bucket") from None
        except OSError as error:
            raise Unavailable("disk", f"the source cannot be written: {error.strerror}") from error
        return got.sha256, got.size_bytes


def _must_be_a_key(key: str) -> None:
    try:
        fits = 0 < len(key.encode()) <= MAX_KEY_BYTES
    except UnicodeEncodeError:
        fits = False
    if not fits:
        raise NotFound("source_not_found", f"the source's key is no text of 1 to {MAX_KEY_BYTES} bytes")
    if {".", ".."} & set(key.split("/")):
        raise NotFound("source_not_found", "the source's key has a part . or .., which no request can carry")
