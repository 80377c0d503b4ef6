"""The queues of a media server on RabbitMQ, and what leads from one to the other.

Pure but for `declare`. Next to a queue stand its retry queues, where a message waits for its time and then
goes back by itself, and a parking queue for people to look at. All are quorum queues; a message moves from
one to the other at least once. `x-delivery-limit` is the net for messages that kill whoever receives them
before anything can be counted: such a one is parked, too.
Source: contract, Events; reliability, "Retry design" and facts 6 and 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aio_pika import ExchangeType
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelClosed, ChannelNotFoundEntity, ChannelPreconditionFailed

from media_server.broker.envelope import CATALOGUE_NAMES, UPLOADED_NAMES
from media_server.errors import Unavailable

DECLARE_WITHIN_S: Final = 10.0
CRASH_NET: Final = 100
"""Deliveries that ended with a closed channel; far above the attempts that we count ourselves.

A broker that stops in order counts several for each message that was in hand, the more the more workers.
"""

KEEPS: Final = 1_000_000
"""The limit of a queue whose messages are looked at again and again, or must not be lost to our restarts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A retry queue: messages wait in it for `seconds`."""

    name: str
    seconds: float


TIERS: Final = (
    Tier(name="10s", seconds=10),
    Tier(name="60s", seconds=60),
    Tier(name="10m", seconds=600),
)
CALLBACK_TIERS: Final = (Tier(name="1s", seconds=1), *TIERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A queue to declare, and the routing keys by which events reach it."""

    name: str
    arguments: Mapping[str, str | int]
    bindings: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """The names of one media server's exchange and queues."""

    exchange: str
    queue: str
    tiers: Sequence[Tier] = TIERS
    callback_tiers: Sequence[Tier] = CALLBACK_TIERS

    @property
    def catalogue(self) -> str:
        return f"{self.queue}.catalogue"

    @property
    def callbacks(self) -> str:
        return f"{self.queue}.callbacks"

    @property
    def parked(self) -> str:
        """Jobs and events that were given up."""
        return f"{self.queue}.parked"

    @property
    def callbacks_parked(self) -> str:
        return f"{self.callbacks}.parked"

    def waiting_room(self, queue: str, delay_s: float) -> str:
        """Where a message of `queue` waits `delay_s`: the longest tier that is not longer, else the first.

        The queue itself for no delay.
        """
        if delay_s <= 0:
            return queue
        tiers = self._tiers_of(queue)
        fitting = [tier for tier in tiers if tier.seconds <= delay_s]
        return _retry(queue, (fitting or tiers)[-1 if fitting else 0])

    def waiting_rooms(self, queue: str) -> list[str]:
        """The retry queues of a queue, shortest first."""
        return [_retry(queue, tier) for tier in self._tiers_of(queue)]

    def planned(self) -> list[Planned]:
        """Every queue; parking queues first, for others lead to them."""
        queues = [
            Planned(name=name, arguments=_quorum(KEEPS)) for name in (self.parked, self.callbacks_parked)
        ]
        for name, bindings, parked, limit in (
            (self.queue, UPLOADED_NAMES, self.parked, CRASH_NET),
            (self.catalogue, CATALOGUE_NAMES, self.parked, CRASH_NET),
            (self.callbacks, (), self.callbacks_parked, KEEPS),
        ):
            queues.append(Planned(name=name, arguments=_quorum(limit, then=parked), bindings=bindings))
            for tier in self._tiers_of(name):
                arguments = {"x-message-ttl": round(tier.seconds * 1000), **_quorum(KEEPS, then=name)}
                queues.append(Planned(name=_retry(name, tier), arguments=arguments))
        return queues

    def _tiers_of(self, queue: str) -> Sequence[Tier]:
        return self.callback_tiers if queue == self.callbacks else self.tiers


def _retry(queue: str, tier: Tier) -> str:
    return f"{queue}.retry.{tier.name}"


def _quorum(delivery_limit: int, *, then: str | None = None) -> dict[str, str | int]:
    arguments: dict[str, str | int] = {"x-queue-type": "quorum", "x-delivery-limit": delivery_limit}
    if then is not None:
        arguments |= {
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": then,
            # what expires is removed only when the next queue has confirmed it; that needs reject-publish
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
    return arguments


async def declare(connection: AbstractConnection, topology: Topology, *, passive: bool) -> None:
    """Declare the exchange, the queues and their bindings; with `passive` only see that they are there.

    Raises:
        Unavailable: `broker`, what stands there is something else, or with `passive` nothing does.
    """
    what = f"exchange {topology.exchange}"
    channel = await connection.channel()
    try:
        exchange = await channel.declare_exchange(
            topology.exchange, ExchangeType.TOPIC, durable=True, passive=passive, timeout=DECLARE_WITHIN_S
        )
        for planned in topology.planned():
            what = f"queue {planned.name}"
            queue = await channel.declare_queue(
                planned.name,
                durable=True,
                passive=passive,
                arguments=dict(planned.arguments),
                timeout=DECLARE_WITHIN_S,
            )
            if not passive:
                for key in planned.bindings:
                    await queue.bind(exchange, key, timeout=DECLARE_WITHIN_S)
    except ChannelNotFoundEntity:
        told = f"it has no {what}, and RABBITMQ_DECLARE=passive forbids to declare it"
        raise Unavailable("broker", told) from None
    except ChannelPreconditionFailed as error:
        told = f"it has another {what} than ours: {_reply(error)}"
        raise Unavailable("broker", told) from None
    except ChannelClosed as error:
        raise Unavailable("broker", f"it does not let us declare {what}: {_reply(error)}") from None
    await channel.close()


def _reply(error: ChannelClosed) -> str:
    """What the broker said; its texts name queues and arguments, never credentials."""
    return str(error.args[-1] if error.args else "no reason given").split(" - ", 1)[-1]
