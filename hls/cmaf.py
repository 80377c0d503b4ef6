"""CMAF: the init segment and the media segments of one audio track.

Owns: every box of both. Time is counted in samples: the timescale is the sample rate. The encoder's
priming is part of the sample durations and is skipped by the edit list; only the padding at the very end
is missing from them. Hence sum(sample durations) - media_time is the exact length of the track.
Nothing here depends on a clock: the same packets give the same bytes.

Sources: ISO/IEC 14496-12 (clause numbers alone), ISO/IEC 23000-19 (CMAF), bis 3.1.2.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from hls.boxes import HEADER_BYTES, box, full_box
from hls.codecs import CODINGS
from pipeline.ladder import Codec
from pipeline.media import Packet

TRACK_ID = 1
UNKNOWN_DURATION = 0  # bis 3.1.2: durations in the init segment are 0
UNITY_RATE = 0x00010000
UNITY_VOLUME = 0x0100
UNITY_MATRIX = struct.pack(">9I", 0x00010000, 0, 0, 0, 0x00010000, 0, 0, 0, 0x40000000)
UNDETERMINED_LANGUAGE = 0x55C4  # "und" in three groups of 5 bits, 8.4.2
MAX_ENTRY_RATE_HZ = 0xFFFF  # the 16.16 field of the AudioSampleEntry, 12.2.3
MAX_RATE_HZ = 655_350  # FLAC's own, RFC 9639 9.1.2
TEMPLATE_SAMPLE_BITS = 16  # what the entry says where the codec has no depth, 12.2.3

TRACK_ENABLED_IN_MOVIE = 0x000003  # tkhd flags, 8.3.2
DATA_IN_THIS_FILE = 0x000001  # `url ` flags, 8.7.2
DEFAULT_BASE_IS_MOOF = 0x020000  # tfhd flags, 8.8.7
DEFAULT_SAMPLE_DURATION = 0x000008
DEFAULT_SAMPLE_FLAGS = 0x000020
DATA_OFFSET = 0x000001  # trun flags, 8.8.8
SAMPLE_DURATION = 0x000100
SAMPLE_SIZE = 0x000200
SYNC_SAMPLE = 0x02000000  # depends on no other, is not non-sync, 8.8.3
FIRST_OWN_GROUP = 0x10001  # 8.9.4: above 0x10000 an index means the fragment's own sgpd


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """How the packets of a rendition are to be read.

    `priming_samples` come before the first sample of the source; `codec_config` is what the encoder says
    of itself (AAC's AudioSpecificConfig, OpusHead, FLAC's STREAMINFO). `bit_depth` is a lossless codec's.

    Raises:
        ValueError: the rate is out of its range, or priming is negative.
    """

    codec: Codec
    rate_hz: int
    channels: int
    bitrate_bps: int
    priming_samples: int
    codec_config: bytes
    bit_depth: int | None = None

    def __post_init__(self) -> None:
        most = MAX_RATE_HZ if self.codec.is_lossless else MAX_ENTRY_RATE_HZ
        if not 0 < self.rate_hz <= most:
            raise ValueError(f"rate is {self.rate_hz} Hz, {self.codec.rfc6381} in ISO files has 1 to {most}")
        if self.priming_samples < 0:
            raise ValueError(f"priming is {self.priming_samples} samples, it cannot be negative")

    @property
    def frame_samples(self) -> int:
        """Samples of one coded frame at the track's rate."""
        return self.codec.frame_samples_at(self.rate_hz)


def init_segment(track: Track) -> bytes:
    """The CMAF header of a track: `ftyp` and `moov`, no samples (bis 3.1.2; CMAF 7.3.2.1)."""
    return _ftyp() + box(b"moov", _mvhd(track), _trak(track), box(b"mvex", _trex(track)))


def media_segment(
    sequence: int, decode_time: int, packets: Sequence[Packet], codec: Codec = Codec.AAC
) -> bytes:
    """One segment of one fragment: `styp`, `moof`, `mdat` (CMAF 7.3.2.3).

    Args:
        sequence: of the fragment, rising from 1 (8.8.5).
        decode_time: samples from the first packet of the track to the first one here (8.8.12).
    Raises:
        ValueError: there are no packets, or one lasts no time.
    """
    durations = [packet.trim_start + packet.duration for packet in packets]
    if not durations or min(durations) < 1:
        raise ValueError(f"segment {sequence}: sample durations are {durations or 'none'}, each must be >= 1")
    sizes = [len(packet.data) for packet in packets]

    def moof(data_offset: int) -> bytes:
        return box(
            b"moof",
            full_box(b"mfhd", 0, 0, struct.pack(">I", sequence)),
            _traf(decode_time, durations, sizes, data_offset, CODINGS[codec].roll_distance),
        )

    # data_offset counts from the start of moof to the first sample; its field has a fixed width
    head = moof(data_offset=len(moof(data_offset=0)) + HEADER_BYTES)
    return _styp() + head + box(b"mdat", *(packet.data for packet in packets))


@lru_cache(maxsize=1024)
def framing_bytes(duration: int, codec: Codec = Codec.AAC) -> int:
    """What a media segment that lasts `duration` samples has beside its coded frames.

    Its size less this is that of the frames together: what a stored segment weighs in another container
    follows from `asset.json`, so the framing of a version that is published never changes.

    Raises:
        ValueError: it lasts no time.
    """
    frame = codec.frame_samples
    starts = range(0, duration, frame)
    empty = [Packet(pts=start, duration=min(frame, duration - start), data=b"") for start in starts]
    return len(media_segment(1, 0, empty, codec))


def _ftyp() -> bytes:
    """4.3, CMAF 7.2: `iso6` for tfdt and sample groups in fragments, `mp42` defines `mp4a`.

    Opus has no brand of its own (OpusISO 4.1), and the reader of an `mp42` file need not know every entry.
    """
    return box(b"ftyp", b"iso6", struct.pack(">I", 0), b"iso6", b"cmfc", b"mp42")


def _styp() -> bytes:
    """8.16.2: a general DASH media segment (`msdh`) that is a CMAF segment (`cmfs`)."""
    return box(b"styp", b"msdh", struct.pack(">I", 0), b"msdh", b"cmfs")


def _mvhd(track: Track) -> bytes:
    """8.2.2, CMAF 7.5.1: creation and modification time 0, so that the bytes do not depend on the clock."""
    times = struct.pack(">IIII", 0, 0, track.rate_hz, UNKNOWN_DURATION)
    look = struct.pack(">IH10x", UNITY_RATE, UNITY_VOLUME) + UNITY_MATRIX
    return full_box(b"mvhd", 0, 0, times, look, bytes(24), struct.pack(">I", TRACK_ID + 1))


def _trak(track: Track) -> bytes:
    return box(b"trak", _tkhd(), _edts(track.priming_samples), _mdia(track))


def _tkhd() -> bytes:
    """8.3.2, CMAF 7.5.4: an audio track has a volume and no size."""
    ids = struct.pack(">IIIII", 0, 0, TRACK_ID, 0, UNKNOWN_DURATION)
    look = struct.pack(">8xHHHH", 0, 0, UNITY_VOLUME, 0) + UNITY_MATRIX
    return full_box(b"tkhd", 0, TRACK_ENABLED_IN_MOVIE, ids, look, bytes(8))


def _edts(priming_samples: int) -> bytes:
    """8.6.5, 8.6.6, CMAF 7.5.13: one edit that starts after the priming.

    Its duration is 0, which in a fragmented file means all that follows. Without priming there is nothing
    to skip, and no edit list.
    """
    if priming_samples == 0:
        return b""
    edit = struct.pack(">Iihh", 0, priming_samples, 1, 0)
    return box(b"edts", full_box(b"elst", 0, 0, struct.pack(">I", 1), edit))


def _mdia(track: Track) -> bytes:
    """8.4.1 to 8.4.4: the media of the track; mdhd is CMAF 7.5.5, smhd 7.5.7."""
    times = struct.pack(">IIII", 0, 0, track.rate_hz, UNKNOWN_DURATION)
    return box(
        b"mdia",
        full_box(b"mdhd", 0, 0, times, struct.pack(">HH", UNDETERMINED_LANGUAGE, 0)),
        full_box(b"hdlr", 0, 0, bytes(4), b"soun", bytes(12), b"\0"),  # 8.4.3, with an empty name
        box(b"minf", full_box(b"smhd", 0, 0, bytes(4)), _dinf(), _stbl(track)),  # smhd: 12.2.2, balance 0
    )


def _dinf() -> bytes:
    """8.7.1, 8.7.2, CMAF 7.5.9: the samples are in the file itself."""
    here = full_box(b"url ", 0, DATA_IN_THIS_FILE)
    return box(b"dinf", full_box(b"dref", 0, 0, struct.pack(">I", 1), here))


def _stbl(track: Track) -> bytes:
    """8.5.1, CMAF 7.5.12: the description of the samples, and tables that list none of them."""
    return box(
        b"stbl",
        full_box(b"stsd", 0, 0, struct.pack(">I", 1), _sample_entry(track)),
        full_box(b"stts", 0, 0, bytes(4)),
        full_box(b"stsc", 0, 0, bytes(4)),
        full_box(b"stsz", 0, 0, bytes(8)),
        full_box(b"stco", 0, 0, bytes(4)),
    )


def _sample_entry(track: Track) -> bytes:
    """12.2.3 AudioSampleEntry: data reference 1, the bits of a sample, the rate as 16.16."""
    coding = CODINGS[track.codec]
    bits, rate_hz = track.bit_depth or TEMPLATE_SAMPLE_BITS, _entry_rate_hz(track.rate_hz)
    fields = struct.pack(">6xH8xHHHHI", 1, track.channels, bits, 0, 0, rate_hz << 16)
    config = coding.configuration(track.codec_config, track.channels, track.bitrate_bps)
    return box(coding.sample_entry, fields, config)


def _entry_rate_hz(rate_hz: int) -> int:
    """FLACISO 3.3.1: half or a quarter of a rate that the field cannot hold; STREAMINFO has the real one."""
    while rate_hz > MAX_ENTRY_RATE_HZ:
        rate_hz //= 2
    return rate_hz


def _trex(track: Track) -> bytes:
    """8.8.3, CMAF 7.5.14: what holds for a sample unless its fragment says otherwise."""
    defaults = struct.pack(">IIIII", TRACK_ID, 1, track.frame_samples, 0, SYNC_SAMPLE)
    return full_box(b"trex", 0, 0, defaults)


def _traf(
    decode_time: int, durations: list[int], sizes: list[int], data_offset: int, roll_distance: int | None
) -> bytes:
    """8.8.6: one track fragment with one run, as `cmfc` wants it (CMAF 7.3.2.3)."""
    one_duration = durations[0] if len(set(durations)) == 1 else None
    tfdt = full_box(b"tfdt", 1, 0, struct.pack(">Q", decode_time))  # 8.8.12; 32 bits end after 24.8 h
    groups = b"" if roll_distance is None else _roll_groups(len(sizes), roll_distance)
    return box(b"traf", _tfhd(one_duration), tfdt, groups, _trun(durations, sizes, data_offset, one_duration))


def _tfhd(one_duration: int | None) -> bytes:
    """8.8.7, CMAF 7.5.16: offsets count from the moof; every frame of audio is a sync sample."""
    flags = DEFAULT_BASE_IS_MOOF | DEFAULT_SAMPLE_FLAGS
    duration = b""
    if one_duration is not None:
        flags |= DEFAULT_SAMPLE_DURATION
        duration = struct.pack(">I", one_duration)
    return full_box(b"tfhd", 0, flags, struct.pack(">I", TRACK_ID), duration, struct.pack(">I", SYNC_SAMPLE))


def _trun(durations: list[int], sizes: list[int], data_offset: int, one_duration: int | None) -> bytes:
    """8.8.8: sizes of the samples, and their durations where these differ."""
    flags, rows = DATA_OFFSET | SAMPLE_SIZE, sizes
    if one_duration is None:
        flags |= SAMPLE_DURATION
        rows = [field for row in zip(durations, sizes, strict=True) for field in row]
    head = struct.pack(">Ii", len(sizes), data_offset)
    return full_box(b"trun", 0, flags, head, struct.pack(f">{len(rows)}I", *rows))


def _roll_groups(samples: int, roll_distance: int) -> bytes:
    """8.9.2, 8.9.3, 10.1: all samples need `roll_distance` frames decoded before them.

    The description lies in the fragment (8.9.4), so that a segment says it whatever init it is read with.
    """
    description = full_box(b"sgpd", 1, 0, b"roll", struct.pack(">IIh", 2, 1, roll_distance))
    members = full_box(b"sbgp", 0, 0, b"roll", struct.pack(">III", 1, samples, FIRST_OWN_GROUP))
    return description + members
