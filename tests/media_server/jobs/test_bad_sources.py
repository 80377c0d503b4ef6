"""Bad sources that become tracks, through the job's own process and its cage.

Source: reliability, "Bad inputs, and the exact result"; what is refused is in tests/e2e/test_bad_input.py.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import bad_files
import numpy as np
import pytest
import signals
import sources
from bad_files import RATE_HZ
from fuzz.campaign import order_of

from media_server.errors import LimitExceeded
from media_server.jobs.events import LadderMade, Planned, Probed, Remeasured, SegmentMade, pack
from media_server.jobs.fetch import LOCAL_NAME
from media_server.jobs.runner import run


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A bad file that becomes a track: how it is made, what is warned of, how long the track is."""

    make: Callable[[], bytes]
    warnings: tuple[str, ...] = ()
    duration_s: float = 0.5
    within_s: float = 0.0


WAVE_FRAME_S = 1 / RATE_HZ
MP3_FRAME_S = 1152 / 44_100
AAC_FRAME_S = 1024 / RATE_HZ

KEPT: Mapping[str, Kept] = {
    "14 film with sound": Kept(make=lambda: bad_files.movie(sound=True)),
    "15 two songs": Kept(
        make=lambda: bad_files.songs(2), warnings=("multiple_audio_streams",), within_s=2 * AAC_FRAME_S
    ),
    "17 half an mp3": Kept(
        make=lambda: (song := bad_files.mp3(1.0, with_header=True))[: len(song) // 2],
        warnings=("truncated",),
        within_s=2 * MP3_FRAME_S,
    ),
    "19 index at the end": Kept(make=bad_files.m4a),
    "20 cut flac": Kept(
        make=lambda: bad_files.flac(cut_to=0.6), warnings=("truncated",), duration_s=0.3, within_s=0.1
    ),
    "20 flac of another hash": Kept(
        make=lambda: bad_files.flac(changed_hash=True), warnings=("checksum_mismatch",)
    ),
    "23 noise in the middle": Kept(
        make=lambda: bad_files.with_noise(bad_files.mp3(3.0), 600),
        warnings=("damaged",),
        duration_s=3.0,
        within_s=0.1,
    ),
    "24 mp3 and a wave behind it": Kept(
        make=lambda: bad_files.mp3(1.5) + bad_files.wav(2, RATE_HZ, bad_files.whole()),
        warnings=("truncated",),
        duration_s=1.5,
        within_s=3 * MP3_FRAME_S,
    ),
    "25 header of 5381 seconds": Kept(
        make=bad_files.counted_wrongly, warnings=("truncated",), within_s=2 * MP3_FRAME_S
    ),
    "27 silent ogg": Kept(make=lambda: bad_files.written(signals.silence(0.5), "ogg"), warnings=("silent",)),
    "30 picture of 900 megapixels": Kept(
        make=lambda: bad_files.cover(signals.picture_header(30_000, 30_000)),
        warnings=("bad_cover",),
        within_s=2 * MP3_FRAME_S,
    ),
    "30 picture of 11 MB": Kept(
        make=lambda: bad_files.cover(signals.jpeg(64, 48) + bytes(11_000_000), b"image/jpeg"),
        warnings=("bad_cover",),
        within_s=2 * MP3_FRAME_S,
    ),
    "30 svg": Kept(
        make=lambda: bad_files.cover(bad_files.SCRIPT), warnings=("bad_cover",), within_s=2 * MP3_FRAME_S
    ),
    "30 a hundred pictures": Kept(
        make=lambda: bad_files.cover(signals.picture(24, 16), count=100), within_s=2 * MP3_FRAME_S
    ),
    "33 384 kHz": Kept(
        make=lambda: bad_files.wav(1, 384_000, bad_files.whole()), duration_s=48_000 / 384_000
    ),
    "34 doubles": Kept(make=lambda: bad_files.written(signals.music(0.5), "wav", subtype="DOUBLE")),
    "35 size never filled in": Kept(
        make=lambda: bad_files.wav(2, RATE_HZ, bad_files.whole(), stated=0xFFFFFFFF)
    ),
    "35 size 0": Kept(make=lambda: bad_files.wav(2, RATE_HZ, bad_files.whole(), stated=0)),
    "35 rf64": Kept(make=lambda: sources.rf64(signals.music(0.5), RATE_HZ)),
    "35 odd chunk in front": Kept(
        make=lambda: bad_files.wav(2, RATE_HZ, bad_files.whole(), before=b"junk\3\0\0\0abc\0")
    ),
    "35 list behind": Kept(make=lambda: bad_files.wav(2, RATE_HZ, bad_files.whole()) + b"LIST\4\0\0\0INFO"),
    "35 last sample cut": Kept(
        make=lambda: bad_files.wav(2, RATE_HZ, bad_files.whole()[:-3], stated=0xFFFFFFFF),
        within_s=WAVE_FRAME_S,
    ),
    "37 one sample": Kept(make=lambda: bad_files.wav(1, RATE_HZ, b"\0\x40"), duration_s=WAVE_FRAME_S),
    "37 ten milliseconds": Kept(
        make=lambda: bad_files.wav(2, RATE_HZ, bad_files.whole(0.01)), duration_s=0.01
    ),
    "38 some no numbers": Kept(
        make=lambda: bad_files.written(bad_files.odd(), "wav", subtype="FLOAT"), warnings=("sanitised",)
    ),
    "39 silence": Kept(make=lambda: bad_files.wav(2, RATE_HZ, bytes(4 * 24_000)), warnings=("silent",)),
    "40 direct current": Kept(make=lambda: bad_files.written(np.ones((2, 24_000), np.float32), "wav")),
    "40 clipped square": Kept(make=lambda: bad_files.written(signals.square(50, 24_000), "wav")),
    "41 mp3 that changes": Kept(
        make=lambda: bad_files.mp3() + bad_files.mp3(rate_hz=22_050, channels=1),
        duration_s=1.0,
        within_s=0.15,
    ),
    "44 a gap of ten seconds": Kept(make=lambda: bad_files.songs(1, later=480_000), within_s=2 * AAC_FRAME_S),
    "44 a gap of days": Kept(make=lambda: bad_files.songs(1, later=1 << 34), within_s=2 * AAC_FRAME_S),
    "45 tags that harm": Kept(
        make=bad_files.harmful_tags,
        within_s=2 * MP3_FRAME_S,
    ),
}
"""Row and what it is: the file, and what is said of the track."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """What a job told of one."""

    probed: Probed
    plan: Planned
    made: LadderMade
    segments: tuple[SegmentMade, ...]
    coded: Remeasured


async def track_of(data: bytes, folder: Path) -> Track:
    """The track that a job makes of these bytes, in a process of its own.

    Raises:
        MediaError: it makes none.
    """
    path = folder / LOCAL_NAME
    path.write_bytes(data)
    async with run(order_of(path)) as events:
        told = [event async for event, _ in events]
    assert all(json.loads(pack(event, b"").partition(b"\n")[0]) for event in told)
    last_plan = max(place for place, event in enumerate(told) if isinstance(event, Planned))
    story = told[last_plan:]
    (probed,) = (event for event in told if isinstance(event, Probed))
    (made,) = (event for event in story if isinstance(event, LadderMade))
    (coded,) = (event for event in story if isinstance(event, Remeasured))
    return Track(
        probed=probed,
        plan=story[0],
        made=made,
        segments=tuple(event for event in story if isinstance(event, SegmentMade)),
        coded=coded,
    )


@pytest.mark.parametrize("row", KEPT)
async def test_what_is_there_of_a_bad_file_becomes_a_track(tmp_path: Path, row: str) -> None:
    """The bad inputs' rows by their numbers: as long as what can be heard, warned of where that is due."""
    expected = KEPT[row]
    track = await track_of(expected.make(), tmp_path)
    no_row_is_about = {"loudness_missed"}
    assert tuple(told for told in track.made.warnings if told not in no_row_is_about) == expected.warnings
    off_samples = track.plan.samples - round(expected.duration_s * RATE_HZ)
    assert abs(off_samples) <= round(expected.within_s * RATE_HZ)
    assert track.segments
    assert [path.name for path in tmp_path.iterdir()] == [LOCAL_NAME]
    measured = (track.plan.integrated_lufs, track.plan.true_peak_dbtp, track.plan.gain_db)
    assert all(value is None or math.isfinite(value) for value in measured)


async def test_silence_has_no_loudness_and_gets_no_gain(tmp_path: Path) -> None:
    """Bad input 39."""
    plan = (await track_of(KEPT["39 silence"].make(), tmp_path)).plan
    assert (plan.integrated_lufs, plan.true_peak_dbtp, plan.gain_db) == (None, None, 0.0)


@pytest.mark.parametrize("row", ["38 some no numbers", "40 direct current", "40 clipped square"])
async def test_what_is_at_full_scale_comes_out_below_the_ceiling(tmp_path: Path, row: str) -> None:
    """Bad inputs 38, 40: the true peak is told, and coded it is at most -1 dBTP."""
    track = await track_of(KEPT[row].make(), tmp_path)
    assert track.plan.true_peak_dbtp is not None
    assert track.plan.true_peak_dbtp >= -0.1
    assert track.coded.true_peak_dbtp is not None
    assert track.coded.true_peak_dbtp <= -1.0


async def test_tags_that_harm_come_out_harmless(tmp_path: Path) -> None:
    """Bad input 45: what a callback, a page or a terminal may be given."""
    tags = (await track_of(KEPT["45 tags that harm"].make(), tmp_path)).probed.tags
    assert tags == {
        "title": "a  X: 1[31m<script>",
        "album": "\u30c6\u30b9\u30c8",
        "comment": "x" * 1024,
    }


async def test_a_small_file_that_wants_much_memory_is_over_a_limit(tmp_path: Path) -> None:
    """Bad input 46: permanent, whatever FFmpeg calls it."""
    path = tmp_path / LOCAL_NAME
    path.write_bytes(bad_files.greedy())
    assert path.stat().st_size < 64_000
    with pytest.raises(LimitExceeded) as caught:
        async with run(replace(order_of(path), memory_bytes=256 << 20)) as events:
            _ = [event async for event in events]
    assert caught.value.code == "limit_memory"
