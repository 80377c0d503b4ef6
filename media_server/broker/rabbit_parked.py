"""What was given up, looked at without taking it away.

A parking queue is read to its end, or to a limit, over a channel of its own; closing that gives it all back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aio_pika.abc import AbstractIncomingMessage

from media_server.broker.base import ParkedMessage
from media_server.broker.rabbit_connection import BROKEN, RabbitConnection, reason_of
from media_server.broker.rabbit_message import (
    ATTEMPT,
    PARKED_AT,
    REASON,
    TRACK,
    is_ours,
    moment,
    number,
    text,
)

MOST: Final = 1000
LOOK_WITHIN_S: Final = 10.0


@asynccontextmanager
async def looked_at(
    connection: RabbitConnection, queue_name: str
) -> AsyncIterator[list[AbstractIncomingMessage]]:
    """The messages of a parking queue, oldest first; what is not acknowledged inside goes back.

    At most MOST of them; the order is that of their parking, for a queue that was looked at forgets its own.

    Raises:
        Unavailable: `broker`.
    """
    link = await connection.up()
    try:
        async with asyncio.timeout(LOOK_WITHIN_S), link.connection.channel() as channel:
            queue = await channel.get_queue(queue_name, ensure=False)
            found: list[AbstractIncomingMessage] = []
            while len(found) < MOST and (message := await queue.get(fail=False)) is not None:
                found.append(message)
            yield sorted(found, key=lambda message: moment(message.headers, PARKED_AT))
    except BROKEN as error:
        raise connection.unavailable(reason_of(error)) from None


async def parked_jobs(connection: RabbitConnection) -> list[ParkedMessage]:
    """Jobs and events that were given up."""
    async with looked_at(connection, connection.topology.parked) as messages:
        return [_parked(message) for message in messages]


def _parked(message: AbstractIncomingMessage) -> ParkedMessage:
    headers, ours = message.headers, is_ours(message)
    return ParkedMessage(
        job_id=(message.message_id or "") if ours else "",
        track_id=(text(headers, TRACK) or "") if ours else "",
        parked_at=moment(headers, PARKED_AT),
        attempt=number(headers, ATTEMPT),
        # without one the broker itself moved it: more deliveries than the crash net allows
        reason=text(headers, REASON) or "delivery_limit",
        body=message.body,
    )
