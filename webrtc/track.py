"""A track of coded packets, each handed over when it is due.

Owns: the schedule. It is absolute, so that nothing adds up over an hour: a packet that comes late does not
delay the next one. No packet is sent ahead: a receiver takes what arrives early as jitter, and stretches the
sound to make up for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from fractions import Fraction
from typing import Final, Protocol

from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av.packet import Packet
from av.stream import Stream

RATE_HZ: Final = 48_000
"""RFC 7587 4.1: the RTP clock of Opus, whatever its source was sampled at."""
TIME_BASE: Final = Fraction(1, RATE_HZ)

LATE_S: Final = 1.0
"""Behind by more than this, the schedule starts anew from here: a storage that hung causes no flood."""


class CodedPacket(Protocol):
    """One coded frame; `pts` and `duration` in samples at RATE_HZ, the first `pts` may be negative."""

    @property
    def pts(self) -> int: ...
    @property
    def duration(self) -> int: ...
    @property
    def data(self) -> bytes: ...


class StoredAudioTrack(MediaStreamTrack):
    """Hands over the packets as they are; aiortc sends an `av.Packet` without encoding anything.

    `started` is set with the first packet. `ended` is set once nothing follows: all was played (`finished`),
    the packets' source failed (`error`), or the track was stopped.
    """

    kind = "audio"

    def __init__(
        self,
        packets: AsyncIterator[CodedPacket],
        now: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__()
        self.started = asyncio.Event()
        self.ended = asyncio.Event()
        self.finished = False
        self.error: Exception | None = None
        self._packets = packets
        self._now = now or asyncio.get_running_loop().time
        self._sleep = sleep
        self._origin_pts = 0
        self._start_s = 0.0
        self._end_pts = 0

    async def recv(self) -> Packet[Stream]:
        """The next packet, when it is due.

        Raises:
            MediaStreamError: there is none any more.
        """
        coded = await self._next()
        if not self.started.is_set():
            self._origin_pts, self._start_s = coded.pts, self._now()
            self.started.set()
        await self._until(coded.pts)
        self._end_pts = coded.pts + coded.duration
        packet = Packet(coded.data)
        packet.pts = coded.pts - self._origin_pts
        packet.time_base = TIME_BASE
        return packet

    async def _next(self) -> CodedPacket:
        if self.ended.is_set():
            raise MediaStreamError
        try:
            return await anext(self._packets)
        except StopAsyncIteration:
            if self.started.is_set():
                await self._until(self._end_pts)
            self.finished = True
        except Exception as error:  # noqa: BLE001  # whoever gave the packets knows their errors; we pass it back
            self.error = error
        self.stop()
        raise MediaStreamError

    async def _until(self, pts: int) -> None:
        due_s = self._start_s + (pts - self._origin_pts) / RATE_HZ
        wait_s = due_s - self._now()
        if wait_s > 0:
            await self._sleep(wait_s)
        elif wait_s < -LATE_S:
            self._start_s -= wait_s

    def stop(self) -> None:
        """Hand over nothing any more; can be called again."""
        super().stop()
        self.ended.set()
