"""A rendition measured again: the same sound that a player hears, whatever the lanes do."""

from __future__ import annotations

from dataclasses import replace

import av
import numpy as np
import pyloudnorm
import pytest
import signals

from pipeline.audit import Audit, Audits, is_audited, is_faithful
from pipeline.encode import Encoder
from pipeline.ladder import RUNGS, ladder_for
from pipeline.media import Block, Packet
from pipeline.normalize import CodedLoudness
from pipeline.truepeak import TruePeakMeter, dbtp

RATE_HZ = 48_000


def coded(name: str, pcm: signals.Pcm) -> tuple[Encoder, list[list[Packet]]]:
    [rendition] = ladder_for(len(pcm), (name,))
    encoder = Encoder(rendition)
    return encoder, [*(encoder.push(block) for block in signals.blocks(pcm)), encoder.flush()]


def audited(encoder: Encoder, pushes: list[list[Packet]]) -> CodedLoudness:
    audit = Audit(encoder.rendition, encoder.codec_config)
    for packets in pushes:
        audit.push(packets)
    return audit.result()


@pytest.mark.parametrize("name", ["128k", "opus-128"])
@pytest.mark.parametrize("channels", [1, 2])
def test_coded_music_measures_as_the_music_does(name: str, channels: int) -> None:
    """pyloudnorm over what went in: 0.1 LU; its true peak: 0.5 dB."""
    pcm = signals.music(4.0, channels=channels)
    measured = audited(*coded(name, pcm))
    expected = pyloudnorm.Meter(RATE_HZ).integrated_loudness(pcm.T.astype(np.float64))
    meter = TruePeakMeter(channels)
    meter.push(Block(pts=0, pcm=pcm))
    assert measured.integrated_lufs == pytest.approx(expected, abs=0.1)
    assert measured.true_peak_dbtp == pytest.approx(dbtp(meter.result()), abs=0.5)


@pytest.mark.parametrize("name", ["320k", "opus-128"])
def test_only_what_is_presented_is_measured(name: str) -> None:
    """A tone of 0.4 s is one gating block: with the priming or the padding in it there would be more."""
    pcm = signals.sine(997, 0.4)
    encoder, pushes = coded(name, pcm)
    audit = Audit(encoder.rendition, encoder.codec_config)
    taken = sum(packet.duration for packets in pushes for packet in packets)
    for packets in pushes:
        audit.push(packets)
    shorter = Audit(encoder.rendition, encoder.codec_config)
    for packets in pushes:
        shorter.push([replace(p, duration=max(p.duration - (p is packets[-1]), 0)) for p in packets])
    assert taken == pcm.shape[1]
    assert audit.result().integrated_lufs == pytest.approx(-6.0, abs=0.3)
    assert shorter.result().integrated_lufs is None


@pytest.mark.parametrize("name", ["192k", "opus-128"])
def test_the_packets_may_come_in_any_portions(name: str) -> None:
    encoder, pushes = coded(name, signals.music(1.0))
    one = audited(encoder, pushes)
    other = audited(encoder, [[packet] for packets in pushes for packet in packets])
    assert one.integrated_lufs == pytest.approx(other.integrated_lufs, abs=1e-9)
    assert one.true_peak_dbtp == pytest.approx(other.true_peak_dbtp, abs=1e-3)


def test_every_rendition_is_measured_in_a_lane_of_its_own() -> None:
    """The lanes say what each audit alone says."""
    lossy = [name for name, rung in RUNGS.items() if not rung.codec.is_lossless]
    made = [coded(name, signals.music(1.0)) for name in lossy]
    with Audits() as audits:
        for at in range(max(len(pushes) for _, pushes in made)):
            for encoder, pushes in made:
                audits.push(encoder, pushes[at])
        results = audits.results()
    assert [*results] == [encoder.rendition.name for encoder, _ in made]
    for encoder, pushes in made:
        alone, laned = audited(encoder, pushes), results[encoder.rendition.name]
        assert laned.integrated_lufs == pytest.approx(alone.integrated_lufs, abs=1e-9)
        assert laned.true_peak_dbtp == pytest.approx(alone.true_peak_dbtp, abs=1e-3)


def test_a_packet_that_cannot_be_decoded_is_told_not_left_out() -> None:
    """What our own encoder made must decode; if not, the job must not publish it."""
    encoder, _ = coded("128k", signals.music(0.1))
    with Audits() as audits:
        audits.push(encoder, [Packet(pts=0, duration=1024, data=b"\xff" * 64)])
        with pytest.raises(av.error.FFmpegError):
            audits.results()


def test_silence_has_neither_loudness_nor_peak() -> None:
    assert audited(*coded("128k", signals.silence(1.0))) == CodedLoudness(
        integrated_lufs=None, true_peak_dbtp=None
    )


def test_a_plan_must_hold_from_64_kbit_a_channel_in_aac_and_48_in_opus() -> None:
    """128k AAC and 96k Opus in stereo."""
    aac, opus = RUNGS["128k"], RUNGS["opus-128"]
    assert is_faithful(aac)
    assert is_faithful(replace(aac, bitrate_bps=64_000, channels=1))
    assert not is_faithful(replace(aac, bitrate_bps=96_000))
    assert is_faithful(replace(opus, bitrate_bps=96_000))
    assert not is_faithful(replace(opus, bitrate_bps=64_000))


def test_only_what_is_at_the_rate_of_the_meters_is_measured() -> None:
    assert is_audited(RUNGS["320k"])
    assert not is_audited(replace(RUNGS["320k"], rate_hz=96_000))
