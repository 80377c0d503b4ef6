"""What differs between coders inside an ISO BMFF track: one row a codec, and nothing else knows codecs.

Owns: sample entry codes, decoder configuration boxes, and how far a decoder must start early.
Sources: ISO/IEC 14496-14 (MP4: `mp4a`, `esds`), ISO/IEC 14496-1 7.2.6 (descriptors),
ISO/IEC 14496-12 10.1 (roll recovery), RFC 7845 5.1 (OpusHead), "Encapsulation of Opus in ISO Base Media File
Format" 0.8.1 ("OpusISO"), "Encapsulation of FLAC in ISO Base Media File Format" 0.0.4 ("FLACISO"),
RFC 9639 8 (FLAC's metadata blocks).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hls.boxes import box, full_box
from pipeline.ladder import Codec

# ISO/IEC 14496-1 7.2.2.1, class tags of the descriptors
ES_DESCRIPTOR = 0x03
DECODER_CONFIG_DESCRIPTOR = 0x04
DECODER_SPECIFIC_INFO = 0x05
SL_CONFIG_DESCRIPTOR = 0x06

MPEG4_AUDIO = 0x40  # objectTypeIndication, ISO/IEC 14496-1 7.2.6.6
AUDIO_STREAM = 0x05 << 2 | 1  # streamType AudioStream, upStream 0, reserved 1
SL_PREDEFINED_FOR_MP4 = b"\x02"  # ISO/IEC 14496-14: the sync layer is the file's business
AAC_FRAME_MAX_BYTES_A_CHANNEL = 768  # 6144 bits, ISO/IEC 14496-3 4.5.3.1

OPUS_HEAD = struct.Struct("<8sBBHIhB")  # RFC 7845 5.1: magic, version, channels, pre-skip, rate, gain, family
OPUS_SPECIFIC = struct.Struct(">BBHIhB")  # OpusISO 4.3.2: version 0 and the same fields, big-endian
OPUS_HEAD_MAGIC = b"OpusHead"
OPUS_HEAD_MAJOR_VERSION = 0  # the upper four bits; a reader accepts any minor one
MONO_OR_STEREO = 0  # channel mapping family, RFC 7845 5.1.1.1: no mapping table follows

STREAM_INFO_BYTES = 34  # RFC 9639 8.2
LAST_BLOCK, STREAM_INFO = 0x80, 0x00  # RFC 9639 8.1: the flag of the last metadata block, and its type


@dataclass(frozen=True, slots=True, kw_only=True)
class Coding:
    """How one codec is carried.

    `sample_entry` is its four-character code; `configuration(codec_config, channels, bitrate_bps)` the box
    that follows the AudioSampleEntry's own fields; `roll_distance` the number of samples (coded frames,
    negative) to decode before one that shall sound right, None where every frame stands alone.
    """

    sample_entry: bytes
    configuration: Callable[[bytes, int, int], bytes]
    roll_distance: int | None


def esds(audio_specific_config: bytes, channels: int, bitrate_bps: int) -> bytes:
    """The ES descriptor box of MPEG-4 audio (ISO/IEC 14496-14, ESDBox).

    Args:
        audio_specific_config: ISO/IEC 14496-3 1.6.2.1, as the encoder gives it.
        bitrate_bps: of the encoder's setting; stands as maximum and average.
    """
    decoder_config = _descriptor(
        DECODER_CONFIG_DESCRIPTOR,
        struct.pack(">BB", MPEG4_AUDIO, AUDIO_STREAM),
        (AAC_FRAME_MAX_BYTES_A_CHANNEL * channels).to_bytes(3, "big"),  # bufferSizeDB
        struct.pack(">II", bitrate_bps, bitrate_bps),  # maxBitrate, avgBitrate
        _descriptor(DECODER_SPECIFIC_INFO, audio_specific_config),
    )
    sl_config = _descriptor(SL_CONFIG_DESCRIPTOR, SL_PREDEFINED_FOR_MP4)
    # ES_ID is 0 in files (ISO/IEC 14496-14); no dependency, URL or clock stream
    return full_box(
        b"esds", 0, 0, _descriptor(ES_DESCRIPTOR, struct.pack(">HB", 0, 0), decoder_config, sl_config)
    )


def dops(opus_head: bytes, channels: int, _bitrate_bps: int) -> bytes:
    """The OpusSpecificBox (OpusISO 4.3.2) from the identification header as the encoder gives it.

    Its PreSkip only informs: what is skipped is the edit list's to say (OpusISO 4.4). Chromium 156 obeys
    both and loses the first 6.5 ms of a track; FFmpeg 5 knows this one alone, so it stays.

    Raises:
        ValueError: not such a header, or one of other channels or of a mapping of its own.
    """
    if len(opus_head) != OPUS_HEAD.size:
        raise ValueError(f"OpusHead has {len(opus_head)} bytes, expected {OPUS_HEAD.size}")
    magic, version, coded_channels, *rest, family = OPUS_HEAD.unpack(opus_head)
    if magic != OPUS_HEAD_MAGIC or version >> 4 != OPUS_HEAD_MAJOR_VERSION:
        raise ValueError(f"not an OpusHead of major version 0: {magic!r}, version {version}")
    if coded_channels != channels or family != MONO_OR_STEREO:
        raise ValueError(
            f"OpusHead has {coded_channels} channels in mapping family {family}, expected {channels} in 0"
        )
    return box(b"dOps", OPUS_SPECIFIC.pack(0, channels, *rest, family))


def dfla(stream_info: bytes, _channels: int, _bitrate_bps: int) -> bytes:
    """The FLACSpecificBox (FLACISO 3.3.2): one metadata block, the STREAMINFO, without FLAC's own magic.

    Raises:
        ValueError: not of a STREAMINFO's length.
    """
    if len(stream_info) != STREAM_INFO_BYTES:
        raise ValueError(f"STREAMINFO has {len(stream_info)} bytes, expected {STREAM_INFO_BYTES}")
    header = bytes((LAST_BLOCK | STREAM_INFO,)) + STREAM_INFO_BYTES.to_bytes(3, "big")
    return full_box(b"dfLa", 0, 0, header, stream_info)


def _descriptor(tag: int, *payload: bytes) -> bytes:
    """A tag, the length in groups of 7 bits (ISO/IEC 14496-1 8.3.3), the payload."""
    body = b"".join(payload)
    length = [len(body) & 0x7F]
    rest = len(body) >> 7
    while rest:
        length.insert(0, 0x80 | rest & 0x7F)
        rest >>= 7
    return bytes((tag, *length)) + body


CODINGS: Mapping[Codec, Coding] = {
    # AAC frames overlap by half: the first one after a seek is right only if the one before was decoded
    Codec.AAC: Coding(sample_entry=b"mp4a", configuration=esds, roll_distance=-1),
    # OpusISO 4.3.6.2: at least 80 ms, four packets of 20 ms, until the decoder has converged
    Codec.OPUS: Coding(sample_entry=b"Opus", configuration=dops, roll_distance=-4),
    # FLACISO 3.3.3: every frame stands alone
    Codec.FLAC: Coding(sample_entry=b"fLaC", configuration=dfla, roll_distance=None),
}
