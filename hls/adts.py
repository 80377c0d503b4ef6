"""ADTS: AAC frames that say by themselves how they are to be decoded.

Owns: the header in front of a frame, and what a frame tells of its channels. Only what this product encodes:
AAC-LC at 48 kHz, one or two channels.
Sources: ISO/IEC 14496-3 1.A.2.2 (adts_frame), 4.4.2.1 (raw_data_block), ISO/IEC 13818-7 6.2.
"""

from __future__ import annotations

from collections.abc import Iterable

from hls.codecs import AAC_FRAME_MAX_BYTES_A_CHANNEL

HEADER_BYTES = 7
"""Without a CRC: the transport has checks of its own."""

SYNCWORD = 0xFFF
MPEG_4_NO_CRC = 0b0001  # ID 0, layer 00, protection_absent 1
LOW_COMPLEXITY = 1  # profile_ObjectType: the audio object type (2) less one
SAMPLING_48_KHZ = 3  # sampling_frequency_index, ISO/IEC 14496-3 table 1.18
VARIABLE_RATE = 0x7FF  # adts_buffer_fullness: nothing is promised
ELEMENT_CHANNELS = {0: 1, 1: 2}  # id_syn_ele of a single channel element and of a channel pair element


def header(frame_bytes: int, channels: int) -> bytes:
    """The header of a frame (1.A.2.2.1, 1.A.2.2.2).

    Args:
        frame_bytes: of the raw data block behind it.
        channels: 1 or 2, which is also the channel_configuration.
    Raises:
        ValueError: the frame is longer than AAC allows (4.5.3.1).
    """
    if frame_bytes > (allowed := AAC_FRAME_MAX_BYTES_A_CHANNEL * channels):
        raise ValueError(f"frame is {frame_bytes} bytes, AAC of {channels} channels has at most {allowed}")
    fields = SYNCWORD << 4 | MPEG_4_NO_CRC
    fields = fields << 2 | LOW_COMPLEXITY
    fields = fields << 4 | SAMPLING_48_KHZ
    fields = fields << 4 | channels  # private_bit 0, then three bits
    fields = fields << 4  # original, home and the two copyright bits: 0
    fields = fields << 13 | (HEADER_BYTES + frame_bytes)
    fields = fields << 11 | VARIABLE_RATE
    fields = fields << 2  # number_of_raw_data_blocks_in_frame: one, counted from 0
    return fields.to_bytes(HEADER_BYTES, "big")


def channels_of(frames: Iterable[bytes]) -> int:
    """How many channels the raw data blocks have, by their first elements (4.4.2.1).

    An encoder may put its name, a fill element, in front of the very first one: the next one tells.

    Raises:
        ValueError: none begins with a channel or a pair of them.
    """
    for frame in frames:
        if frame and (channels := ELEMENT_CHANNELS.get(frame[0] >> 5)):
            return channels
    raise ValueError("no frame begins with a channel or a channel pair, so it is no AAC of ours")
