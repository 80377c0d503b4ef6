"""Renditions in the making: segments in their turn, and as long as they must be in the end."""

from __future__ import annotations

import pytest

from media_server.errors import Unavailable
from media_server.jobs.events import Initialised, SegmentMade
from media_server.jobs.rungs import Rungs


def init(name: str) -> Initialised:
    return Initialised(
        rendition=name,
        codec="mp4a.40.2",
        bitrate_bps=128_000,
        rate_hz=48_000,
        channels=2,
        priming_samples=1024,
    )


def segment(name: str, number: int, duration: int = 184_320) -> SegmentMade:
    return SegmentMade(rendition=name, number=number, pts=number * 184_320, duration=duration)


def test_a_rendition_has_begun_with_its_first_segment() -> None:
    rungs = Rungs()
    assert not rungs
    assert rungs.have_begun(())
    rungs.begin(init("320k"), b"init")
    assert rungs
    assert not rungs.have_begun(["320k"])
    assert rungs.renditions == ()
    assert rungs.add(segment("320k", 0), b"seg0").startswith("320k/0-")
    assert rungs.have_begun(["320k"])
    assert not rungs.have_begun(["128k", "320k"])


def test_they_stand_in_the_order_of_the_ladder() -> None:
    rungs = Rungs()
    for name in ("opus-128", "320k", "128k"):
        rungs.begin(init(name), name.encode())
        rungs.add(segment(name, 0), b"seg0")
    assert [rendition.name for rendition in rungs.renditions] == ["128k", "320k", "opus-128"]


@pytest.mark.parametrize("late", [segment("128k", 1), segment("128k", 3), segment("192k", 0)])
def test_a_segment_out_of_turn_is_refused(late: SegmentMade) -> None:
    rungs = Rungs()
    rungs.begin(init("128k"), b"init")
    rungs.add(segment("128k", 0), b"seg0")
    rungs.add(segment("128k", 1), b"seg1")
    with pytest.raises(Unavailable) as caught:
        rungs.add(late, b"seg")
    assert caught.value.code == "child_protocol"


def test_a_rendition_of_another_length_is_refused() -> None:
    rungs = Rungs()
    rungs.begin(init("128k"), b"init")
    rungs.add(segment("128k", 0, 6_024), b"seg0")
    rungs.must_be_whole(5_000)
    with pytest.raises(Unavailable, match="has 5000 samples at 48000 Hz, the analysis counted 5001"):
        rungs.must_be_whole(5_001)
