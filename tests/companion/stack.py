"""The whole product on one machine: RabbitMQ, Redis and S3 for real, servers, workers and the companion.

Owns: the order in which they start and end, and that nothing of them is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from companion.callbacks import Companion
from companion.publisher import Bucket, Publisher
from e2e.server import Server, Setting, WorkerProcess
from servers.rabbitmq import PrivateRabbitMQ
from servers.redis import PrivateRedis
from servers.s3 import PrivateS3

TRACKS, ORIGINALS = "veza-media", "veza-originals"
KEY = "a-key-between-two-servers-0123456789"
TOKEN_SECRET = "a-secret-that-signs-tokens-0123456789"
SIGNING_KEYS = "k1:a-secret-that-signs-addresses-01234567"


class Stack:
    """`servers` and `workers` processes over one RabbitMQ, one Redis and one S3 of their own.

    `env` are settings of all processes.
    """

    def __init__(
        self,
        folder: Path,
        *,
        servers: int = 2,
        workers: int = 2,
        env: Mapping[str, Setting] | None = None,
    ) -> None:
        self._folder = folder
        self._counts = servers, workers
        self._env = dict(env or {})
        self._closing = ExitStack()
        self.rabbitmq = PrivateRabbitMQ()
        self.redis = PrivateRedis(persist=True)
        self.s3 = PrivateS3()
        self.companion = Companion()
        self.servers: list[Server] = []
        self.workers: list[WorkerProcess] = []
        self.publisher: Publisher

    def __enter__(self) -> Stack:
        with ExitStack() as closing:
            for service in (self.rabbitmq, self.redis, self.s3):
                service.start()
                closing.callback(service.close)
            for bucket in (TRACKS, ORIGINALS):
                self.s3.make_bucket(bucket)
            self.companion.start()
            closing.callback(self.companion.stop)
            servers, workers = self._counts
            for number in range(servers):
                self.servers.append(Server(self._folder / f"server-{number}", self.settings).start())
                closing.callback(self.servers[-1].close)
            for number in range(workers):
                worker = WorkerProcess(self._folder / f"worker-{number}", self.settings)
                self.workers.append(worker.start())
                closing.callback(worker.close)
            bucket = Bucket(
                endpoint=self.s3.url,
                name=ORIGINALS,
                access_key=self.s3.access_key,
                secret_key=self.s3.secret_key,
            )
            self.publisher = Publisher(self.rabbitmq.url, bucket).start()
            closing.callback(self.publisher.stop)
            self._closing = closing.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    @property
    def settings(self) -> dict[str, Setting]:
        """What every process of the media server is started with."""
        return {
            "BACKEND_API_URL": self.companion.url,
            "INTERNAL_API_KEY": KEY,
            "JWT_SECRET": TOKEN_SECRET,
            "URL_SIGNING_KEYS": SIGNING_KEYS,
            "RABBITMQ_URL": self.rabbitmq.url,
            "REDIS_URL": self.redis.url,
            "S3_ENDPOINT": self.s3.url,
            "S3_BUCKET": TRACKS,
            "S3_ACCESS_KEY": self.s3.access_key,
            "S3_SECRET_KEY": self.s3.secret_key,
            "SOURCE_BUCKETS": ORIGINALS,
            **self._env,
        }
