"""What differs between coders: MPEG-4 descriptors, the Opus box, and roll distances."""

from __future__ import annotations

import pytest

from hls.codecs import CODINGS, dfla, dops, esds
from pipeline.ladder import Codec


def test_every_codec_has_its_row() -> None:
    assert set(CODINGS) == set(Codec)


def test_aac_needs_one_frame_before_it() -> None:
    """ISO/IEC 14496-12 10.1: AAC frames overlap, so roll_distance is -1."""
    assert CODINGS[Codec.AAC].roll_distance == -1
    assert CODINGS[Codec.AAC].sample_entry == b"mp4a"


def test_esds_nests_the_descriptors_of_mpeg4_audio() -> None:
    """ISO/IEC 14496-1 7.2.6: ES (3) holds DecoderConfig (4) with its info (5), and SLConfig (6)."""
    assert esds(bytes.fromhex("1190"), channels=2, bitrate_bps=128_000) == bytes.fromhex(
        "00000027 65736473 00000000"  # esds, version 0
        "03 19 0000 00"  # ES_ID 0, no flags
        "04 11 40 15 000600 0001f400 0001f400"  # audio, 1536 bytes, 128000 b/s at most and on average
        "05 02 1190"
        "06 01 02"
    )


@pytest.mark.parametrize(
    ("length", "coded"),
    [(0, "00"), (1, "01"), (127, "7f"), (128, "8100"), (300, "822c"), (16_384, "818000")],
)
def test_the_length_of_a_descriptor_is_in_groups_of_seven_bits(length: int, coded: str) -> None:
    """ISO/IEC 14496-1 8.3.3: the high bit says that another group follows."""
    config = b"\xaa" * length
    assert b"\x05" + bytes.fromhex(coded) + config + b"\x06\x01\x02" in esds(config, 2, 128_000)


def test_the_decoder_buffer_is_that_of_the_channels() -> None:
    """ISO/IEC 14496-3 4.5.3.1: 6144 bits a channel."""
    assert esds(b"", channels=1, bitrate_bps=64_000)[21:24] == (768).to_bytes(3, "big")


def opus_head(version: int = 1, channels: int = 2, family: int = 0) -> bytes:
    """RFC 7845 5.1, little-endian: pre-skip 312, input rate 44.1 kHz, output gain -1/256 dB."""
    return b"OpusHead" + bytes((version, channels)) + bytes.fromhex("3801 44ac0000 ffff") + bytes((family,))


def test_opus_needs_80_ms_before_it() -> None:
    """OpusISO 4.3.6.2: roll_distance covers at least 80 ms, four packets of 20 ms."""
    assert CODINGS[Codec.OPUS].roll_distance == -4
    assert CODINGS[Codec.OPUS].sample_entry == b"Opus"


def test_dops_is_the_identification_header_turned_big_endian() -> None:
    """OpusISO 4.3.2: a plain box; Version 0 where OpusHead has 1."""
    assert dops(opus_head(), 2, 128_000) == bytes.fromhex(
        "00000013 644f7073"  # dOps
        "00 02 0138 0000ac44 ffff 00"
    )


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"", "OpusHead has 0 bytes, expected 19"),
        (opus_head() + b"\0", "OpusHead has 20 bytes, expected 19"),
        (opus_head().replace(b"Head", b"Tags"), "not an OpusHead"),
        (opus_head(version=16), "version 16"),
        (opus_head(channels=1), "OpusHead has 1 channels in mapping family 0, expected 2 in 0"),
        (opus_head(family=1), "mapping family 1"),
    ],
)
def test_another_opus_header_is_refused(header: bytes, message: str) -> None:
    """RFC 7845 5.1: the upper four bits of the version are the major one; other families bring a table."""
    with pytest.raises(ValueError, match=message):
        dops(header, 2, 128_000)


def test_dfla_is_one_metadata_block_without_the_magic() -> None:
    """FLACISO 3.3.2: FullBox version 0, then the header (last, type 0, 34 bytes) and STREAMINFO."""
    info = bytes(range(34))
    assert dfla(info, 2, 0) == bytes.fromhex("0000003264664c6100000000 80 000022") + info
    assert (CODINGS[Codec.FLAC].sample_entry, CODINGS[Codec.FLAC].roll_distance) == (b"fLaC", None)


def test_dfla_refuses_what_is_no_stream_info() -> None:
    with pytest.raises(ValueError, match="STREAMINFO has 38 bytes, expected 34"):
        dfla(b"fLaC" + bytes(34), 2, 0)
