"""A reader of MPEG-TS for the tests, written from ISO/IEC 13818-1 and not from what it reads."""

from __future__ import annotations

from dataclasses import dataclass, field

PACKET = 188


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One transport packet; `clock` is its PCR in 27 MHz ticks, if it has one."""

    pid: int
    counter: int
    starts: bool
    clock: int | None
    payload: bytes


@dataclass(slots=True)
class Pes:
    """One PES packet; `arrival` the clock at its packets, where they have one."""

    header: bytes
    data: bytes
    clocks: list[int] = field(default_factory=list)

    @property
    def pts(self) -> int:
        a, b, c, d, e = self.header[9:14]
        assert (a >> 4, a & 1, c & 1, e & 1) == (0b0010, 1, 1, 1)
        return (a >> 1 & 7) << 30 | (b << 7 | c >> 1) << 15 | (d << 7 | e >> 1)

    @property
    def frames(self) -> list[tuple[bytes, bytes]]:
        """The ADTS frames: header and raw data block."""
        found, at = [], 0
        while at < len(self.data):
            assert self.data[at] == 0xFF
            assert self.data[at + 1] == 0xF1
            size = int.from_bytes(self.data[at + 3 : at + 6], "big") >> 5 & 0x1FFF
            found.append((self.data[at : at + 7], self.data[at + 7 : at + size]))
            at += size
        assert at == len(self.data)
        return found


def packets(stream: bytes) -> list[Packet]:
    """2.4.3.2, 2.4.3.4: every packet, its adaptation field checked byte for byte."""
    assert len(stream) % PACKET == 0
    return [_packet(stream[at : at + PACKET]) for at in range(0, len(stream), PACKET)]


def _packet(raw: bytes) -> Packet:
    assert raw[0] == 0x47
    assert raw[1] & 0xA0 == 0, "transport_error_indicator, transport_priority"
    assert raw[3] >> 6 == 0, "scrambled"
    adapted, has_payload = raw[3] >> 5 & 1, raw[3] >> 4 & 1
    assert has_payload, "the counter of a packet without payload would not rise"
    start, clock = 4, None
    if adapted:
        length = raw[4]
        assert length <= 182, "2.4.3.5: with a payload the field has 0 to 182 bytes"
        start = 5 + length
        if length:
            flags, at = raw[5], 6
            assert flags & 0xAF == 0, "a discontinuity, or fields that nobody reads"
            if flags & 0x10:
                bits = int.from_bytes(raw[6:12], "big")
                assert bits >> 9 & 0x3F == 0x3F, "reserved bits are 1"
                clock, at = (bits >> 15) * 300 + (bits & 0x1FF), 12
            assert set(raw[at:start]) <= {0xFF}
    pid = (raw[1] << 8 | raw[2]) & 0x1FFF
    return Packet(pid=pid, counter=raw[3] & 15, starts=bool(raw[1] & 0x40), clock=clock, payload=raw[start:])


def pes_of(stream: bytes, pid: int) -> list[Pes]:
    """The PES of one PID, each as long as it says."""
    found: list[Pes] = []
    for packet in packets(stream):
        if packet.pid != pid:
            continue
        if packet.starts:
            found.append(Pes(header=b"", data=b""))
        found[-1].data += packet.payload
        if packet.clock is not None:
            found[-1].clocks.append(packet.clock)
    for pes in found:
        pes.header, pes.data = pes.data[:14], pes.data[14:]
        assert pes.header[:4] == b"\0\0\1\xc0"
        assert pes.header[6:9] == b"\x84\x80\x05", "aligned, with a PTS alone"
        assert int.from_bytes(pes.header[4:6], "big") == 8 + len(pes.data)
    return found


def crc32(data: bytes) -> int:
    """Annex A, bit by bit; over a section with its CRC it is 0."""
    register = 0xFFFFFFFF
    for bit in (byte >> place & 1 for byte in data for place in range(7, -1, -1)):
        top, register = register >> 31, register << 1 & 0xFFFFFFFF
        if top ^ bit:
            register ^= 0x04C11DB7
    return register
