"""Takes deliveries from the broker and hands them to the handler, some at a time, until it is to stop."""

from __future__ import annotations

import asyncio

import structlog

from media_server.broker.base import Broker, Delivery
from media_server.errors import Unavailable
from media_server.jobs.handler import Handler
from media_server.jobs.maker import Maker
from media_server.jobs.making import is_making
from media_server.jobs.regain import is_regain
from media_server.jobs.regainer import Regainer
from media_server.metrics import Metrics

log = structlog.get_logger()

IDLE_S = 1.0
"""How long an idle worker waits before it looks again for what other processes submitted."""


class Worker:
    """`concurrent` jobs at a time from one broker.

    `maker` takes the Makings among them, `regainer` the Regains.
    """

    def __init__(
        self,
        broker: Broker,
        handler: Handler,
        metrics: Metrics,
        concurrent: int,
        maker: Maker | None = None,
        regainer: Regainer | None = None,
    ) -> None:
        self._broker = broker
        self._handler = handler
        self._maker = maker
        self._regainer = regainer
        self._metrics = metrics
        self._concurrent = concurrent

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`: then nothing new is taken, what runs is finished.

        Cancelled, it releases what runs: each goes back to the queue and the attempt is not counted.
        """
        async with asyncio.TaskGroup() as lanes:
            for _ in range(self._concurrent):
                lanes.create_task(self._lane(stop))
            await stop.wait()
            await self._broker.stop_receiving()

    async def burst(self) -> int:
        """Work until the queue holds nothing that is due; how many deliveries were handled."""
        handled = 0
        while (delivery := await self._broker.receive()) is not None:
            await self._handle(delivery)
            handled += 1
        return handled

    async def _lane(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            delivery = await self._received()
            await self._measure()
            if delivery is None:
                await self._idle(stop)
                continue
            try:
                await self._handle(delivery)
            except Exception as error:  # one job's bug must not stop the others
                # the lease runs out and the attempt counts, so this cannot go on for ever
                log.error("worker.bug", job_id=delivery.job_id, exc_info=error)

    async def _handle(self, delivery: Delivery) -> None:
        if self._maker is not None and is_making(delivery.body):
            await self._maker.handle(delivery)
        elif self._regainer is not None and is_regain(delivery.body):
            await self._regainer.handle(delivery)
        else:
            await self._handler.handle(delivery)

    async def _received(self) -> Delivery | None:
        try:
            return await self._broker.receive()
        except Unavailable as error:  # it will be back; whoever listens meanwhile must not suffer for it
            log.warning("worker.receive_failed", code=error.code, reason=error.message)
            return None

    async def _measure(self) -> None:
        try:
            depth = await self._broker.depth()
        except Unavailable as error:
            log.debug("worker.queue_not_measured", reason=error.message)
            return
        self._metrics.queue_measured(waiting=depth.waiting, oldest_s=depth.oldest_s)

    async def _idle(self, stop: asyncio.Event) -> None:
        stopped = asyncio.ensure_future(stop.wait())
        woken = asyncio.ensure_future(self._broker.wait(IDLE_S))
        try:
            await asyncio.wait({stopped, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            woken.cancel()
            await asyncio.gather(stopped, woken, return_exceptions=True)
