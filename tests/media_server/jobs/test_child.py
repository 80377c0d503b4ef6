"""The pipeline as one story: probe, plan, drawings, segments, the end."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pyloudnorm
import pytest
import signals
import soundfile
import sources
from oracles import audiowaveform

from hls.packets import read_packets
from media_server.jobs import cage
from media_server.jobs.child import Order, produce
from media_server.jobs.events import (
    Drawn,
    FileMade,
    Finished,
    Initialised,
    LadderMade,
    PieceMade,
    Planned,
    Probed,
    Progress,
    Remeasured,
    SegmentMade,
)
from pipeline.album import Share
from pipeline.encode import Encoder
from pipeline.equalizer import Band
from pipeline.errors import Malformed
from pipeline.grid import at_grid_rate
from pipeline.ladder import DEFAULT_LADDER, RUNGS, ladder_for
from pipeline.media import Block
from pipeline.programme import Programme
from pipeline.waveform import Waveform


@pytest.fixture(autouse=True)
def _no_limit_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    # the CPU bound is the child's; set here, it would be the test runner's
    monkeypatch.setattr(cage, "allow_cpu", lambda _: None)


def order(source: Path, **changed: object) -> Order:
    values = {"source": source, "ladder": ("128k", "320k"), "mode": "track", "target_lufs": -14.0,
              "ceiling_dbtp": -1.0, "max_duration_s": 600.0, "memory_bytes": 2 << 30}  # fmt: skip
    return Order(**{**values, **changed})


def told(path: Path, **changed: object) -> list[tuple[object, bytes]]:
    return list(produce(order(path, **changed)))


def warnings_of(story: list[tuple[object, bytes]]) -> tuple[str, ...]:
    """Told once, when the ladder is whole; the story ends later."""
    assert isinstance(story[-1][0], Finished)
    (made,) = [event for event, _ in story if isinstance(event, LadderMade)]
    return made.warnings


def test_the_story_is_told_in_the_order_of_the_work(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    signals.write(
        path, signals.music(9, 44_100, 2), 44_100, "mp3", tags={"title": "T"}, cover=signals.picture(64, 64)
    )
    story = told(path, ladder=("128k", "192k"))
    kinds = [type(event) for event, _ in story if not isinstance(event, Progress)]
    assert kinds[:4] == [Probed, Planned, Drawn, Drawn]
    assert kinds[-1] is Finished
    assert kinds.count(Initialised) == 2
    assert story[0][0].tags == {"title": "T"}
    for before, after in pairwise(
        [e for e, _ in story if isinstance(e, SegmentMade) and e.rendition == "192k"]
    ):
        assert (after.number, after.pts) == (before.number + 1, before.pts + before.duration)


def test_the_waveform_of_a_16_bit_source_is_audiowaveforms_of_the_file_itself(tmp_path: Path) -> None:
    """At 48 kHz nothing lies between: the float Blocks give back the file's samples."""
    case = next(c for c in audiowaveform.CASES if (c.signal, c.samples, c.split) == ("wander", 5_000, True))
    path = tmp_path / "a.wav"
    soundfile.write(path, case.pcm.T, 48_000, subtype="PCM_16")
    (dat,) = [data for event, data in told(path) if isinstance(event, Drawn)]
    split = Waveform.from_dat(dat).split().rescaled(case.zoom).to_dat(case.bits)
    assert audiowaveform.digest(split) == audiowaveform.golden()[str(case)][0]


@pytest.mark.parametrize(("mode", "reason"), [("track", "target"), ("off", "off")])
def test_the_gain_is_planned_once_for_the_whole_ladder(tmp_path: Path, mode: str, reason: str) -> None:
    path = tmp_path / "a.wav"
    signals.write(path, signals.sine(997, 5, amplitude=0.25), 48_000, "wav")
    (plan,) = [event for event, _ in told(path, mode=mode) if isinstance(event, Planned)]
    assert plan.reason == reason
    # a 997 Hz sine at -12 dBFS in both channels is -12.0 LUFS (BS.1770-5 Annex 1: 0 dBFS mono is -3.01)
    assert plan.gain_db == pytest.approx(-14 - plan.integrated_lufs if mode == "track" else 0.0)
    assert plan.integrated_lufs == pytest.approx(-12.0, abs=0.1)


def lossy(story: list[tuple[object, bytes]]) -> dict[str, Remeasured]:
    return {event.rendition: event for event, _ in story if isinstance(event, Remeasured)}


def test_a_limiter_reaches_the_target_where_gain_alone_would_not(tmp_path: Path) -> None:
    """What is decoded again is as loud as asked for, within 0.2 LU, and under the ceiling."""
    path = tmp_path / "a.wav"
    pcm = signals.music(4, peak=0.1)
    pcm[:, ::24_000] = 0.6
    signals.write(path, pcm, 48_000, "wav")
    (plan,) = [event for event, _ in told(path) if isinstance(event, Planned)]
    story = told(path, mode="limit", ladder=("128k", "opus-128"), target_lufs=-20.0)
    limited = [event for event, _ in story if isinstance(event, Planned)][-1]
    assert (plan.reason, limited.reason) == ("ceiling", "limited")
    assert plan.gain_db < limited.gain_db
    assert [*lossy(story)] == ["128k", "opus-128"]
    for measured in lossy(story).values():
        assert measured.integrated_lufs == pytest.approx(-20.0, abs=0.2)
        assert measured.true_peak_dbtp <= -1.0
    assert warnings_of(story) == ()


def faint(path: Path) -> Path:
    """Half of it just below the absolute gate: raised, it counts, and the track is not as loud as planned."""
    signals.write(path, signals.steps([(-69.4, 2), (-71.5, 2)]), 48_000, "wav", subtype="FLOAT")
    return path


def test_what_misses_its_plan_is_made_again_and_no_more_than_needed(tmp_path: Path) -> None:
    """The second plan takes the first back; what it leads to is what was asked for."""
    story = told(faint(tmp_path / "a.wav"), outputs=("opus-64",))
    first, second = [event for event, _ in story if isinstance(event, Planned)]
    assert second.gain_db > first.gain_db + 0.2
    for measured in lossy(story).values():
        assert measured.integrated_lufs == pytest.approx(-14.0, abs=0.2)
    kinds = [type(event) for event, _ in story]
    again = kinds[kinds.index(Planned, kinds.index(Planned) + 1) :]
    assert again[1] is Drawn
    assert again.count(Initialised) == 2
    assert (kinds.count(FileMade), again.count(FileMade)) == (1, 1)
    file = b"".join(data for event, data in story if isinstance(event, PieceMade))
    assert b"R128_TRACK_GAIN=-2304" in file  # -14 LUFS is 9 dB above R 128's
    assert warnings_of(story) == ()


def test_a_peak_that_passes_the_ceiling_once_more_is_corrected_once_more(corpus_dir: Path) -> None:
    """Opus comes to -0.86 dBTP, and a quarter of a decibel lower to -0.98: there it decides otherwise."""
    story = told(corpus_dir / "tinytag" / "cbr.mp3", ladder=("128k", "opus-96", "opus-128"))
    gains_db = [event.gain_db for event, _ in story if isinstance(event, Planned)]
    assert gains_db == sorted(gains_db, reverse=True)
    assert len(gains_db) == 3
    assert warnings_of(story) == ()
    must_be_as_planned(story)


def test_what_no_gain_can_mend_is_published_with_a_warning(tmp_path: Path) -> None:
    """Noise up to 24 kHz: 128k AAC cuts the top off and 320k does not, so one gain cannot serve both."""
    path = tmp_path / "a.wav"
    signals.write(path, signals.noise(3.0, rms=0.03), 48_000, "wav")
    story = told(path)
    assert [type(event) for event, _ in story].count(Planned) == 1
    low, high = (lossy(story)[name].integrated_lufs for name in ("128k", "320k"))
    assert high - low > 0.4
    assert "loudness_missed" in warnings_of(story)


def test_what_stays_as_it_is_is_measured_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    signals.write(path, signals.sine(997, 1, amplitude=1.0), 48_000, "wav", subtype="FLOAT")
    story = told(path, mode="off")
    assert lossy(story)["128k"].true_peak_dbtp > -1.0
    assert warnings_of(story) == ()


def heard(story: list[tuple[object, bytes]], rendition: str) -> signals.Pcm:
    """What FFmpeg's demuxer and decoder make of a rendition's files."""
    init = [data for event, data in story if isinstance(event, Initialised) and event.rendition == rendition]
    made = [data for event, data in story if isinstance(event, SegmentMade) and event.rendition == rendition]
    with av.open(io.BytesIO(b"".join([init[-1], *made]))) as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


def must_be_as_planned(story: list[tuple[object, bytes]]) -> None:
    """Every rendition within 0.2 LU of the last plan, and at most -1.0 dBTP."""
    plan = [event for event, _ in story if isinstance(event, Planned)][-1]
    for measured in lossy(story).values():
        assert measured.integrated_lufs == pytest.approx(plan.planned_lufs, abs=0.2)
        assert measured.true_peak_dbtp <= -1.0


@pytest.mark.parametrize("name", ["pydub/bach.ogg", "pydub/test2.mp3"])
@pytest.mark.parametrize("mode", ["track", "limit"])
def test_music_comes_out_as_it_was_planned(corpus_dir: Path, name: str, mode: str) -> None:
    """Judged twice: by what the job measured, and by pyloudnorm over what a player decodes (0.25 LU)."""
    story = told(corpus_dir / name, mode=mode, ladder=("128k", "opus-128"))
    must_be_as_planned(story)
    plan = [event for event, _ in story if isinstance(event, Planned)][-1]
    for rendition in ("128k", "opus-128"):
        pcm = heard(story, rendition)
        judged_lufs = pyloudnorm.Meter(48_000).integrated_loudness(pcm.T.astype(np.float64))
        assert judged_lufs == pytest.approx(plan.planned_lufs, abs=0.25)


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("128k", 2),
        ("opus-128", 2),
        pytest.param("128k", 1, marks=pytest.mark.slow),
        pytest.param("320k", 2, marks=pytest.mark.slow),
        pytest.param("opus-64", 1, marks=pytest.mark.slow),
    ],
)
def test_the_segments_hold_the_packets_of_one_encode(tmp_path: Path, name: str, channels: int) -> None:
    """hls.md 1.6: byte for byte what one encoder makes of the whole; nothing begins anew at a boundary."""
    path, pcm = tmp_path / "a.wav", signals.music(4.5, channels=channels)
    signals.write(path, pcm, 48_000, "wav", subtype="FLOAT")
    story = told(path, ladder=(name,), mode="off")
    segments = [data for event, data in story if isinstance(event, SegmentMade)]
    [rung] = ladder_for(channels, (name,))
    encoder = Encoder(rung)
    whole = [*encoder.push(Block(pts=0, pcm=pcm)), *encoder.flush()]
    assert len(segments) == 2
    assert [packet.data for data in segments for packet in read_packets(data)] == [p.data for p in whole]


def test_silence_is_published_as_it_is_with_a_warning(tmp_path: Path) -> None:
    """Bad input 39: loudness null, gain 0 dB, never +inf."""
    path = tmp_path / "a.flac"
    signals.write(path, signals.silence(2), 48_000, "flac")
    story = told(path)
    (plan,) = [event for event, _ in story if isinstance(event, Planned)]
    assert (plan.integrated_lufs, plan.true_peak_dbtp, plan.gain_db) == (None, None, 0.0)
    assert warnings_of(story) == ("silent",)


def test_one_sample_is_a_track(tmp_path: Path) -> None:
    """Bad input 37."""
    path = tmp_path / "a.wav"
    signals.write(path, signals.sine(997, 1 / 48_000), 48_000, "wav")
    made = [event for event, _ in told(path) if isinstance(event, SegmentMade)]
    assert [(event.number, event.duration) for event in made] == [(0, 1025), (0, 1025)]
    made = [event for event, _ in told(path, ladder=("opus-128",)) if isinstance(event, SegmentMade)]
    assert [(event.number, event.duration) for event in made] == [(0, 121)]


def test_a_bad_picture_costs_a_warning_not_the_track(tmp_path: Path) -> None:
    """Bad input 30."""
    path = tmp_path / "a.mp3"
    cover = signals.picture_header(30_000, 30_000)
    signals.write(path, signals.music(2, 44_100, 2), 44_100, "mp3", cover=cover)
    assert "bad_cover" in warnings_of(told(path))


def test_less_than_a_sample_is_no_audio(tmp_path: Path) -> None:
    """One sample at 192 kHz rounds to none at 48 kHz: bad input 36, not a crash."""
    path = tmp_path / "a.wav"
    signals.write(path, signals.sine(997, 1 / 192_000, 192_000), 192_000, "wav")
    with pytest.raises(Malformed) as caught:
        told(path)
    assert caught.value.code == "no_audio_data"


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 96_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_every_rendition_is_as_long_as_was_planned(tmp_path: Path, rate_hz: int, channels: int) -> None:
    """reliability I2: the sum of the segments less the priming is the track, to the sample."""
    path = tmp_path / "a.wav"
    signals.write(path, signals.music(4.5, rate_hz, channels), rate_hz, "wav")
    story = told(path, ladder=DEFAULT_LADDER)
    (plan,) = [event for event, _ in story if isinstance(event, Planned)]
    assert plan.samples == at_grid_rate(round(4.5 * rate_hz), rate_hz)
    assert plan.channels == min(channels, 2)
    for init in [event for event, _ in story if isinstance(event, Initialised)]:
        assert init.bitrate_bps == RUNGS[init.rendition].bitrate_bps * plan.channels // 2
        made = [e for e, _ in story if isinstance(e, SegmentMade) and e.rendition == init.rendition]
        assert sum(segment.duration for segment in made) - init.priming_samples == plan.samples


def _fractions(story: list[tuple[object, bytes]], stage: str) -> list[float]:
    return [event.fraction for event, _ in story if isinstance(event, Progress) and event.stage == stage]


def test_whole_files_come_after_the_ladder(tmp_path: Path) -> None:
    """Contract, options: made after the ladder; the job's own words go before the source's tags."""
    path = tmp_path / "a.flac"
    signals.write(
        path, signals.music(1.0, 44_100), 44_100, "flac", tags={"title": "T", "album": "A", "comment": "C"}
    )
    story = told(path, outputs=("opus-64", "flac"), tags={"title": "Said"}, source_title="Name")
    kinds = [type(event) for event, _ in story]
    assert kinds.index(PieceMade) > max(at for at, kind in enumerate(kinds) if kind is SegmentMade)
    assert [event.output for event, _ in story if isinstance(event, FileMade)] == ["opus-64", "flac"]
    opus = b"".join(
        data for event, data in story if isinstance(event, PieceMade) and event.output == "opus-64"
    )
    assert b"TITLE=Said" in opus
    assert b"ALBUM=A" in opus
    assert b"DESCRIPTION=C" in opus
    assert _fractions(story, "encode") == sorted(set(_fractions(story, "encode")))
    assert _fractions(story, "publish") == [0.5, 1.0]


@pytest.mark.parametrize("fmt", ["flac", "opus"])
def test_what_a_source_says_of_its_loudness_is_in_no_file(tmp_path: Path, fmt: str) -> None:
    """The gain of another sound: each file states its own, and none an album's (RFC 7845 5.2.1)."""
    path, outputs = tmp_path / "a", ("mp3-128", "m4a-128", "ogg-128", "opus-64")
    own = {"REPLAYGAIN_TRACK_GAIN": "-11.11 dB", "REPLAYGAIN_TRACK_PEAK": "0.111111",
           "REPLAYGAIN_ALBUM_GAIN": "-11.11 dB", "REPLAYGAIN_ALBUM_PEAK": "0.111111",
           "R128_TRACK_GAIN": "1111", "R128_ALBUM_GAIN": "1111"}  # fmt: skip
    codec, container, sample_format = {"flac": ("flac", "flac", "s16"), "opus": ("libopus", "ogg", "flt")}[
        fmt
    ]
    pcm = signals.music(1.0, 48_000)
    sources.encode(path, pcm, 48_000, codec, container, sample_format=sample_format, tags=own)
    story = told(path, ladder=("128k",), outputs=outputs)
    assert story[0][0].tags == {}
    for name in outputs:
        data = b"".join(
            data for event, data in story if isinstance(event, PieceMade) and event.output == name
        )
        assert b"GAIN" in data.upper()
        assert not [said for said in (b"11.11", b"0.1111", b"1111", b"ALBUM_GAIN") if said in data], name


def test_a_file_that_the_source_cannot_give_costs_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    signals.write(path, signals.music(0.5, 44_100), 44_100, "mp3")
    story = told(path, outputs=("flac",))
    assert warnings_of(story) == ("output_left_out",)
    assert not [event for event, _ in story if isinstance(event, FileMade)]


def test_progress_of_a_stage_only_rises(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    signals.write(path, signals.music(6, 48_000, 2), 48_000, "flac")
    steps = [event for event, _ in told(path) if isinstance(event, Progress)]
    for stage in ("analyze", "encode"):
        fractions = [step.fraction for step in steps if step.stage == stage]
        assert fractions == sorted(set(fractions))
        assert len(fractions) > 5


def test_the_same_source_is_told_in_the_same_bytes(tmp_path: Path) -> None:
    """reliability I4."""
    path = tmp_path / "a.flac"
    signals.write(path, signals.music(5, 44_100, 2), 44_100, "flac")
    assert told(path) == told(path)


def test_both_passes_hear_the_equalized_sound(tmp_path: Path) -> None:
    """A notch takes the sine out of the loudness, of the waveform and of the packets alike."""
    path = tmp_path / "a.wav"
    signals.write(path, signals.sine(997, 2), 48_000, "wav")
    notch = Band(type="notch", frequency_hz=997, q=0.3)
    told_of = told(path, ladder=("128k",), mode="off", equalizer=(notch,))
    (plan,) = [event for event, _ in told_of if isinstance(event, Planned)]
    assert plan.integrated_lufs < -40  # of -6 LUFS, what the filter rings at its beginning
    (dat,) = [data for event, data in told_of if isinstance(event, Drawn)]
    ringing = 20  # pixels of the filter's own beginning
    assert abs(Waveform.from_dat(dat).levels[ringing:-1]).max() <= 1
    file = b"".join(data for event, data in told_of if isinstance(event, Initialised | SegmentMade))
    with av.open(io.BytesIO(file)) as opened:
        heard = np.concatenate([frame.to_ndarray() for frame in opened.decode(audio=0)], axis=1)
    assert np.abs(heard[:, 2 * 1024 + ringing * 256 : 90_000]).max() < 0.001


@pytest.mark.parametrize("bands", [(), (Band(type="peaking", frequency_hz=1_000),)])
def test_bands_that_change_nothing_leave_every_byte_as_it_is(tmp_path: Path, bands: tuple[Band, ...]) -> None:
    path = tmp_path / "a.flac"
    signals.write(path, signals.music(0.5), 48_000, "flac")
    assert told(path, ladder=("128k",), equalizer=bands) == told(path, ladder=("128k",))


def test_a_track_of_an_album_has_the_gain_of_all_and_says_so(tmp_path: Path) -> None:
    """ReplayGain: the album's value is of all tracks, with the gain that each of them has."""
    path = tmp_path / "a.flac"
    signals.write(path, signals.sine(997, 2, amplitude=0.05), 48_000, "flac")
    loud = Share(programme=Programme(((6_000, 5_000),)), true_peak_dbtp=-2.0, most_gain_db=1.0)
    story = told(path, mode="album", ladder=("128k",), others=loud, outputs=("opus-64", "flac"))
    (plan,) = [event for event, _ in story if isinstance(event, Planned)]
    assert plan.gain_db == pytest.approx(-4.0, abs=0.06)
    assert (plan.reason, plan.album.true_peak_dbtp) == ("target", -2.0)
    assert lossy(story)["128k"].integrated_lufs == pytest.approx(-26.0 - 4.0, abs=0.2)
    opus, flac = (
        b"".join(data for event, data in story if isinstance(event, PieceMade) and event.output == name)
        for name in ("opus-64", "flac")
    )
    album_lufs = plan.album.integrated_lufs
    assert b"R128_ALBUM_GAIN=%d" % round((-23 - album_lufs - plan.gain_db) * 256) in opus
    assert b"REPLAYGAIN_ALBUM_GAIN=%.2f dB" % (-18 - album_lufs) in flac


def test_a_track_of_an_album_makes_up_for_nothing(tmp_path: Path) -> None:
    """By itself it would be made again, louder; in an album it stays as far from the others as it is."""
    loud = Share(
        programme=Programme(((6_000, 5_000),)), target_lufs=0.0, true_peak_dbtp=-50.0, most_gain_db=49.0
    )
    story = told(faint(tmp_path / "a.wav"), mode="album", target_lufs=0.0, others=loud)
    assert [type(event) for event, _ in story].count(Planned) == 1
