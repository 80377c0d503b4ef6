"""Buckets on the S3 that all tests of a process share, and the product's client for it."""

from __future__ import annotations

import atexit
import functools

from servers.s3 import PrivateS3, shared_s3

from media_server.settings import Settings
from media_server.storage.s3_client import S3Client


def settings_of(server: PrivateS3, **more: object) -> Settings:
    """A media server's settings that lead to this S3."""
    return Settings(
        _env_file=None,
        s3_endpoint=server.url,
        s3_access_key=server.access_key,
        s3_secret_key=server.secret_key,
        **more,
    )


@functools.cache
def shared_client() -> S3Client:
    """One client for all tests of this process: it belongs to no event loop."""
    client = S3Client(settings_of(shared_s3()))
    atexit.register(client.close)
    return client


def emptied(bucket: str) -> str:
    """The bucket, made if it is not there, without what earlier tests left in it."""
    server = shared_s3()
    server.make_bucket(bucket)
    while keys := server.keys(bucket)[:1000]:
        server.client.delete_objects(
            Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
        )
    return bucket
