"""A WebRTC peer in the test's own process: offers to hear, and keeps what comes.

Owns: the payloads as they came out of SRTP, before any jitter buffer or decoder.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

WITHIN_S = 10.0


class Peer:
    """Who offers, and what came."""

    def __init__(self) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.receiver = self.connection.addTransceiver("audio", direction="recvonly").receiver
        self.payloads: asyncio.Queue[bytes] = asyncio.Queue()
        pass_on = self.receiver._handle_rtp_packet

        async def handle(packet: Any, **arrival: Any) -> None:
            if packet.payload:
                self.payloads.put_nowait(packet.payload)
            await pass_on(packet, **arrival)

        self.receiver._handle_rtp_packet = handle

    async def offer(self) -> str:
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return str(self.connection.localDescription.sdp)

    async def accept(self, answer: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))

    async def received(self, count: int) -> list[bytes]:
        async with asyncio.timeout(WITHIN_S):
            return [await self.payloads.get() for _ in range(count)]

    async def ended(self) -> None:
        """Wait for the goodbye."""
        async with asyncio.timeout(WITHIN_S):
            with pytest.raises(MediaStreamError):
                while True:
                    await self.receiver.track.recv()
