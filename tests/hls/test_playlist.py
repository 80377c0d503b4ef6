"""The media playlist, clause by clause: bis = draft-pantos-hls-rfc8216bis, A = Apple's authoring rules."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import m3u8
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hls.playlist import MediaPlaylist, PlaylistSegment, PlaylistType, target_duration_s

RATE = 48_000
CELL = 184_320


def listed(*durations: int) -> tuple[PlaylistSegment, ...]:
    return tuple(
        PlaylistSegment(uri=f"v1/128k/{number}-0a1b2c3d.m4s", duration=duration)
        for number, duration in enumerate(durations)
    )


VOD = MediaPlaylist(
    kind=PlaylistType.VOD,
    rate_hz=RATE,
    map_uri="v1/128k/init-0a1b2c3d.mp4",
    segments=listed(CELL, CELL, 100_000),
)
EVENT = replace(VOD, kind=PlaylistType.EVENT, ended=False)


def test_a_finished_track_renders_as() -> None:
    assert VOD.render() == (
        "#EXTM3U\n"
        "#EXT-X-VERSION:6\n"
        "#EXT-X-TARGETDURATION:4\n"
        "#EXT-X-MEDIA-SEQUENCE:0\n"
        "#EXT-X-PLAYLIST-TYPE:VOD\n"
        '#EXT-X-MAP:URI="v1/128k/init-0a1b2c3d.mp4"\n'
        "#EXTINF:3.840000,\n"
        "v1/128k/0-0a1b2c3d.m4s\n"
        "#EXTINF:3.840000,\n"
        "v1/128k/1-0a1b2c3d.m4s\n"
        "#EXTINF:2.083333,\n"
        "v1/128k/2-0a1b2c3d.m4s\n"
        "#EXT-X-ENDLIST\n"
    )


def test_the_first_line_is_extm3u_without_a_byte_order_mark() -> None:
    """bis 4, 4.4.1.1: UTF-8 without BOM; EXTM3U is the first line; LF ends each."""
    data = VOD.render().encode()
    assert data.startswith(b"#EXTM3U\n")
    assert data.endswith(b"\n")
    assert b"\r" not in data


def test_the_version_is_the_lowest_that_fits_and_stands_once() -> None:
    """bis 4.4.1.2, 8: EXT-X-MAP without I-FRAMES-ONLY needs 6; 6.2.1: SHOULD NOT be higher."""
    assert VOD.render().count("#EXT-X-VERSION:6\n") == VOD.render().count("#EXT-X-VERSION") == 1


def test_a_list_without_a_map_needs_version_3_alone() -> None:
    """bis 8: decimal EXTINF; MPEG-TS has no init segment (bis 3.1.1)."""
    text = replace(VOD, map_uri=None).render()
    assert text.count("#EXT-X-VERSION:3\n") == text.count("#EXT-X-VERSION") == 1
    assert "EXT-X-MAP" not in text
    assert m3u8.loads(text).segments[0].init_section is None


@pytest.mark.parametrize(
    "tag", ["TARGETDURATION", "MEDIA-SEQUENCE", "PLAYLIST-TYPE", "MAP", "ENDLIST", "VERSION"]
)
def test_a_playlist_tag_stands_once(tag: str) -> None:
    """bis 4.4.3: a media playlist tag at most once in a playlist."""
    assert VOD.render().count(f"#EXT-X-{tag}") == 1


def test_it_holds_no_multivariant_tag() -> None:
    """bis 4.1: media or multivariant tags, never both; 4.4.2.1: INDEPENDENT-SEGMENTS stands above."""
    text = VOD.render()
    for tag in ("STREAM-INF", "MEDIA:", "SESSION", "INDEPENDENT-SEGMENTS"):
        assert f"#EXT-X-{tag}" not in text


@pytest.mark.parametrize(
    ("longest", "seconds"),
    [
        (0, 1),
        (1, 1),
        (RATE // 2, 1),
        (3 * RATE // 2 - 1, 1),
        (3 * RATE // 2, 2),
        (CELL, 4),
        (CELL + 23_999, 4),
        (9 * RATE // 2, 5),
    ],
)
def test_the_target_duration_is_the_longest_rounded_half_up(longest: int, seconds: int) -> None:
    """bis 4.4.3.1: EXTINF rounded to the nearest integer MUST be <= TARGETDURATION, an integer >= 1."""
    assert target_duration_s(longest, RATE) == seconds
    playlist = replace(VOD, segments=listed(longest, 1))
    assert playlist.target_duration_s == seconds
    assert f"#EXT-X-TARGETDURATION:{seconds}\n" in playlist.render()


def test_a_growing_list_keeps_its_target_duration() -> None:
    """bis 6.2.1: the value of TARGETDURATION MUST NOT change."""
    growing = replace(EVENT, target_duration_at_least_s=4)
    assert [replace(growing, segments=listed(*[1] * count)).target_duration_s for count in (0, 1, 2)] == [
        4
    ] * 3
    assert replace(growing, segments=listed(5 * RATE)).target_duration_s == 5


@pytest.mark.parametrize(
    ("samples", "text"),
    [
        (CELL, "3.840000"),
        (1, "0.000021"),
        (RATE, "1.000000"),
        (CELL + 1024, "3.861333"),
        (8 * RATE - 1, "7.999979"),
    ],
)
def test_extinf_is_the_exact_duration_to_the_microsecond(samples: int, text: str) -> None:
    """bis 4.4.4.1, A 8.1: decimals enough that any run of segments sums within a frame."""
    assert f"#EXTINF:{text},\n" in replace(VOD, segments=listed(samples)).render()


def test_the_map_stands_before_the_first_segment() -> None:
    """bis 4.4.4.5, A 8.20: it applies to the segments after it; URI is a quoted string."""
    lines = VOD.render().splitlines()
    assert lines.index('#EXT-X-MAP:URI="v1/128k/init-0a1b2c3d.mp4"') < lines.index("#EXTINF:3.840000,")


def test_every_extinf_is_followed_by_its_uri() -> None:
    """bis 4.4.4.1: EXTINF is required for each segment and applies to the next one."""
    lines = VOD.render().splitlines()
    following = [lines[at + 1] for at, line in enumerate(lines) if line.startswith("#EXTINF")]
    assert following == [segment.uri for segment in VOD.segments]


def test_a_finished_track_never_changes() -> None:
    """A 8.6, bis 4.4.3.4, 4.4.3.5: VOD has ENDLIST."""
    with pytest.raises(ValueError, match="VOD playlist must not change"):
        replace(VOD, ended=False)


def test_a_growing_track_is_an_event_without_end() -> None:
    """bis 4.4.3.5, A 8.8: EVENT only grows at its end."""
    text = EVENT.render()
    assert "#EXT-X-PLAYLIST-TYPE:EVENT\n" in text
    assert "ENDLIST" not in text


def test_growing_only_appends_lines() -> None:
    """bis 6.2.1: an EVENT playlist changes by appended lines and ENDLIST, by nothing else."""
    stages = [replace(EVENT, segments=listed(*[CELL] * count)).render() for count in (1, 2, 3)]
    ended = replace(EVENT, segments=listed(*[CELL] * 3), ended=True).render()
    for before, after in zip(stages, [*stages[1:], ended], strict=True):
        assert after.startswith(before)
        assert after != before
    assert ended.endswith("#EXT-X-ENDLIST\n")


def test_a_uri_that_would_break_the_list_is_refused() -> None:
    with pytest.raises(ValueError, match="not a URI line"):
        replace(VOD, segments=(PlaylistSegment(uri="a\n#EXT-X-ENDLIST", duration=1),)).render()
    with pytest.raises(ValueError, match="quoted string"):
        replace(VOD, map_uri='a",BYTERANGE="1@0').render()


@given(
    durations=st.lists(st.integers(1, 10 * RATE), max_size=60),
    rate_hz=st.sampled_from([44_100, 48_000, 96_000]),
)
def test_a_parser_reads_back_what_was_written(durations: list[int], rate_hz: int) -> None:
    """bis 4.4.3.1, 4.4.4.1: by the text alone, durations fit the target and sum within a frame."""
    playlist = replace(VOD, segments=listed(*durations), rate_hz=rate_hz)
    text = playlist.render()
    parsed = m3u8.loads(text)
    assert (parsed.version, parsed.playlist_type, parsed.is_endlist, parsed.media_sequence) == (
        6,
        "vod",
        True,
        0,
    )
    assert [segment.uri for segment in parsed.segments] == [segment.uri for segment in playlist.segments]
    assert all(segment.init_section.uri == playlist.map_uri for segment in parsed.segments)
    written = [Fraction(line[8:-1]) for line in text.splitlines() if line.startswith("#EXTINF:")]
    assert [float(value) for value in written] == [segment.duration for segment in parsed.segments]
    assert all(int(value + Fraction(1, 2)) <= parsed.target_duration for value in written)
    # half a microsecond a segment
    assert abs(sum(written) - Fraction(sum(durations), rate_hz)) <= len(durations) * Fraction(1, 2_000_000)
