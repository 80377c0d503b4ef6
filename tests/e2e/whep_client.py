"""A WHEP client that shares no code with the server's side: what aiortc receives, and what HTTP says.

Owns: the payloads as they came out of SRTP, before any jitter buffer or decoder.
Source: draft-ietf-wish-whep 4.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import httpx2
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

CONNECTS_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """One RTP packet. `at_s` is the loop's clock; `timestamp` counts samples at 48 kHz."""

    sequence_number: int
    timestamp: int
    payload: bytes
    at_s: float


class WhepClient:
    """Listens to one track, in an `async with`."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self._url = url
        self._http = httpx2.AsyncClient(timeout=10.0, trust_env=False, headers=dict(headers or {}))
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.arrivals: list[Arrival] = []
        self.answer = ""
        self.location = ""
        self.news = asyncio.Event()
        self.ended = asyncio.Event()
        self._drain: asyncio.Task[None] | None = None

    async def __aenter__(self) -> WhepClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._drain is not None:
            self._drain.cancel()
        await self.connection.close()
        await self._http.aclose()

    async def offer(self) -> str:
        """The client's offer: audio, received only, all candidates in it."""
        transceiver = self.connection.addTransceiver("audio", direction="recvonly")
        self._record(transceiver.receiver)
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return self.connection.localDescription.sdp

    async def post(self, offer: str) -> httpx2.Response:
        return await self._http.post(
            self._url, content=offer.encode(), headers={"Content-Type": "application/sdp"}
        )

    async def begin(self) -> httpx2.Response:
        """Offer, be answered, and connect."""
        response = await self.post(await self.offer())
        assert response.status_code == httpx2.codes.CREATED, response.text
        self.answer = response.text
        self.location = urljoin(self._url, response.headers["location"])
        connected = asyncio.Event()

        def on_state() -> None:
            if self.connection.connectionState == "connected":
                connected.set()

        self.connection.on("connectionstatechange", on_state)
        await self.connection.setRemoteDescription(RTCSessionDescription(sdp=self.answer, type="answer"))
        self._drain = asyncio.create_task(self._take(self.connection.getReceivers()[0]))
        async with asyncio.timeout(CONNECTS_WITHIN_S):
            await connected.wait()
        return response

    async def end(self) -> httpx2.Response:
        return await self._http.delete(self.location)

    def _record(self, receiver: Any) -> None:
        pass_on = receiver._handle_rtp_packet
        loop = asyncio.get_running_loop()

        async def handle(packet: Any, **arrival: Any) -> None:
            if packet.payload:
                self.arrivals.append(
                    Arrival(packet.sequence_number, packet.timestamp, packet.payload, loop.time())
                )
                self.news.set()
            await pass_on(packet, **arrival)

        receiver._handle_rtp_packet = handle

    async def _take(self, receiver: Any) -> None:
        """Frames pile up in a track that nobody reads."""
        try:
            while True:
                await receiver.track.recv()
        except MediaStreamError:
            self.ended.set()

    @property
    def payloads(self) -> list[bytes]:
        """What came, in the order in which it was sent."""
        first = self.arrivals[0].sequence_number
        in_order = sorted(self.arrivals, key=lambda one: (one.sequence_number - first + 1000) & 0xFFFF)
        return [one.payload for one in in_order]
