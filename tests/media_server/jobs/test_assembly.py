"""Events become named files and one asset; what does not add up is refused before anything points to it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from hls.asset import Asset
from media_server.errors import Unavailable
from media_server.jobs.assembly import Assembly, Identity
from media_server.jobs.downloads import LocalFile
from media_server.jobs.events import (
    Drawn,
    FileMade,
    Initialised,
    LadderMade,
    Planned,
    Probed,
    Remeasured,
    SegmentMade,
)
from media_server.jobs.job import JobRequest

TRACK = "0b9d5f0e-7f6c-4f6e-9d8e-3a3a5c0d9a11"
INIT = Initialised(
    rendition="128k", codec="mp4a.40.2", bitrate_bps=128_000, rate_hz=48_000, channels=2, priming_samples=1024
)


def plan(gain_db: float = -3.0) -> Planned:
    return Planned(
        samples=5_000,
        channels=2,
        integrated_lufs=-11.0,
        range_lu=5.0,
        true_peak_dbtp=-0.5,
        gain_db=gain_db,
        reason="target",
        warnings=("silent",),
        begins=("128k",),
    )


def assembly(
    title: str | None = None,
    sha256: str = "0" * 64,
    source_title: str | None = None,
    options: dict[str, object] | None = None,
) -> Assembly:
    request = JobRequest.model_validate(
        {"track_id": TRACK, "source": {"path": "a"}, "title": title, "options": options or {}}
    )
    return Assembly(
        request,
        Identity(
            job_id="j",
            created_at="c",
            order="o",
            source_sha256=sha256,
            source_bytes=1,
            source_title=source_title,
        ),
    )


def finished(parts: Assembly, tags: dict[str, str] | None = None) -> list[str]:
    """Feed a whole short track; the paths that were to be stored."""
    events = [
        (Probed(container="wav", codec="pcm_s16le", rate_hz=48_000, channels=2, tags=tags or {}), b""),
        (plan(), b""),
        (Drawn(what="waveform", media_type="application/octet-stream"), b"wave"),
        (INIT, b"init"),
        (SegmentMade(rendition="128k", number=0, pts=0, duration=6_024), b"seg0"),
        (LadderMade(warnings=("damaged",)), b""),
    ]
    return [file.path for event, payload in events for file in parts.take(event, payload)]


def test_every_file_carries_the_hash_of_its_content_in_its_name() -> None:
    """contract, storage: immutable; file names carry their content hash."""
    wave, init, segment = (hashlib.sha256(data).hexdigest()[:8] for data in (b"wave", b"init", b"seg0"))
    stored = [f"waveform-{wave}.dat", f"128k/init-{init}.mp4", f"128k/0-{segment}.m4s"]
    assert finished(assembly()) == stored


def test_the_asset_says_what_was_made() -> None:
    parts = assembly()
    finished(parts)
    asset = parts.asset
    assert (asset.state, asset.duration_samples, asset.warnings) == ("complete", 5_000, ("damaged",))
    assert [segment.bytes for segment in asset.renditions[0].segments] == [4]
    assert asset.loudness.gain_db == -3.0


@pytest.mark.parametrize(
    ("asked", "tags", "file", "title"),
    [
        ("A", {"title": "T"}, "F", "A"),
        (None, {"title": "T"}, "F", "T"),
        (None, {}, "F", "F"),
        (None, {}, None, None),
    ],
)
def test_a_title_is_what_was_asked_for_then_the_tag_then_the_file(
    asked: str | None, tags: dict[str, str], file: str | None, title: str | None
) -> None:
    parts = assembly(asked, source_title=file)
    finished(parts, tags)
    assert parts.asset.title == title


def test_a_version_is_named_by_what_it_was_made_of() -> None:
    """contract: version = hash(source, options, applied gain, pipeline version)."""

    def version(sha256: str, gain_db: float, eq: dict[str, object] | None = None) -> str:
        parts = assembly(sha256=sha256, options={"eq": eq})
        parts.take(plan(gain_db), b"")
        return parts.version

    assert version("0" * 64, -3.0) == version("0" * 64, -3.0)
    assert len({version("0" * 64, -3.0), version("1" * 64, -3.0), version("0" * 64, -3.1)}) == 3
    shaped = [{"preset": "warm"}, {"preset": "bright"}, {"bands": []}]
    assert len({version("0" * 64, -3.0, eq) for eq in (None, *shaped)}) == 4


def test_a_second_plan_takes_back_what_the_first_led_to() -> None:
    """The gain is part of the version: what was made with another gain is not named by the asset."""
    parts = assembly()
    parts.take(plan(-2.5), b"")
    parts.take(Drawn(what="cover", media_type="image/jpeg"), b"cover")
    parts.take(INIT.model_copy(update={"rendition": "320k"}), b"init")
    first = parts.version
    assert parts.dropped == ()
    finished(parts)
    assert parts.dropped == (first,)
    parts.take(plan(-3.5), b"")
    assert parts.version not in parts.dropped
    assert parts.take(INIT, b"init")
    assert parts.take(SegmentMade(rendition="128k", number=0, pts=0, duration=6_024), b"seg1")
    assert [rendition.name for rendition in parts.asset.renditions] == ["128k"]
    assert (parts.asset.cover, parts.asset.loudness.gain_db) == (None, -3.5)


def test_a_limiter_makes_another_version() -> None:
    parts, limited = assembly(), assembly()
    parts.take(plan(), b"")
    limited.take(plan().model_copy(update={"limit_dbtp": -1.2}), b"")
    assert parts.version != limited.version


def test_the_loudness_of_each_rendition_is_told_in_the_order_of_the_ladder() -> None:
    parts = assembly()
    parts.take(Remeasured(rendition="128k", integrated_lufs=-14.1, true_peak_dbtp=-1.2), b"")
    finished(parts)
    loudness = parts.asset.loudness
    assert (loudness.mode, loudness.reason, loudness.ceiling_dbtp) == ("track", "target", -1.0)
    assert loudness.measured["128k"].integrated_lufs == -14.1
    assert Asset.from_json(parts.asset.to_json()) == parts.asset


def test_segments_out_of_turn_are_refused() -> None:
    parts = assembly()
    parts.take(plan(), b"")
    parts.take(INIT, b"init")
    with pytest.raises(Unavailable):
        parts.take(SegmentMade(rendition="128k", number=1, pts=0, duration=9), b"x")
    with pytest.raises(Unavailable):
        parts.take(SegmentMade(rendition="320k", number=0, pts=0, duration=9), b"x")


def test_a_rendition_of_another_length_than_the_plan_is_refused() -> None:
    """reliability.md I2: the length of what is published equals the source's."""
    parts = assembly()
    for event, payload in [
        (Probed(container="wav", codec="pcm_s16le", rate_hz=48_000, channels=2), b""),
        (plan(), b""),
        (INIT, b"init"),
        (SegmentMade(rendition="128k", number=0, pts=0, duration=6_023), b"seg0"),
        (LadderMade(), b""),
    ]:
        parts.take(event, payload)
    with pytest.raises(Unavailable, match="4999 samples"):
        _ = parts.asset


def test_renditions_stand_in_the_order_of_the_ladder_whatever_came_first() -> None:
    """An Opus packet is shorter than AAC's first two, so its init may come first."""
    parts = assembly()
    opus = INIT.model_copy(update={"rendition": "opus-128", "codec": "Opus", "priming_samples": 312})
    low = SegmentMade(rendition="128k", number=0, pts=0, duration=6_024)
    for event in (
        Probed(container="wav", codec="pcm_s16le", rate_hz=48_000, channels=2),
        plan(),
        *(opus, INIT.model_copy(update={"rendition": "320k"}), INIT),
        *(low, low.model_copy(update={"rendition": "320k"})),
        SegmentMade(rendition="opus-128", number=0, pts=0, duration=5_312),
        LadderMade(),
    ):
        parts.take(event, b"x")
    assert [rendition.name for rendition in parts.asset.renditions] == ["128k", "320k", "opus-128"]


def test_a_lossless_rendition_is_as_long_at_its_own_rate_and_has_the_bit_rate_that_it_took() -> None:
    """5000 samples at 48 kHz are 9999 to 10000 at 96 kHz; its coder was asked for no bit rate."""
    parts = assembly()
    about = {
        "rendition": "lossless",
        "codec": "fLaC",
        "bitrate_bps": 0,
        "rate_hz": 96_000,
        "priming_samples": 0,
    }
    parts.take(Probed(container="flac", codec="flac", rate_hz=96_000, channels=2), b"")
    parts.take(plan(), b"")
    parts.take(INIT.model_copy(update=about), b"init")
    parts.take(SegmentMade(rendition="lossless", number=0, pts=0, duration=9_999), b"s" * 3_000)
    parts.take(LadderMade(), b"")
    (rendition,) = parts.asset.renditions
    assert (rendition.rate_hz, rendition.codec) == (96_000, "fLaC")
    assert rendition.bitrate_bps == -(-8 * 3_000 * 96_000 // 9_999)


def test_a_lossless_rendition_of_another_length_is_refused() -> None:
    parts = assembly()
    about = {
        "rendition": "lossless",
        "codec": "fLaC",
        "bitrate_bps": 0,
        "rate_hz": 96_000,
        "priming_samples": 0,
    }
    parts.take(Probed(container="flac", codec="flac", rate_hz=96_000, channels=2), b"")
    parts.take(plan(), b"")
    parts.take(INIT.model_copy(update=about), b"init")
    parts.take(SegmentMade(rendition="lossless", number=0, pts=0, duration=10_002), b"s")
    parts.take(LadderMade(), b"")
    with pytest.raises(Unavailable, match="lossless has 10002 samples at 96000 Hz"):
        _ = parts.asset


def test_a_whole_file_is_listed_by_what_it_is_and_named_by_its_content(tmp_path: Path) -> None:
    parts = assembly()
    event = FileMade(output="mp3-320", format="mp3", bitrate_bps=320_000, rate_hz=48_000, channels=2)
    finished(parts)
    stored = parts.take_download(event, LocalFile(path=tmp_path, size_bytes=9, sha256="ab" * 32))
    assert (stored.name, stored.media_type) == ("mp3-320-abababab.mp3", "audio/mpeg")
    [download] = parts.asset.downloads
    assert (download.name, download.format, download.bitrate_bps, download.file) == (
        "mp3-320", "mp3", 320_000, stored
    )  # fmt: skip


def test_a_second_plan_takes_back_the_files_of_the_first(tmp_path: Path) -> None:
    """What was stored of them lies in the version that is dropped."""
    parts = assembly()
    event = FileMade(output="mp3-320", format="mp3", bitrate_bps=320_000, rate_hz=48_000, channels=2)
    parts.take(plan(-2.5), b"")
    parts.take_download(event, LocalFile(path=tmp_path, size_bytes=9, sha256="ab" * 32))
    finished(parts)
    assert parts.asset.downloads == ()
    kept = parts.take_download(event, LocalFile(path=tmp_path, size_bytes=9, sha256="cd" * 32))
    assert [download.file for download in parts.asset.downloads] == [kept]


def test_nothing_is_whole_before_it_is_finished() -> None:
    parts = assembly()
    parts.take(plan(), b"")
    with pytest.raises(Unavailable):
        _ = parts.asset


@pytest.mark.parametrize("segment_format", ["fmp4", "ts"])
def test_the_asset_says_what_is_to_be_offered_first(segment_format: str) -> None:
    """The files are the same: nothing is stored for MPEG-TS."""
    options = {"segment_format": segment_format}
    request = JobRequest.model_validate({"track_id": TRACK, "source": {"path": "a"}, "options": options})
    identity = Identity(job_id="j", created_at="c", order="o", source_sha256="0" * 64, source_bytes=1)
    parts = Assembly(request, identity)
    assert finished(parts) == finished(assembly())
    assert parts.asset.segment_format == segment_format
    assert parts.asset.master == {"fmp4": "master.m3u8", "ts": "master-ts.m3u8"}[segment_format]


def test_what_there_is_of_a_version_is_an_asset_that_grows() -> None:
    """contract, storage: it lists only objects that are stored; the same version as the whole."""
    parts = assembly()
    parts.take(Probed(container="wav", codec="pcm_s16le", rate_hz=48_000, channels=2), b"")
    assert parts.growing is None
    parts.take(plan(), b"")
    parts.take(INIT, b"init")
    assert parts.growing is None, "players give up on an empty playlist"
    parts.take(SegmentMade(rendition="128k", number=0, pts=0, duration=3_000), b"seg0")
    growing = parts.growing
    assert growing is not None
    assert (growing.state, growing.warnings, len(growing.renditions[0].segments)) == (
        "growing",
        ("silent",),
        1,
    )
    parts.take(SegmentMade(rendition="128k", number=1, pts=3_000, duration=3_024), b"seg1")
    parts.take(LadderMade(), b"")
    assert (parts.asset.version, parts.asset.state) == (growing.version, "complete")
    assert parts.asset.renditions[0].segments[:1] == growing.renditions[0].segments


def test_of_renditions_that_begin_together_none_is_shown_alone() -> None:
    """A multivariant playlist does not change once it was read."""
    parts = assembly()
    parts.take(Probed(container="wav", codec="pcm_s16le", rate_hz=48_000, channels=2), b"")
    parts.take(plan().model_copy(update={"begins": ("128k", "320k")}), b"")
    for name in ("128k", "320k"):
        assert parts.growing is None
        parts.take(INIT.model_copy(update={"rendition": name}), b"init")
        parts.take(SegmentMade(rendition=name, number=0, pts=0, duration=3_000), b"seg0")
    assert parts.growing is not None


def test_what_misses_its_plan_is_whole_and_says_so() -> None:
    parts = assembly()
    finished(parts)
    assert (parts.missed.state, parts.missed.warnings) == ("complete", ("silent", "loudness_missed"))
    parts.take(INIT, b"init")
    with pytest.raises(Unavailable, match="samples"):
        parts.missed  # noqa: B018
