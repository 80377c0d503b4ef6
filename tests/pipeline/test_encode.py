"""Encoders run once and continuously; their delay and padding are trims, not sound."""

from __future__ import annotations

import struct
from dataclasses import replace
from itertools import pairwise

import av
import numpy as np
import pytest
import signals
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.encode import Encoder, quantised
from pipeline.ladder import Codec, Rendition
from pipeline.media import Block, Packet

every_codec = pytest.mark.parametrize("codec", list(Codec))


def rendition(codec: Codec, channels: int = 2) -> Rendition:
    if codec.is_lossless:
        return Rendition(name="x", codec=codec, bitrate_bps=0, channels=channels, bit_depth=24)
    return Rendition(name="x", codec=codec, bitrate_bps=64_000 * channels, channels=channels)


def packets_of(
    samples: int, sizes: list[int], channels: int = 2, *, codec: Codec = Codec.AAC
) -> list[Packet]:
    encoder = Encoder(rendition(codec, channels))
    pcm = np.random.default_rng(3).normal(0, 0.05, (channels, samples)).astype(np.float32)
    edges = [*(int(e) for e in np.cumsum([0, *sizes]) if e < samples), samples]
    out: list[Packet] = []
    for start, end in pairwise(edges):
        out += encoder.push(Block(pts=start, pcm=pcm[:, start:end]))
    return out + encoder.flush()


@settings(max_examples=60)
@given(
    st.integers(1, 6_000),
    st.lists(st.integers(1, 2_500), max_size=6),
    st.integers(1, 2),
    st.sampled_from(list(Codec)),
)
def test_presented_durations_add_up_to_what_was_pushed(
    samples: int, sizes: list[int], channels: int, codec: Codec
) -> None:
    packets = packets_of(samples, sizes, channels, codec=codec)
    assert sum(p.duration for p in packets) == samples
    whole = packets[:-1] if codec.is_lossless else packets  # FLAC's last frame has no padding
    assert all(p.frame_samples == codec.frame_samples for p in whole)
    assert [p.pts for p in packets] == [sum(q.duration for q in packets[:i]) for i in range(len(packets))]


def test_the_first_packet_of_aac_is_the_priming() -> None:
    """FFmpeg's AAC encoder delays by one frame of 1024 samples."""
    first, second = packets_of(5_000, [])[:2]
    assert (first.pts, first.duration, first.trim_start) == (0, 0, 1024)
    assert (second.pts, second.trim_start) == (0, 0)


def test_the_first_packet_of_opus_begins_with_the_pre_skip() -> None:
    """RFC 7845 4.2: the encoder's look-ahead of 2.5 ms, 120 samples, is decoded and thrown away."""
    first, second = packets_of(5_000, [], codec=Codec.OPUS)[:2]
    assert (first.pts, first.duration, first.trim_start) == (0, 840, 120)
    assert (second.pts, second.duration, second.trim_start) == (840, 960, 0)


@pytest.mark.parametrize(
    ("samples", "packets", "last_trim"), [(1, 1, 839), (840, 1, 0), (841, 2, 959), (1_800, 2, 0)]
)
def test_opus_ends_with_the_packet_that_holds_the_last_sample(
    samples: int, packets: int, last_trim: int
) -> None:
    """Not one packet of nothing but padding."""
    made = packets_of(samples, [], codec=Codec.OPUS)
    assert (len(made), made[-1].trim_end) == (packets, last_trim)


@pytest.mark.parametrize(("channels", "configuration"), [(1, 1), (2, 2)])
def test_the_codec_configuration_is_aac_lc_at_48_khz(channels: int, configuration: int) -> None:
    """ISO 14496-3 1.6.2.1: object type 2, frequency index 3."""
    first, second = Encoder(rendition(Codec.AAC, channels)).codec_config[:2]
    assert first >> 3 == 2
    assert (first & 7) << 1 | second >> 7 == 3
    assert second >> 3 & 15 == configuration


@pytest.mark.parametrize("channels", [1, 2])
def test_the_codec_configuration_of_opus_is_its_identification_header(channels: int) -> None:
    """RFC 7845 5.1: version 1, channels, pre-skip, input rate, no gain, mapping family 0."""
    header = Encoder(rendition(Codec.OPUS, channels)).codec_config
    assert struct.unpack("<8sBBHIhB", header) == (b"OpusHead", 1, channels, 120, 48_000, 0, 0)


@pytest.mark.parametrize("channels", [1, 2])
def test_every_opus_packet_is_one_frame_of_20_ms(channels: int) -> None:
    """RFC 6716 3.1: a CELT fullband frame of 20 ms (31), the stereo bit, frame count code 0."""
    table_of_contents = {p.data[0] for p in packets_of(9_600, [], channels, codec=Codec.OPUS)}
    assert table_of_contents == {31 << 3 | (channels - 1) << 2}


@pytest.mark.parametrize("bitrate_bps", [32_000, 48_000])
def test_mono_is_music_to_opus_whatever_it_sounds_like(bitrate_bps: int) -> None:
    """RFC 6716 3.1: configurations 16 to 31 are CELT; noise of this band the coder would take for speech."""
    spectrum = np.fft.rfft(signals.noise(3.0, rms=0.1, channels=1))
    spectrum[:, np.fft.rfftfreq(3 * 48_000, 1 / 48_000) > 4_300] = 0
    pcm = np.fft.irfft(spectrum, 3 * 48_000).astype(np.float32)
    encoder = Encoder(replace(rendition(Codec.OPUS, 1), bitrate_bps=bitrate_bps))
    packets = [*encoder.push(Block(pts=0, pcm=pcm)), *encoder.flush()]
    assert min(packet.data[0] >> 3 for packet in packets) >= 16


def test_opus_keeps_its_bit_rate_on_music() -> None:
    """Constrained VBR: the rung's name is what it takes, and no packet comes near a network's 1200 bytes."""
    pcm = signals.music(10, 48_000, 2)
    encoder = Encoder(rendition(Codec.OPUS))
    packets = [*encoder.push(Block(pts=0, pcm=pcm)), *encoder.flush()]
    assert sum(len(p.data) for p in packets) * 8 / 10 == pytest.approx(128_000, rel=0.03)
    assert max(len(p.data) for p in packets) < 700


def test_left_stays_left_in_opus() -> None:
    """PyAV interleaves the planar Block for the wrapper; a decoder finds each channel where it was."""
    tone = signals.sine(440, 0.5, channels=1)
    pcm = np.concatenate([tone, np.zeros_like(tone)])
    encoder = Encoder(rendition(Codec.OPUS))
    packets = [*encoder.push(Block(pts=0, pcm=pcm)), *encoder.flush()]
    decoder = av.CodecContext.create("libopus", "r")
    decoder.extradata = encoder.codec_config
    frames = [frame for p in packets for frame in decoder.decode(av.Packet(p.data))]
    heard = np.concatenate([frame.to_ndarray().reshape(-1, 2).T for frame in frames], axis=1)
    left, right = np.abs(heard.astype(float)).max(axis=1)
    assert left > 100 * max(right, 1e-9)


@pytest.mark.parametrize("bit_depth", [16, 24])
def test_integers_come_through_float_as_they_were(bit_depth: int) -> None:
    """A Block's float32 has 24 bits: every integer sample is exact in it, full scale to full scale."""
    full_scale = 1 << (bit_depth - 1)
    integers = np.random.default_rng(5).integers(-full_scale, full_scale, (2, 4_000), np.int32)
    integers[0, :2] = -full_scale, full_scale - 1
    assert np.array_equal(quantised((integers / full_scale).astype(np.float32), bit_depth), integers)


def test_what_has_more_bits_is_rounded_and_what_is_too_loud_is_cut() -> None:
    pcm = np.array([[0.6, -0.6, 32_767.0, 40_000.0, -32_768.0, -40_000.0]], np.float32) / 32_768
    assert quantised(pcm, 16).tolist() == [[1, -1, 32_767, 32_767, -32_768, -32_768]]


def test_flac_says_what_it_codes_before_it_has_coded_anything() -> None:
    """RFC 9639 8.2, STREAMINFO: the block size twice, rate, channels and bits; no length and no hash yet."""
    info = Encoder(rendition(Codec.FLAC)).codec_config
    assert struct.unpack(">HH", info[:4]) == (3_840, 3_840)
    packed = int.from_bytes(info[10:18], "big")
    assert (packed >> 44, (packed >> 41 & 7) + 1, (packed >> 36 & 31) + 1) == (48_000, 2, 24)
    assert (packed & (1 << 36) - 1, info[18:]) == (0, bytes(16))


def test_the_end_of_flac_is_its_last_frame_and_no_empty_one() -> None:
    """FFmpeg's flush brings a packet without bytes, which GStreamer and video.js stop at if it is stored."""
    packets = packets_of(5_000, [], codec=Codec.FLAC)
    assert [(p.duration, p.trim_start, p.trim_end) for p in packets] == [(3_840, 0, 0), (1_160, 0, 0)]
    assert all(packet.data for packet in packets)


@every_codec
def test_how_the_samples_arrive_changes_nothing(codec: Codec) -> None:
    arrived = packets_of(20_000, [1, 999, 1024, 5_000], codec=codec)
    assert packets_of(20_000, [], codec=codec) == arrived
