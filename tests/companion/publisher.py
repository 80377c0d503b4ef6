"""The companion API's side of an upload: the file goes to its bucket, `track.uploaded` to the exchange.

Owns: the messages as the companion writes them, and what it hears on the exchange. One connection, in a
thread with a loop of its own, so that tests and scripts read from top to bottom.
"""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import aio_pika
import boto3
from aio_pika.abc import AbstractIncomingMessage, AbstractRobustConnection
from botocore.config import Config

Json = dict[str, Any]
Result = TypeVar("Result")

CALL_WITHIN_S = 30.0
PUBLISH_TRIES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Where the companion keeps what artists upload."""

    endpoint: str
    name: str
    access_key: str
    secret_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """An event of the media server, as it came."""

    type: str
    headers: dict[str, Any]
    envelope: Json

    @property
    def data(self) -> Json:
        data: Json = self.envelope["data"]
        return data


@dataclass(slots=True)
class _News:
    heard: list[Heard] = field(default_factory=list)
    came: threading.Condition = field(default_factory=threading.Condition)


class Publisher:
    """Uploads, publishes and listens, from `start` to `stop`."""

    def __init__(self, amqp_url: str, bucket: Bucket, exchange: str = "veza.events") -> None:
        self._amqp_url = amqp_url
        self._bucket = bucket
        self._exchange_name = exchange
        self._news = _News()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="companion", daemon=True)
        self._connection: AbstractRobustConnection | None = None
        self._s3 = boto3.client(
            "s3",
            endpoint_url=bucket.endpoint,
            aws_access_key_id=bucket.access_key,
            aws_secret_access_key=bucket.secret_key,
            region_name="us-east-1",
            config=Config(
                signature_version="s3v4",
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"addressing_style": "path"},
            ),
        )

    def start(self) -> Publisher:
        self._thread.start()
        self._call(self._connect())
        return self

    def stop(self) -> None:
        """End the connection and the thread; to be called any number of times."""
        if not self._thread.is_alive():
            return
        if self._connection is not None:
            self._call(self._connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_WITHIN_S)
        self._loop.close()
        self._s3.close()

    def __enter__(self) -> Publisher:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def upload(self, path: Path, track_id: str | None = None, **data: object) -> str:
        """Do what the companion does for an artist's file; the track's id."""
        track_id = track_id or str(uuid.uuid4())
        key = f"originals/{track_id}/{path.name}"
        self._s3.upload_file(str(path), self._bucket.name, key)
        source = {"bucket": self._bucket.name, "key": key}
        self.publish("track.uploaded", {"track_id": track_id, "source": source, **data})
        return track_id

    def publish(self, event_type: str, data: Json, **envelope: object) -> str:
        """Publish an event in its envelope, confirmed; its id."""
        event_id = str(uuid.uuid4())
        message = {
            "event_id": event_id,
            "event_type": event_type,
            "aggregate_id": data.get("track_id", ""),
            "aggregate_type": "Track",
            "timestamp": datetime.now(UTC).isoformat(),
            "version": 1,
            "data": data,
            "metadata": {"correlation_id": str(uuid.uuid4())},
            **envelope,
        }
        self.publish_raw(event_type, json.dumps(message).encode())
        return event_id

    def publish_raw(self, event_type: str, body: bytes) -> None:
        """Publish these bytes, confirmed."""
        self._call(self._publish(event_type, body))

    def wait_for(
        self, holds: Callable[[list[Heard]], bool], what: str, *, within_s: float = 60.0
    ) -> list[Heard]:
        """Everything that was heard, as soon as this holds of it.

        Raises:
            AssertionError: it does not hold in time.
        """
        with self._news.came:
            met = self._news.came.wait_for(lambda: holds(list(self._news.heard)), within_s)
            assert met, f"{what}: not within {within_s:g} s; heard {[one.type for one in self._news.heard]}"
            return list(self._news.heard)

    def heard(self, event_type: str, track_id: str) -> list[Heard]:
        """The events of this type about this track so far."""
        with self._news.came:
            return [
                one
                for one in self._news.heard
                if one.type == event_type and one.data.get("track_id") == track_id
            ]

    async def _connect(self) -> None:
        self._connection = await aio_pika.connect_robust(self._amqp_url, reconnect_interval=0.5)
        channel = await self._connection.channel()
        exchange = await channel.declare_exchange(
            self._exchange_name, aio_pika.ExchangeType.TOPIC, durable=True
        )
        # durable: what is told while we are away is heard later
        queue = await channel.declare_queue(f"companion.{uuid.uuid4()}", durable=True)
        await queue.bind(exchange, "transcoding.*")
        await queue.consume(self._hear)

    async def _hear(self, message: AbstractIncomingMessage) -> None:
        heard = Heard(
            type=message.routing_key or "",
            headers=dict(message.headers),
            envelope=json.loads(message.body),
        )
        with self._news.came:
            self._news.heard.append(heard)
            self._news.came.notify_all()
        await message.ack()

    async def _publish(self, event_type: str, body: bytes) -> None:
        """With a confirm; a broker that has just started may say no for a moment."""
        assert self._connection is not None
        message = aio_pika.Message(
            body, content_type="application/json", delivery_mode=aio_pika.DeliveryMode.PERSISTENT
        )
        for tried in range(1, PUBLISH_TRIES + 1):
            try:
                async with asyncio.timeout(5):
                    async with self._connection.channel(publisher_confirms=True) as channel:
                        exchange = await channel.get_exchange(self._exchange_name)
                        await exchange.publish(message, event_type, mandatory=True)
                return
            # RuntimeError: what a robust connection says between two connections
            except (aio_pika.exceptions.AMQPError, ConnectionError, TimeoutError, RuntimeError):
                if tried == PUBLISH_TRIES:
                    raise
                await asyncio.sleep(0.2)

    def _call(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_WITHIN_S)
