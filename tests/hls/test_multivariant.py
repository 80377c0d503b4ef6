"""The multivariant playlist and the bit rates in it: bis 4.1, 4.4.6; A = Apple's authoring rules 9."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil

import m3u8
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hls.multivariant import MultivariantPlaylist, Variant, average_bandwidth_bps, peak_bandwidth_bps
from hls.stored import StoredSegment

RATE = 48_000
CELL = 184_320

LADDER = MultivariantPlaylist(
    variants=tuple(
        Variant(
            uri=f"stream_{kbps}k.m3u8",
            bandwidth_bps=kbps * 1_020,
            average_bandwidth_bps=kbps * 1_010,
            codecs=("mp4a.40.2",),
        )
        for kbps in (128, 192)
    )
)


def segments(*sizes: tuple[int, int]) -> list[StoredSegment]:
    """Segments of (samples, bytes)."""
    return [
        StoredSegment(name=f"{number}.m4s", duration=duration, bytes=size, sha256="")
        for number, (duration, size) in enumerate(sizes)
    ]


def test_a_ladder_renders_as() -> None:
    assert LADDER.render() == (
        "#EXTM3U\n"
        "#EXT-X-INDEPENDENT-SEGMENTS\n"
        '#EXT-X-STREAM-INF:BANDWIDTH=130560,AVERAGE-BANDWIDTH=129280,CODECS="mp4a.40.2"\n'
        "stream_128k.m3u8\n"
        '#EXT-X-STREAM-INF:BANDWIDTH=195840,AVERAGE-BANDWIDTH=193920,CODECS="mp4a.40.2"\n'
        "stream_192k.m3u8\n"
    )


def test_the_version_is_the_lowest_that_fits() -> None:
    """bis 4.4.1.2: without the tag it is version 1; 8, 6.2.1: no tag here needs more."""
    assert "EXT-X-VERSION" not in LADDER.render()


def test_every_variant_states_what_players_choose_by() -> None:
    """bis 4.4.6.2: BANDWIDTH is required; A 9.1, 9.14: CODECS, AVERAGE-BANDWIDTH too; no spaces (4.2)."""
    lines = [line for line in LADDER.render().splitlines() if line.startswith("#EXT-X-STREAM-INF:")]
    assert len(lines) == 2
    for line in lines:
        assert " " not in line
        assert all(name in line for name in ("BANDWIDTH=", "AVERAGE-BANDWIDTH=", 'CODECS="'))
        assert "RESOLUTION" not in line


def test_the_uri_follows_its_stream_inf_directly() -> None:
    """bis 4.4.6.2: the URI line MUST follow the tag."""
    lines = LADDER.render().splitlines()
    following = [lines[at + 1] for at, line in enumerate(lines) if line.startswith("#EXT-X-STREAM-INF")]
    assert following == ["stream_128k.m3u8", "stream_192k.m3u8"]


def test_it_holds_no_media_tag_and_says_that_segments_are_independent() -> None:
    """bis 4.1: never both kinds of tags; 4.4.2.1: INDEPENDENT-SEGMENTS here holds for every segment below."""
    text = LADDER.render()
    assert text.count("#EXT-X-INDEPENDENT-SEGMENTS\n") == 1
    assert text.startswith("#EXTM3U\n")
    for tag in ("#EXTINF", "#EXT-X-TARGETDURATION", "#EXT-X-MAP", "#EXT-X-ENDLIST", "#EXT-X-PLAYLIST-TYPE"):
        assert tag not in text


def test_codecs_are_one_quoted_list() -> None:
    """bis 4.4.6.2: a quoted string with a comma-separated list of RFC 6381 names."""
    variant = replace(LADDER.variants[0], codecs=("mp4a.40.2", "ec-3"))
    assert 'CODECS="mp4a.40.2,ec-3"' in MultivariantPlaylist(variants=(variant,)).render()


def test_a_playlist_without_variants_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one variant"):
        MultivariantPlaylist(variants=())


def test_a_uri_that_would_break_the_list_is_refused() -> None:
    broken = replace(LADDER.variants[0], uri="a\n#EXT-X-ENDLIST")
    with pytest.raises(ValueError, match="not a URI line"):
        MultivariantPlaylist(variants=(broken,)).render()


def test_a_parser_reads_back_the_ladder() -> None:
    parsed = m3u8.loads(LADDER.render())
    assert parsed.is_variant
    assert parsed.is_independent_segments
    read = [
        (item.uri, item.stream_info.bandwidth, item.stream_info.average_bandwidth, item.stream_info.codecs)
        for item in parsed.playlists
    ]
    assert read == [
        (variant.uri, variant.bandwidth_bps, variant.average_bandwidth_bps, ",".join(variant.codecs))
        for variant in LADDER.variants
    ]


def test_the_average_is_all_bits_over_all_seconds_rounded_up() -> None:
    """bis 4.1: container overhead in, HTTP out."""
    assert average_bandwidth_bps(segments((RATE, 1000), (RATE, 2000))) == 12_000
    assert average_bandwidth_bps(segments((3 * RATE, 1))) == 3  # 8/3
    assert average_bandwidth_bps([]) == 0


def test_the_rate_is_that_of_the_rendition() -> None:
    assert average_bandwidth_bps(segments((44_100, 1000)), rate_hz=44_100) == 8_000
    assert peak_bandwidth_bps(segments((44_100, 1000)), 1, rate_hz=44_100) == 8_000


@pytest.mark.parametrize(
    ("sizes", "peak"),
    [
        ([(4 * RATE, 1000), (4 * RATE, 3000), (4 * RATE, 1000)], 6_000),
        # 1.9 s is under half the target: it counts only together with its neighbour (5.9 s)
        ([(4 * RATE, 4000), (19 * RATE // 10, 9000)], ceil(Fraction(13_000 * 80, 59))),
        # exactly half counts alone
        ([(4 * RATE, 1000), (2 * RATE, 9000)], 36_000),
        # a pair of 6 s is exactly one and a half, and a pair of 6.1 s too long
        ([(RATE, 9000), (5 * RATE, 1000), (51 * RATE // 10, 1000)], ceil(Fraction(80_000, 6))),
        ([(11 * RATE // 10, 9000), (5 * RATE, 1000)], 1_600),
    ],
)
def test_the_peak_is_that_of_runs_of_half_to_one_and_a_half_targets(
    sizes: list[tuple[int, int]], peak: int
) -> None:
    """bis 4.1: contiguous segments whose total lasts 0.5 to 1.5 TARGETDURATION; here that is 4 s."""
    assert peak_bandwidth_bps(segments(*sizes), target_duration_s=4) == peak


def test_a_track_without_such_a_run_has_its_average_as_peak() -> None:
    assert peak_bandwidth_bps(segments((RATE // 10, 100)), target_duration_s=1) == 8_000
    assert peak_bandwidth_bps([], target_duration_s=1) == 0


@given(st.lists(st.tuples(st.integers(1, 5 * RATE), st.integers(0, 200_000)), min_size=1, max_size=30))
def test_the_peak_is_that_of_a_search_over_all_runs(sizes: list[tuple[int, int]]) -> None:
    """bis 4.1, in fractions and without short cuts."""
    listed = segments(*sizes)
    runs = [sizes[first:last] for first in range(len(sizes)) for last in range(first + 1, len(sizes) + 1)]
    rates = [
        Fraction(8 * sum(size for _, size in run) * RATE, samples)
        for run in runs
        if 2 * RATE <= (samples := sum(duration for duration, _ in run)) <= 6 * RATE
    ]
    expected = ceil(max(rates, default=Fraction(0))) or average_bandwidth_bps(listed)
    assert peak_bandwidth_bps(listed, target_duration_s=4) == expected
