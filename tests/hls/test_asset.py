"""The published track: its JSON, and the playlists it renders."""

from __future__ import annotations

import json
from dataclasses import replace

import m3u8
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hls.asset import Asset, AssetLoudness, AssetRendition, StoredFile, StoredSegment
from hls.family import Family
from hls.playlist import PlaylistType
from hls.segment_format import SegmentFormat

CELL = 184_320


def segment(number: int, size: int, duration: int = CELL) -> StoredSegment:
    return StoredSegment(name=f"{number}-0a1b2c3d.m4s", duration=duration, bytes=size, sha256="0a" * 32)


def rendition(kbps: int, *sizes: int) -> AssetRendition:
    return AssetRendition(
        name=f"{kbps}k",
        codec="mp4a.40.2",
        bitrate_bps=kbps * 1_000,
        rate_hz=48_000,
        channels=2,
        priming_samples=1024,
        init=StoredFile(name="init-0a1b2c3d.mp4", bytes=623, sha256="0a" * 32, media_type="audio/mp4"),
        segments=tuple(segment(number, size) for number, size in enumerate(sizes)),
    )


ASSET = Asset(
    track_id="6f9619ff-8b86-4d01-b42d-00cf4fc964ff",
    version="v1",
    state="complete",
    job_id="0b1d1a10-0000-5000-8000-000000000000",
    created_at="2024-05-01T12:00:00.000Z",
    order="2024-05-01T11:59:00.000Z",
    source_version=None,
    pipeline_version="1",
    source_sha256="ab" * 32,
    source_bytes=1_000_000,
    duration_samples=2 * CELL - 1024,
    visibility="private",
    user_id="7",
    title="Überfahrt",
    artist=None,
    tags={"genre": "Ambient"},
    loudness=AssetLoudness(
        integrated_lufs=-9.8, true_peak_dbtp=-0.1, range_lu=6.2, gain_db=-4.2, target_lufs=-14.0
    ),
    renditions=(rendition(128, 61_440, 62_400), rendition(192, 92_160, 93_600)),
    waveform=StoredFile(
        name="waveform.dat", bytes=20, sha256="cd" * 32, media_type="application/octet-stream"
    ),
    cover=None,
    warnings=("no_title",),
)
OPUS = replace(rendition(128, 60_000, 61_000), name="opus-128", codec="Opus", priming_samples=312)
WITH_OPUS = replace(ASSET, renditions=(*ASSET.renditions, OPUS))
GROWING = replace(ASSET, state="growing", renditions=(rendition(128, 5_000), rendition(192)))


def test_an_asset_is_read_back_as_it_was_written() -> None:
    assert Asset.from_json(ASSET.to_json()) == ASSET


def test_the_keys_of_the_json_are_the_names_of_the_fields() -> None:
    """Files that are stored today are read by the server of tomorrow."""
    read = json.loads(ASSET.to_json())
    assert list(read) == list(Asset.__dataclass_fields__)
    assert read["renditions"][0]["segments"][0] == {
        "name": "0-0a1b2c3d.m4s",
        "duration": CELL,
        "bytes": 61_440,
        "sha256": "0a" * 32,
    }


def test_keys_of_a_newer_server_are_left_out() -> None:
    read = json.loads(ASSET.to_json()) | {"lyrics": "la la"}
    assert Asset.from_json(json.dumps(read).encode()) == ASSET


@pytest.mark.parametrize(
    "change", [{"state": "half"}, {"visibility": "secret"}, {"renditions": 3}, {"track_id": None}]
)
def test_what_is_not_an_asset_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        Asset.from_json(json.dumps(json.loads(ASSET.to_json()) | change).encode())


def test_a_torn_file_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        Asset.from_json(ASSET.to_json()[:-1])


def test_the_duration_is_that_of_the_source() -> None:
    """In seconds, priming and padding not counted."""
    assert replace(ASSET, duration_samples=72_000).duration_s == 1.5


def test_a_rendition_is_found_by_its_name() -> None:
    assert ASSET.rendition("192k") is ASSET.renditions[1]
    with pytest.raises(KeyError, match="320k"):
        ASSET.rendition("320k")
    with pytest.raises(KeyError, match="320k"):
        ASSET.media_playlist("320k")


def test_a_media_playlist_points_into_the_folder_of_its_rendition() -> None:
    """URIs are relative to /hls/{track_id}/, where the playlist itself lies."""
    playlist = ASSET.media_playlist("192k")
    assert playlist.map_uri == "v1/192k/init-0a1b2c3d.mp4"
    assert [item.uri for item in playlist.segments] == [
        "v1/192k/0-0a1b2c3d.m4s",
        "v1/192k/1-0a1b2c3d.m4s",
    ]
    assert [item.duration for item in playlist.segments] == [CELL, CELL]


def test_a_query_goes_behind_every_uri_of_a_media_playlist() -> None:
    """A player with a signed playlist needs nothing else to fetch the init and the segments."""
    playlist = ASSET.media_playlist("128k", query="expires=1&kid=a&signature=b-_")
    uris = [playlist.map_uri, *(item.uri for item in playlist.segments)]
    assert len(uris) == 3
    assert all(uri.endswith(".m4s?expires=1&kid=a&signature=b-_") for uri in uris[1:])
    assert uris[0] == "v1/128k/init-0a1b2c3d.mp4?expires=1&kid=a&signature=b-_"


def test_the_multivariant_playlist_lists_the_ladder_lowest_first() -> None:
    """A player starts with the first variant."""
    assert [variant.uri for variant in ASSET.multivariant().variants] == [
        "stream_128k.m3u8",
        "stream_192k.m3u8",
    ]


def test_each_codec_has_a_multivariant_playlist_of_its_own() -> None:
    """hls.md 1.3: GStreamer and Chromium stop at the first switch to another codec."""
    assert WITH_OPUS.families == (Family.AAC, Family.OPUS)
    assert WITH_OPUS.multivariant() == ASSET.multivariant()
    [variant] = WITH_OPUS.multivariant(lambda name: f"for={name}", Family.OPUS).variants
    assert (variant.uri, variant.codecs) == ("stream_opus-128.m3u8?for=opus-128", ("Opus",))


def test_a_family_without_a_rendition_has_no_playlist() -> None:
    only_opus = replace(ASSET, renditions=(OPUS,))
    assert only_opus.families == (Family.OPUS,)
    assert only_opus.family(Family.AAC) == ()
    with pytest.raises(ValueError, match="at least one variant"):
        only_opus.multivariant()


def test_each_variant_may_carry_its_own_query() -> None:
    playlist = ASSET.multivariant(lambda name: f"signature={name}" if name == "128k" else "")
    assert [variant.uri for variant in playlist.variants] == [
        "stream_128k.m3u8?signature=128k",
        "stream_192k.m3u8",
    ]


def test_bandwidth_is_measured_and_not_the_setting_of_the_encoder() -> None:
    """bis 4.4.6.2, A 1.26-1.27: peak and average of the stored bytes; the init is not counted."""
    lowest = ASSET.multivariant().variants[0]
    assert lowest.bandwidth_bps == 62_400 * 8 * 100 // 384 == 130_000
    assert lowest.average_bandwidth_bps == 129_000
    assert lowest.codecs == ("mp4a.40.2",)


def test_a_finished_track_is_vod_and_variants_match() -> None:
    """bis 6.2.4: same PLAYLIST-TYPE and TARGETDURATION in all variants."""
    playlists = [ASSET.media_playlist(item.name) for item in ASSET.renditions]
    assert {(item.kind, item.ended, item.target_duration_s) for item in playlists} == {
        (PlaylistType.VOD, True, 4)
    }


def test_a_short_track_has_its_own_target_duration() -> None:
    """bis 4.4.3.1: nothing will be added, so it need not cover the grid."""
    short = replace(rendition(128), segments=(segment(0, 1_000, 50_000),))
    assert replace(ASSET, renditions=(short,)).media_playlist("128k").target_duration_s == 1


def test_a_growing_track_is_an_event_with_the_target_of_the_grid() -> None:
    """bis 6.2.1: TARGETDURATION must not change, also if the first list is empty."""
    for name in ("128k", "192k"):
        playlist = GROWING.media_playlist(name)
        assert (playlist.kind, playlist.ended, playlist.target_duration_s) == (PlaylistType.EVENT, False, 4)


def test_a_growing_track_lists_only_variants_that_have_begun() -> None:
    assert [variant.uri for variant in GROWING.multivariant().variants] == ["stream_128k.m3u8"]
    with pytest.raises(ValueError, match="at least one variant"):
        replace(GROWING, renditions=(rendition(128),)).multivariant()


def test_a_growing_track_declares_at_least_what_the_encoder_was_asked_for() -> None:
    """A 1.26-1.30: the content is not there yet, and a quiet beginning says little of it."""
    [variant] = GROWING.multivariant().variants
    assert (variant.bandwidth_bps, variant.average_bandwidth_bps) == (128_000, 128_000)
    loud = replace(GROWING, renditions=(rendition(128, 96_000),))
    [variant] = loud.multivariant().variants
    assert (variant.bandwidth_bps, variant.average_bandwidth_bps) == (200_000, 200_000)


def test_aac_is_offered_in_mpegts_beside_fmp4() -> None:
    """One master for all of it, the same folder, whole frames, no init; what TS cannot carry is left out."""
    assert WITH_OPUS.carried(SegmentFormat.TS) == ASSET.renditions
    master = WITH_OPUS.multivariant(segment_format=SegmentFormat.TS)
    assert [variant.uri for variant in master.variants] == ["stream_128k-ts.m3u8", "stream_192k-ts.m3u8"]
    cut_short = replace(rendition(128), segments=(segment(0, 61_440), segment(1, 9_000, 30_000)))
    playlist = replace(ASSET, renditions=(cut_short,)).media_playlist("128k", "k=1", SegmentFormat.TS)
    assert playlist.map_uri is None
    assert [(item.uri, item.duration) for item in playlist.segments] == [
        ("v1/128k/0-0a1b2c3d.ts?k=1", CELL),
        ("v1/128k/1-0a1b2c3d.ts?k=1", 30 * 1024),
    ]


def test_the_bandwidth_in_mpegts_is_that_of_its_own_bytes() -> None:
    """hls.md 1.3: measured, container overhead in; 354 packets of 188 bytes for each of these two."""
    lowest = ASSET.multivariant(segment_format=SegmentFormat.TS).variants[0]
    assert lowest.bandwidth_bps == lowest.average_bandwidth_bps == 354 * 188 * 8 * 100 // 384 == 138_650


def test_the_first_playlist_is_what_the_job_asked_for() -> None:
    """Where that exists: Opus alone has no MPEG-TS."""
    assert (WITH_OPUS.master, replace(WITH_OPUS, renditions=(OPUS,)).master) == (
        "master.m3u8",
        "master-opus.m3u8",
    )
    in_ts = replace(WITH_OPUS, segment_format=SegmentFormat.TS)
    assert (in_ts.master, replace(in_ts, renditions=(OPUS,)).master) == ("master-ts.m3u8", "master-opus.m3u8")


def test_an_asset_of_an_older_server_is_offered_in_fmp4() -> None:
    read = json.loads(ASSET.to_json())
    del read["segment_format"]
    assert Asset.from_json(json.dumps(read).encode()) == ASSET


def test_a_parser_reads_every_playlist() -> None:
    base = f"https://media.example/hls/{ASSET.track_id}/"
    master = m3u8.loads(ASSET.multivariant().render(), uri=f"{base}master.m3u8")
    assert [item.absolute_uri for item in master.playlists] == [f"{base}stream_{n}k.m3u8" for n in (128, 192)]
    media = m3u8.loads(ASSET.media_playlist("128k").render(), uri=f"{base}stream_128k.m3u8")
    assert media.segments[1].absolute_uri == f"{base}v1/128k/1-0a1b2c3d.m4s"
    assert media.segments[1].init_section.absolute_uri == f"{base}v1/128k/init-0a1b2c3d.mp4"


files = st.builds(
    StoredFile,
    name=st.text(max_size=8),
    bytes=st.integers(0, 2**40),
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    media_type=st.sampled_from(["audio/mp4", "image/png"]),
)
decibels = st.floats(-200, 200)
assets = st.builds(
    replace,
    st.just(ASSET),
    state=st.sampled_from(["growing", "complete"]),
    segment_format=st.sampled_from(SegmentFormat),
    visibility=st.sampled_from(["public", "unlisted", "private"]),
    source_version=st.none() | st.integers(0, 2**60),
    duration_samples=st.integers(0, 2**50),
    title=st.none() | st.text(max_size=20),
    tags=st.dictionaries(st.text(max_size=5), st.text(max_size=9), max_size=3),
    loudness=st.builds(
        AssetLoudness,
        integrated_lufs=st.none() | decibels,
        true_peak_dbtp=st.none() | decibels,
        range_lu=st.none() | decibels,
        gain_db=decibels,
        target_lufs=decibels,
    ),
    renditions=st.tuples(
        st.builds(
            replace,
            st.just(rendition(128)),
            init=files,
            segments=st.lists(
                st.builds(segment, st.integers(0, 9), st.integers(1, 10**6), st.integers(1, CELL))
            ).map(tuple),
        )
    ),
    waveform=st.none() | files,
    cover=st.none() | files,
    warnings=st.lists(st.text(max_size=9), max_size=3).map(tuple),
)


@given(assets)
def test_any_asset_survives_the_json(asset: Asset) -> None:
    text = asset.to_json()
    assert Asset.from_json(text) == asset
    assert Asset.from_json(text).to_json() == text
