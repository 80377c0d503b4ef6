"""The one connection to the object storage: boto3, in threads of its own, with its errors as ours.

Every wait is bounded: connecting, each read, the attempts and the threads. What boto3 raises becomes one of
our errors here and nowhere else; a sentence names the storage's own code, never what was sent to it.
Importing this module takes half a second, for boto3 does.
Source: reliability F12, F13.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from media_server.errors import Denied, NotFound, ServiceError, Unavailable
from media_server.settings import Settings
from media_server.storage.base import object_not_found

Result = TypeVar("Result")

THREADS = 16
"""Requests at a time; each holds one connection."""

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 2.0, 10.0

ANSWER_WITHIN_S = 40.0
"""A read's whole time, its place in the queue too: three attempts that hang, not the others' before it."""

ATTEMPTS = 3
"""Of a request, with jitter in between; a client that fails much stops trying again (botocore's quota)."""

RETRY_AFTER_S = 5.0

NO_BUCKET = "no_such_bucket"
"""The code of the answer that the bucket itself is missing."""

_MISSING = frozenset({"NoSuchKey", "NotFound", "404"})
_KEY_REFUSED = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed", "ExpiredToken", "InvalidToken"}
)
_FULL = frozenset({"InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "507"})


class S3Client:
    """boto3's client for as long as the server runs; `encryption` goes with whatever is stored."""

    def __init__(
        self,
        settings: Settings,
        read_timeout_s: float = READ_TIMEOUT_S,
        answer_within_s: float = ANSWER_WITHIN_S,
    ) -> None:
        key, secret = settings.s3_access_key, settings.s3_secret_key
        self.encryption: dict[str, str] = {}
        if settings.s3_sse:
            self.encryption["ServerSideEncryption"] = settings.s3_sse
        if settings.s3_kms_key_id:
            self.encryption["SSEKMSKeyId"] = settings.s3_kms_key_id
        self._where = settings.s3_endpoint or f"Amazon's of {settings.s3_region}"
        self._boto: Any = boto3.session.Session().client(
            "s3",
            endpoint_url=settings.s3_endpoint,
            region_name=settings.s3_region,
            aws_access_key_id=key.get_secret_value() if key else None,
            aws_secret_access_key=secret.get_secret_value() if secret else None,
            config=Config(
                signature_version="s3v4",
                connect_timeout=CONNECT_TIMEOUT_S,
                read_timeout=read_timeout_s,
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
                max_pool_connections=THREADS,
                tcp_keepalive=True,
                # the storages of others do not know the checksums that Amazon's does
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                # a name below the endpoint's may not exist
                s3={"addressing_style": "path" if settings.s3_endpoint else "auto"},
                ignore_configured_endpoint_urls=True,
            ),
        )
        self._answer_within_s = answer_within_s
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="s3")

    async def read(self, work: Callable[[Any], Result]) -> Result:
        """What `work` makes of boto3's client, in a thread. Who is cancelled leaves it alone.

        Raises:
            NotFound: `object_not_found`, or `no_such_bucket`.
            Denied: `storage_denied`, our key may not do this.
            Unavailable: `storage`, it does not answer or not our key; `storage_full`.
        """
        try:
            async with asyncio.timeout(self._answer_within_s):
                return await asyncio.wrap_future(self._threads.submit(self._translated, work))
        except TimeoutError:
            message = f"the storage at {self._where} did not answer within {self._answer_within_s:g} s"
            raise _unavailable(message) from None

    async def write(self, work: Callable[[Any], Result], stop: threading.Event | None = None) -> Result:
        """As `read`; who is cancelled waits until the work has ended, and `stop` tells the work to.

        Raises:
            NotFound, Denied, Unavailable: as `read`.
        """
        submitted = self._threads.submit(self._translated, work)
        working = asyncio.wrap_future(submitted)
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            if stop is not None:
                stop.set()
            if not submitted.cancel():
                await asyncio.wait({working})
                working.cancelled() or working.exception()
            raise

    def close(self) -> None:
        """End the threads, after what they are at; to be called any number of times. It waits."""
        self._threads.shutdown(cancel_futures=True)
        self._boto.close()

    def _translated(self, work: Callable[[Any], Result]) -> Result:
        try:
            return work(self._boto)
        except Boto3Error as error:  # an upload's, around what went wrong
            raise self._ours(error.__context__) from error
        except (ClientError, BotoCoreError) as error:
            raise self._ours(error) from error

    def _ours(self, error: BaseException | None) -> ServiceError:
        if isinstance(error, ClientError):
            return self._answered(error)
        return _unavailable(f"the storage at {self._where} does not answer: {type(error).__name__}")

    def _answered(self, error: ClientError) -> ServiceError:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if code == "NoSuchBucket":
            return NotFound(NO_BUCKET, f"the storage at {self._where} has no such bucket")
        if code in _MISSING:
            return object_not_found()
        if code in _KEY_REFUSED:
            return _unavailable(f"the storage at {self._where} refuses S3_ACCESS_KEY or its secret: {code}")
        if status in (401, 403):
            return Denied("storage_denied", f"the storage at {self._where} denies S3_ACCESS_KEY this: {code}")
        if code in _FULL:
            return _unavailable(f"the storage at {self._where} is full: {code}", "storage_full")
        return _unavailable(f"the storage at {self._where} refuses with {status}: {code}")


def _unavailable(message: str, code: str = "storage") -> Unavailable:
    return Unavailable(code, message, retry_after_s=RETRY_AFTER_S)
