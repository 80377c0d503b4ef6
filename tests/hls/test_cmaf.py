"""Init and media segments, box by box: ISO/IEC 14496-12 (numbers alone), CMAF, bis 3.1.2."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hls.boxes import walk
from hls.cmaf import Track, framing_bytes, init_segment, media_segment
from pipeline.ladder import Codec
from pipeline.media import Packet

Packets = Callable[..., list[Packet]]
Payload = Callable[[bytes, str], bytes]
VECTORS = Path(__file__).parent.parent / "vectors" / "hls"

STBL = "moov/trak/mdia/minf/stbl"


def golden(name: str) -> bytes:
    """A vector: hex with a remark behind each box."""
    lines = (VECTORS / name).read_text().splitlines()
    return bytes.fromhex("".join(line.split("#")[0] for line in lines))


def kinds(data: bytes) -> list[bytes]:
    return [box.kind for box in walk(data)]


def test_an_init_segment_is_its_golden_bytes(track: Track) -> None:
    assert init_segment(track) == golden("init-aac-stereo.hex")


def test_an_init_segment_of_opus_is_its_golden_bytes(opus_track: Track) -> None:
    """OpusISO 4.3.1, 4.3.2: entry `Opus`, 48 kHz, 16 bits, `dOps`; the edit list skips the pre-skip (4.4)."""
    assert init_segment(opus_track) == golden("init-opus-stereo.hex")


def test_a_media_segment_is_its_golden_bytes(packets: Packets) -> None:
    """Three frames, the last one padded: durations stand in the run."""
    assert media_segment(7, 1_105_920, packets(3, 400)) == golden("segment-padded.hex")


def test_a_media_segment_of_equal_frames_is_its_golden_bytes(packets: Packets) -> None:
    assert media_segment(1, 0, packets(2)) == golden("segment-even.hex")


def test_an_init_segment_has_a_brand_of_iso6_or_later_and_cmaf(track: Track, payload: Payload) -> None:
    """bis 3.1.2: a compatible brand of iso6 or higher; CMAF 7.2: cmfc, minor version 0."""
    ftyp = payload(init_segment(track), "ftyp")
    assert ftyp[4:8] == bytes(4)
    assert {b"iso6", b"cmfc"} <= {ftyp[at : at + 4] for at in range(8, len(ftyp), 4)}


def test_an_init_segment_holds_no_samples(track: Track, payload: Payload) -> None:
    """bis 3.1.2: ftyp, then moov; 8.8.1: mvex says that samples come in fragments; tables are empty."""
    init = init_segment(track)
    assert kinds(init) == [b"ftyp", b"moov"]
    assert kinds(payload(init, "moov")) == [b"mvhd", b"trak", b"mvex"]
    for table, size in {"stts": 8, "stsc": 8, "stsz": 12, "stco": 8}.items():
        assert payload(init, f"{STBL}/{table}") == bytes(size)


def test_durations_in_the_init_segment_are_zero(track: Track, payload: Payload) -> None:
    """bis 3.1.2: the duration of mvhd and tkhd is 0."""
    init = init_segment(track)
    assert struct.unpack(">I", payload(init, "moov/mvhd")[16:20]) == (0,)
    assert struct.unpack(">I", payload(init, "moov/trak/tkhd")[20:24]) == (0,)
    assert struct.unpack(">I", payload(init, "moov/trak/mdia/mdhd")[16:20]) == (0,)


@pytest.mark.parametrize("rate_hz", [48_000, 44_100])
def test_the_timescale_is_the_sample_rate(track: Track, payload: Payload, rate_hz: int) -> None:
    """8.4.2, CMAF 7.5.5: time counts samples."""
    init = init_segment(replace(track, rate_hz=rate_hz))
    assert struct.unpack(">I", payload(init, "moov/mvhd")[12:16]) == (rate_hz,)
    assert struct.unpack(">I", payload(init, "moov/trak/mdia/mdhd")[12:16]) == (rate_hz,)


def test_the_one_track_is_enabled_and_next_is_two(track: Track, payload: Payload) -> None:
    """8.3.2 flags enabled and in movie, a volume of 1.0 for audio; 8.2.2 next_track_ID is unused."""
    init = init_segment(track)
    tkhd = payload(init, "moov/trak/tkhd")
    assert tkhd[:4] == bytes.fromhex("00000003")
    assert struct.unpack(">I", tkhd[12:16]) == (1,)
    assert tkhd[36:38] == bytes.fromhex("0100")
    assert payload(init, "moov/mvhd")[-4:] == bytes.fromhex("00000002")


def test_the_handler_is_sound_and_the_data_is_here(track: Track, payload: Payload) -> None:
    """8.4.3 soun; 8.7.2, CMAF 7.5.9: one data reference, self-contained."""
    init = init_segment(track)
    assert payload(init, "moov/trak/mdia/hdlr")[8:12] == b"soun"
    assert payload(init, "moov/trak/mdia/minf/smhd") == bytes(8)
    dref = payload(init, "moov/trak/mdia/minf/dinf/dref")
    assert dref == bytes.fromhex("00000000 00000001 0000000c 75726c20 00000001")


@pytest.mark.parametrize("channels", [1, 2])
def test_the_sample_entry_states_channels_and_rate(track: Track, payload: Payload, channels: int) -> None:
    """12.2.3: channelcount, samplesize 16, samplerate 16.16, then the decoder's configuration."""
    stsd = payload(init_segment(replace(track, channels=channels)), f"{STBL}/stsd")
    assert stsd[:8] == bytes.fromhex("00000000 00000001")
    entry = payload(stsd[8:], "mp4a")
    assert struct.unpack(">HH", entry[16:20]) == (channels, 16)
    assert struct.unpack(">I", entry[24:28]) == (48_000 << 16,)
    assert track.codec_config in payload(entry[28:], "esds")


@pytest.mark.parametrize("priming_samples", [1024, 2112])
def test_the_edit_list_skips_the_priming(track: Track, payload: Payload, priming_samples: int) -> None:
    """8.6.6, CMAF 7.5.13: one edit, duration 0 (all that follows), media_time after the priming, rate 1."""
    init = init_segment(replace(track, priming_samples=priming_samples))
    elst = payload(init, "moov/trak/edts/elst")
    assert struct.unpack(">IIIihh", elst) == (0, 1, 0, priming_samples, 1, 0)


def test_without_priming_there_is_no_edit_list(track: Track, payload: Payload) -> None:
    trak = payload(init_segment(replace(track, priming_samples=0)), "moov/trak")
    assert kinds(trak) == [b"tkhd", b"mdia"]


def test_trex_says_that_every_sample_is_sync(track: Track, payload: Payload) -> None:
    """8.8.3: track 1, description 1, one frame long, depends on no other."""
    trex = payload(init_segment(track), "moov/mvex/trex")
    assert struct.unpack(">IIIIII", trex) == (0, 1, 1, 1024, 0, 0x02000000)


def test_a_media_segment_is_one_fragment_with_one_run(packets: Packets, payload: Payload) -> None:
    """CMAF 7.3.2.3, 8.8.4-8.8.8: one traf, one trun; 8.16.2: styp with msdh."""
    segment = media_segment(1, 0, packets(2))
    assert kinds(segment) == [b"styp", b"moof", b"mdat"]
    assert payload(segment, "styp")[8:] == b"msdhcmfs"
    assert kinds(payload(segment, "moof")) == [b"mfhd", b"traf"]
    assert kinds(payload(segment, "moof/traf")) == [b"tfhd", b"tfdt", b"sgpd", b"sbgp", b"trun"]


def test_the_fragment_carries_its_sequence_and_decode_time(packets: Packets, payload: Payload) -> None:
    """8.8.5 mfhd; 8.8.12 tfdt version 1 has 64 bits: a stream of days does not wrap."""
    decode_time = 2**32 + 5
    segment = media_segment(9, decode_time, packets(2))
    assert struct.unpack(">II", payload(segment, "moof/mfhd")) == (0, 9)
    assert struct.unpack(">IQ", payload(segment, "moof/traf/tfdt")) == (1 << 24, decode_time)


def test_one_duration_for_all_stands_in_the_header(packets: Packets, payload: Payload) -> None:
    """8.8.7: default-base-is-moof, a default duration and sync flags; 8.8.8: the run has sizes only."""
    coded = packets(4)
    segment = media_segment(1, 0, coded)
    tfhd = payload(segment, "moof/traf/tfhd")
    assert struct.unpack(">IIII", tfhd) == (0x020028, 1, 1024, 0x02000000)
    trun = payload(segment, "moof/traf/trun")
    assert struct.unpack(">II", trun[:8]) == (0x000201, 4)
    assert struct.unpack(">4I", trun[12:]) == tuple(len(packet.data) for packet in coded)


def test_different_durations_stand_in_the_run(packets: Packets, payload: Payload) -> None:
    """8.8.8: the last sample is shorter by its padding, the first is not by its priming."""
    coded = packets(3, 400)
    segment = media_segment(1, 0, coded)
    assert struct.unpack(">III", payload(segment, "moof/traf/tfhd")) == (0x020020, 1, 0x02000000)
    trun = payload(segment, "moof/traf/trun")
    assert struct.unpack(">II", trun[:8]) == (0x000301, 3)
    sizes = [len(packet.data) for packet in coded]
    assert list(struct.iter_unpack(">II", trun[12:])) == list(zip([1024, 1024, 400], sizes, strict=True))


@pytest.mark.parametrize("last_duration", [1024, 1])
def test_the_run_points_at_its_first_sample(packets: Packets, payload: Payload, last_duration: int) -> None:
    """8.8.8: data_offset counts from the start of the moof to the first byte of the first sample."""
    coded = packets(5, last_duration)
    segment = media_segment(1, 0, coded)
    _, moof, mdat = walk(segment)
    [offset] = struct.unpack(">i", payload(segment, "moof/traf/trun")[8:12])
    assert moof.start + offset == mdat.payload_start
    assert segment[mdat.payload_start :] == b"".join(packet.data for packet in coded)


def test_all_samples_are_in_the_roll_group_of_their_fragment(packets: Packets, payload: Payload) -> None:
    """8.9.2-8.9.4, 10.1: one entry of -1, which the index 0x10001 finds in the fragment itself."""
    segment = media_segment(1, 0, packets(3))
    assert payload(segment, "moof/traf/sgpd") == bytes.fromhex("01000000 726f6c6c 00000002 00000001 ffff")
    sbgp = bytes.fromhex("00000000 726f6c6c 00000001 00000003 00010001")
    assert payload(segment, "moof/traf/sbgp") == sbgp


def test_opus_packets_are_in_a_roll_group_of_80_ms(payload: Payload) -> None:
    """OpusISO 4.3.6.2: four packets of 20 ms."""
    packet = Packet(pts=0, duration=960, data=b"x")
    segment = media_segment(1, 0, [packet, packet], Codec.OPUS)
    assert payload(segment, "moof/traf/sgpd") == bytes.fromhex("01000000 726f6c6c 00000002 00000001 fffc")


@pytest.mark.parametrize(("count", "last_duration"), [(2, 1024), (3, 400), (180, 1024)])
def test_what_a_segment_has_beside_its_frames_follows_from_its_duration(
    packets: Packets, count: int, last_duration: int
) -> None:
    coded = packets(count, last_duration)
    segment = media_segment(9, 1_105_920, coded)
    duration = sum(packet.trim_start + packet.duration for packet in coded)
    assert len(segment) - framing_bytes(duration) == sum(len(packet.data) for packet in coded)


@pytest.mark.parametrize(("duration", "size"), [(184_320, 902), (184_319, 1618), (1, 186)])
def test_the_framing_of_what_is_published_never_changes(duration: int, size: int) -> None:
    """The sizes of a stored track's frames are computed with it: another framing needs another function."""
    assert framing_bytes(duration) == size


def test_a_segment_without_packets_is_refused() -> None:
    with pytest.raises(ValueError, match="segment 3: sample durations are none"):
        media_segment(3, 0, [])


def test_a_sample_that_lasts_no_time_is_refused() -> None:
    """A frame of padding alone would stall players; the encoder leaves it out."""
    frame = Packet(pts=0, duration=1024, data=b"x")
    padding = Packet(pts=1024, duration=0, trim_end=1024, data=b"x")
    with pytest.raises(ValueError, match=r"segment 3: sample durations are \[1024, 0\], each must be >= 1"):
        media_segment(3, 0, [frame, padding])


@pytest.mark.parametrize("rate_hz", [0, 65_536])
def test_a_rate_beyond_the_sample_entry_is_refused(track: Track, rate_hz: int) -> None:
    """12.2.3: samplerate is 16.16."""
    assert replace(track, rate_hz=65_535).rate_hz == 65_535
    with pytest.raises(ValueError, match=f"rate is {rate_hz} Hz, mp4a.40.2 in ISO files has 1 to 65535"):
        replace(track, rate_hz=rate_hz)


@pytest.mark.parametrize(
    ("rate_hz", "entry_hz"),
    [
        (44_100, 44_100),
        (48_000, 48_000),
        (88_200, 44_100),
        (96_000, 48_000),
        (176_400, 44_100),
        (192_000, 48_000),
    ],
)
def test_flac_has_its_own_bits_and_a_rate_that_the_entry_can_hold(
    flac_track: Track, payload: Payload, rate_hz: int, entry_hz: int
) -> None:
    """FLACISO 3.3.1: samplesize is the depth; above 65535 Hz a regular division of the rate stands there."""
    data = init_segment(replace(flac_track, rate_hz=rate_hz))
    entry = payload(data, "moov/trak/mdia/minf/stbl/stsd")[8:]
    assert entry[4:8] == b"fLaC"
    channels, bits, _, _, rate = struct.unpack_from(">HHHHI", entry, 24)
    assert (channels, bits, rate) == (2, 24, entry_hz << 16)
    assert struct.unpack_from(">I", payload(data, "moov/trak/mdia/mdhd"), 12) == (rate_hz,)
    assert struct.unpack_from(">I", payload(data, "moov/mvex/trex"), 12) == (rate_hz * 2 // 25,)


def test_flac_needs_no_edit_list_and_no_early_start(flac_track: Track, payload: Payload) -> None:
    """Nothing is in front of its first sample (8.6.6), and every frame stands alone (10.1)."""
    assert b"edts" not in init_segment(flac_track)
    segment = media_segment(1, 0, [Packet(pts=0, duration=3840, data=b"x")], Codec.FLAC)
    assert b"sgpd" not in segment


def test_negative_priming_is_refused(track: Track) -> None:
    with pytest.raises(ValueError, match="priming is -1 samples"):
        replace(track, priming_samples=-1)
