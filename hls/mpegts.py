"""MPEG-TS: a stored segment of AAC, written as the transport stream that older players want.

Owns: every byte of such a segment. It is made of the coded frames of the stored one and of nothing else, so
nobody encodes or stores anything twice, and whoever renders segment 17 need not know segments 0 to 16:

- timestamps follow from the frames' decode times;
- PAT and PMT stand once in each segment, so their continuity counters are the segment's number;
- the audio of each segment fills a multiple of 16 packets, so its counter begins at 0 in every one and still
  runs on from the one before (bis 3 forbids a jump). This costs 7.5 packets a segment on average;
- each PES is granted as many bytes as it could waste in its last packet. So the number of packets, and with
  it BANDWIDTH, follows from the bytes and the number of the frames alone: `asset.json` has both.

A transport stream has no edit list: the encoder's priming is heard as silence (1024 samples, 21.3 ms) before
the first sample, and the last frame is whole. What has to be gapless is played from fMP4.
Sources: ISO/IEC 13818-1 (clause numbers alone), bis 3.1.1, RFC 8216 3.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from hls import adts
from hls.packets import CodedPacket
from pipeline.grid import AAC_FRAME_SAMPLES, RATE_HZ

PACKET_BYTES = 188
SYNC_BYTE = 0x47
ROOM_BYTES = PACKET_BYTES - 4
COUNTER_CYCLE = 16  # continuity_counter has four bits, 2.4.3.3
TABLES = 2  # PAT and PMT: the first two packets of a segment, bis 3.1.1

PROGRAM_MAP_PID = 0x1000
AUDIO_PID = 0x0100
PROGRAM = 1
STREAM = 1  # transport_stream_id
ADTS_AUDIO = 0x0F  # stream_type, table 2-34
FIRST_AUDIO_STREAM = 0xC0  # stream_id, table 2-22

PTS_HZ = 90_000
SYSTEM_CLOCK_HZ = 27_000_000
SYSTEM_TICKS = SYSTEM_CLOCK_HZ // PTS_HZ
PTS_CYCLE = 1 << 33  # a timestamp has 33 bits: it starts anew after 26.5 h
FIRST_PTS = PTS_HZ
"""Of the priming, in every rendition: 1 s, so that the clock, which runs ahead of it, begins above 0."""

LEAD = 7 * PTS_HZ // 10
"""How much later a PES is heard than its first byte arrives: more than it lasts, so that each frame is there
in time however unevenly the bits are spread."""

FRAMES_A_PES = 30
"""0.64 s: 2.7.4 allows 0.7 s without a PTS. One frame a PES would double a low bit rate."""

CLOCKS_A_PES = 8
"""At most 0.1 s apart (2.7.2) where a PES has 26 packets or more, 61 kbit/s. Nearer to silence, with 9 to 25,
at most 0.15 s; with fewer each packet has one."""

PES_HEADER_BYTES = 14
PES_LENGTH_COUNTS = 8  # of the header, what follows PES_packet_length
CLOCK_BYTES = 8  # an adaptation field of a length, flags and a PCR
WASTE_BYTES = ROOM_BYTES - 1  # at most, in the last packet of a PES
PES_OVERHEAD_BYTES = PES_HEADER_BYTES + CLOCKS_A_PES * CLOCK_BYTES + WASTE_BYTES


def size_bytes(frame_bytes: int, frames: int) -> int:
    """How large a segment is: exactly, whatever the frames' single sizes.

    Args:
        frame_bytes: of all coded frames together, without headers.
        frames: how many.
    """
    pes = -(-frames // FRAMES_A_PES)
    return PACKET_BYTES * (TABLES + _whole_cycles(_packets(frame_bytes, frames, pes)))


def transport_segment(number: int, frames: Sequence[CodedPacket]) -> bytes:
    """The frames of the segment `number`, counted from 0, as one of MPEG-TS.

    Raises:
        ValueError: there are none, or they are not AAC in one or two channels, frame after frame.
    """
    times = [frame.decode_time for frame in frames]
    if not times or times != [times[0] + place * AAC_FRAME_SAMPLES for place in range(len(times))]:
        raise ValueError(f"segment {number} is not made of frames of {AAC_FRAME_SAMPLES} samples")
    channels = adts.channels_of(frame.data for frame in frames)
    groups = [frames[at : at + FRAMES_A_PES] for at in range(0, len(frames), FRAMES_A_PES)]
    packets = [_table(0, number, PAT), _table(PROGRAM_MAP_PID, number, PMT)]
    for group, (first, end) in zip(groups, _places(groups), strict=True):
        packets += _packetized(group, channels, first, end - first)
    return b"".join(packets)


def _packets(frame_bytes: int, frames: int, pes: int) -> int:
    """How many packets are reserved for so many frames in so many PES."""
    reserved = frame_bytes + frames * adts.HEADER_BYTES + pes * PES_OVERHEAD_BYTES
    return -(-reserved // ROOM_BYTES)


def _whole_cycles(packets: int) -> int:
    return -(-packets // COUNTER_CYCLE) * COUNTER_CYCLE


def _places(groups: Sequence[Sequence[CodedPacket]]) -> list[tuple[int, int]]:
    """The packets [first, end) of each PES, counted from the first of audio.

    Each has room: what is reserved from it on, less what is reserved behind it, is short of its own share by
    less than a packet, and that much was granted. Counted from the end, so that what fills the last cycle
    goes to the first PES, which is long enough to be spread.
    """
    sizes = [sum(len(frame.data) for frame in group) for group in groups]
    reserved = [
        _packets(sum(sizes[at:]), sum(map(len, groups[at:])), len(groups) - at) for at in range(len(groups))
    ]
    total = _whole_cycles(reserved[0])
    return list(pairwise((0, *(total - packets for packets in reserved[1:]), total)))


def _packetized(frames: Sequence[CodedPacket], channels: int, first: int, packets: int) -> Iterator[bytes]:
    """One PES in exactly so many packets, of which `first` is the first's place among all of audio."""
    pts = FIRST_PTS + PTS_HZ * frames[0].decode_time // RATE_HZ
    pes = _pes(frames, channels, pts)
    every = -(-packets // CLOCKS_A_PES)
    ticks = SYSTEM_CLOCK_HZ * AAC_FRAME_SAMPLES * len(frames) // RATE_HZ
    start = (pts - LEAD) * SYSTEM_TICKS
    fields = [
        _clock(start + ticks * place // packets, begins=place == 0) if place % every == 0 else b""
        for place in range(packets)
    ]
    stuffing = _stuffing([ROOM_BYTES - len(field) for field in fields], len(pes))
    at = 0
    for place, (field, stuffed) in enumerate(zip(fields, stuffing, strict=True)):
        field = _adaptation_field(field, stuffed)
        size = ROOM_BYTES - len(field)
        yield (
            _header(AUDIO_PID, first + place, starts=place == 0, adapted=bool(field))
            + field
            + pes[at : at + size]
        )
        at += size


def _stuffing(rooms: Sequence[int], payload_bytes: int) -> list[int]:
    """Bytes to stuff each packet with: the last ones most, each keeps a byte of payload (2.4.3.5)."""
    left = sum(rooms) - payload_bytes
    stuffing = []
    for room in reversed(rooms):
        stuffing.append(min(left, room - 1))
        left -= stuffing[-1]
    return stuffing[::-1]


def _pes(frames: Sequence[CodedPacket], channels: int, pts: int) -> bytes:
    """2.4.3.6: whole frames (data_alignment_indicator), a PTS and no DTS, which would be the same."""
    payload = b"".join(adts.header(len(frame.data), channels) + frame.data for frame in frames)
    length = (PES_LENGTH_COUNTS + len(payload)).to_bytes(2, "big")
    return b"\0\0\1" + bytes((FIRST_AUDIO_STREAM,)) + length + b"\x84\x80\x05" + _timestamp(pts) + payload


def _timestamp(pts: int) -> bytes:
    """33 bits in three groups, each with a marker behind, after 0010 (2.4.3.6)."""
    pts %= PTS_CYCLE
    high, middle, low = pts >> 30, pts >> 15 & 0x7FFF, pts & 0x7FFF
    return (0b0010 << 36 | high << 33 | 1 << 32 | middle << 17 | 1 << 16 | low << 1 | 1).to_bytes(5, "big")


def _clock(ticks: int, *, begins: bool) -> bytes:
    """An adaptation field with a PCR, of a packet in which a PES `begins` or not (2.4.3.4)."""
    base, extension = divmod(ticks % (PTS_CYCLE * SYSTEM_TICKS), SYSTEM_TICKS)
    flags = 0x50 if begins else 0x10  # random_access_indicator, PCR_flag
    return bytes((CLOCK_BYTES - 1, flags)) + (base << 15 | 0x3F << 9 | extension).to_bytes(6, "big")


def _adaptation_field(field: bytes, stuffing: int) -> bytes:
    """`field` made longer by so many bytes; without one, a field of nothing else (2.4.3.5)."""
    if not stuffing:
        return field
    if field:
        return bytes((field[0] + stuffing,)) + field[1:] + b"\xff" * stuffing
    # a field of one byte is its length alone: 0
    return bytes((stuffing - 1,)) + (b"\0" + b"\xff" * (stuffing - 2) if stuffing > 1 else b"")


def _header(pid: int, counter: int, *, starts: bool, adapted: bool) -> bytes:
    """2.4.3.2: what is carried here always has a payload."""
    return bytes(
        (SYNC_BYTE, starts << 6 | pid >> 8, pid & 0xFF, (0x30 if adapted else 0x10) | counter % COUNTER_CYCLE)
    )


def _table(pid: int, counter: int, section: bytes) -> bytes:
    """A packet with one whole section: pointer_field 0, then stuffing behind (2.4.4.1)."""
    packet = _header(pid, counter, starts=True, adapted=False) + b"\0" + section
    return packet.ljust(PACKET_BYTES, b"\xff")


def _section(table_id: int, extension: int, *body: bytes) -> bytes:
    """2.4.4.3: version 0, current, the only one of its table, with its CRC."""
    payload = extension.to_bytes(2, "big") + b"\xc1\0\0" + b"".join(body)
    head = bytes((table_id,)) + (0b1011 << 12 | len(payload) + 4).to_bytes(2, "big")
    return head + payload + _crc(head + payload).to_bytes(4, "big")


def _crc(data: bytes) -> int:
    """Annex A: CRC-32 with the polynomial 0x04C11DB7, most significant bit first, not inverted."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte << 24
        for _ in range(8):
            register = register << 1 ^ (0x104C11DB7 if register & 0x80000000 else 0)
    return register


def _pid(pid: int) -> bytes:
    return (0b111 << 13 | pid).to_bytes(2, "big")


PAT = _section(0x00, STREAM, PROGRAM.to_bytes(2, "big"), _pid(PROGRAM_MAP_PID))
"""One program (2.4.4.4)."""

PMT = _section(0x02, PROGRAM, _pid(AUDIO_PID), b"\xf0\0", bytes((ADTS_AUDIO,)), _pid(AUDIO_PID), b"\xf0\0")
"""One stream, which carries the clock too; no descriptors (2.4.4.9)."""
