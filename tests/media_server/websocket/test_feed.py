"""media_server/websocket/feed.py"""

from __future__ import annotations

from dataclasses import replace

import presentations
import pytest

from media_server.errors import BadRequest
from media_server.websocket.feed import Feed
from media_server.websocket.messages import HEADER, MAX_CREDIT_BYTES, Flag, FrameHeader, Kind

PAYLOAD = bytes(1000)


def sent(feed: Feed, count: int = 100) -> list[FrameHeader]:
    """Headers of what goes out now, files of 1000 bytes."""
    headers = []
    while len(headers) < count and (wanted := feed.wanted()) is not None:
        frame = feed.frame(wanted, PAYLOAD)
        assert frame is not None
        headers.append(FrameHeader.unpack(frame))
    return headers


def granted(feed: Feed, size_bytes: int = MAX_CREDIT_BYTES) -> Feed:
    feed.grant(size_bytes)
    return feed


def test_the_init_segment_comes_first_then_every_segment_once() -> None:
    init, *segments = sent(granted(Feed(presentations.song(20.0), 0)))
    assert (init.kind, init.rendition) == (Kind.INIT, 1)
    assert [one.number for one in segments] == list(range(6))
    assert [one.flags for one in segments] == [Flag.FIRST, *[Flag.NONE] * 4, Flag.LAST]
    assert segments[0].first_sample == -1024


def test_nothing_goes_out_without_credit_and_one_frame_beyond_it() -> None:
    """What a frame is longer than the credit is a debt, which the next grant pays first."""
    feed = Feed(presentations.song(), 0)
    assert feed.wanted() is None
    assert len(sent(granted(feed, 1))) == 1
    assert feed.credit_bytes == 1 - HEADER.size - len(PAYLOAD)
    feed.grant(HEADER.size + len(PAYLOAD) - 1)
    assert feed.wanted() is None
    assert len(sent(granted(feed, 1))) == 1


def test_credit_has_an_upper_bound() -> None:
    feed = granted(granted(Feed(presentations.song(), 0)))
    assert feed.credit_bytes == MAX_CREDIT_BYTES


def test_a_seek_repeats_no_init_and_drops_what_was_chosen_before() -> None:
    feed = granted(Feed(presentations.song(20.0), 0))
    sent(feed, 2)
    old = feed.wanted()
    feed.go_to(15 * 48_000)
    assert old is not None
    assert feed.frame(old, PAYLOAD) is None
    [first, *_] = sent(feed)
    assert (first.kind, first.number, first.flags) == (Kind.SEGMENT, 3, Flag.FIRST)


def test_a_change_goes_on_where_the_other_rendition_stopped() -> None:
    feed = granted(Feed(presentations.song(20.0), 0))
    sent(feed, 3)
    feed.change("320k")
    init, segment = sent(feed, 2)
    assert (init.kind, init.rendition) == (Kind.INIT, 0)
    assert (segment.number, segment.rendition, segment.flags) == (2, 0, Flag.FIRST)


def test_a_change_of_codec_leaves_no_hole() -> None:
    """Opus has the shorter priming: its segment of the same number begins later."""
    feed = granted(Feed(presentations.song(20.0), 0))
    end_of_aac = [sent(feed, 3), feed.next_sample][1]
    feed.change("opus-128")
    _, segment = sent(feed, 2)
    assert segment.number == 1
    assert segment.first_sample <= end_of_aac


def test_a_change_to_the_same_rendition_and_one_at_the_end_send_nothing() -> None:
    feed = granted(Feed(presentations.song(20.0), 0))
    feed.change("128k")
    assert len(sent(feed)) == 7
    feed.change("320k")
    assert (sent(feed), feed.is_at_end) == ([], True)


@pytest.mark.parametrize("name", ["64k", None, 7, ["128k"]])
def test_a_rendition_that_is_not_there_is_refused_with_those_that_are(name: object) -> None:
    feed = Feed(presentations.song(), 0)
    with pytest.raises(BadRequest, match="320k, 128k, opus-128") as caught:
        feed.change(name)
    assert caught.value.code == "rendition_not_found"


def test_a_track_in_the_making_goes_on_when_it_has_grown() -> None:
    feed = granted(Feed(presentations.song(20.0, state="growing", segments=2), 0))
    assert [one.number for one in sent(feed)][1:] == [0, 1]
    assert not feed.is_at_end
    feed.take(presentations.song(20.0, state="growing", segments=3))
    assert [one.flags for one in sent(feed)] == [Flag.NONE]
    feed.take(presentations.song(20.0))
    assert sent(feed)[-1].flags == Flag.LAST
    assert feed.is_at_end


def test_a_rendition_keeps_its_index_when_others_come() -> None:
    song = presentations.song(20.0)
    begun = presentations.asset(
        song.rendition("128k"), duration_samples=song.duration_samples, state="growing"
    )
    feed = Feed(begun, 0)
    assert feed.take(song)
    assert [one.name for one in feed.renditions] == ["128k", "320k", "opus-128"]


def test_only_more_of_what_plays_is_taken() -> None:
    """A replaced version stays fetchable (contract, storage): who hears it hears it to its end."""
    song = presentations.song(20.0)
    feed = granted(Feed(song, 0))
    sent(feed, 2)
    assert not feed.take(replace(song, version="fedcba9876543210"))
    assert not feed.take(replace(song, visibility="unlisted", title="Another"))
    wanted = feed.wanted()
    assert wanted is not None
    assert (wanted.version, feed.asset) == (song.version, song)
