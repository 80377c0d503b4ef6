"""Messages of one queue that this process has in its hands but nobody works on yet.

The consumer only lays them down: aio-pika cancels a consumer's callback when the connection drops, so no work
may be done in it. A message whose channel is gone is thrown away: the broker gives it again.
Source: reliability fact 8.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Final

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import ChannelInvalidStateError

from media_server.broker.rabbit_connection import BROKEN, CALL_WITHIN_S, Link, RabbitConnection

SETTLE_WITHIN_S: Final = 1.0
"""How long an empty inbox waits for what the broker still holds."""

CONSUMER_TIMEOUT_MS: Final = 10_800_000
"""Three hours, above the longest job. Brokers before 3.12 do not read it: theirs is half an hour."""


class Inbox:
    """Consumes from the first `take` to `stop`, at most `prefetch` messages at once."""

    def __init__(self, connection: RabbitConnection, queue: str, prefetch: int) -> None:
        self.queue = queue
        self._connection = connection
        self._prefetch = prefetch
        self._waiting: deque[AbstractIncomingMessage] = deque()
        self._channel: AbstractChannel | None = None
        self._tag: str | None = None
        self._attaching: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[int] | None = None
        self._stirred = asyncio.Event()

    @property
    def size(self) -> int:
        """Messages that lie here."""
        return len(self._waiting)

    async def attach(self, link: Link) -> None:
        """Consume from a new connection."""
        channel = await link.channel()
        await channel.set_qos(prefetch_count=self._prefetch, timeout=CALL_WITHIN_S)
        queue = await channel.get_queue(self.queue, ensure=False)
        self._channel = channel
        self._waiting.clear()
        self._tag = await queue.consume(
            self._lay_down, arguments={"x-consumer-timeout": CONSUMER_TIMEOUT_MS}, timeout=CALL_WITHIN_S
        )
        self._stirred.set()

    async def take(self) -> AbstractIncomingMessage | None:
        """The next message; None if the queue holds none that is due, or cannot be reached."""
        self._stirred.clear()
        await self._begin()
        message = self._pop()
        if message is None:
            await self._settle()
            message = self._pop()
        if self._waiting:
            self._stirred.set()  # there is more for the others who wait
        return message

    def put_back(self, message: AbstractIncomingMessage) -> None:
        """As if it had not been taken."""
        self._waiting.appendleft(message)

    def stir(self) -> None:
        """Something else may have made it worthwhile to look again."""
        self._stirred.set()

    async def wait(self, timeout_s: float) -> None:
        """Until something came, or the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._stirred.wait()

    async def stop(self) -> list[AbstractIncomingMessage]:
        """Consume no more; what lies here and is alive, for the caller to give back."""
        if self._attaching is None:
            return []
        self._connection.detach(self)
        await asyncio.gather(self._attaching, *([self._asking] if self._asking else []))
        self._attaching = None
        if self._channel is not None and self._tag is not None and not self._channel.is_closed:
            queue = await self._channel.get_queue(self.queue, ensure=False)
            with contextlib.suppress(*BROKEN):
                await queue.cancel(self._tag, timeout=CALL_WITHIN_S)
        left = [message for message in self._waiting if is_alive(message)]
        self._waiting.clear()
        return left

    async def _begin(self) -> None:
        if self._attaching is None:
            self._attaching = asyncio.create_task(self._connection.attach(self), name=f"attach {self.queue}")
        await asyncio.shield(self._attaching)

    async def _settle(self) -> None:
        """Wait for what the broker counts as waiting: it is on its way, or the prefetch is used up."""
        channel = self._channel
        if channel is None or channel.is_closed:
            return await self.wait(SETTLE_WITHIN_S)
        if self._asking is None or self._asking.done():
            # a task: a call that is cancelled half-way closes its channel, and with it all deliveries
            self._asking = asyncio.create_task(self._count(channel), name=f"count {self.queue}")
        if await asyncio.shield(self._asking) and not self._waiting:
            await self.wait(SETTLE_WITHIN_S)
        return None

    async def _count(self, channel: AbstractChannel) -> int:
        """What waits, asked twice on the channel of the deliveries.

        What was on its way at the first answer is here at the second.
        """
        waiting = 0
        with contextlib.suppress(*BROKEN):
            async with asyncio.timeout(CALL_WITHIN_S):
                for _ in range(2):
                    queue = await channel.declare_queue(self.queue, durable=True, passive=True)
                    waiting = queue.declaration_result.message_count or 0
        return waiting

    async def _lay_down(self, message: AbstractIncomingMessage) -> None:
        self._waiting.append(message)
        self._stirred.set()

    def _pop(self) -> AbstractIncomingMessage | None:
        while self._waiting:
            message = self._waiting.popleft()
            if is_alive(message):
                return message
        return None


def is_alive(message: AbstractIncomingMessage) -> bool:
    """Whether it can still be acknowledged."""
    try:
        return not message.channel.is_closed
    except ChannelInvalidStateError:
        return False


async def acknowledge(message: AbstractIncomingMessage) -> bool:
    """Let the broker forget it; False if its channel is gone: then it comes again."""
    if not is_alive(message):
        return False
    try:
        async with asyncio.timeout(CALL_WITHIN_S):
            await message.ack()
    except BROKEN:
        return False
    return True
