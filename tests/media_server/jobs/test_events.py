"""What a child says is checked like any other input from outside: it reads hostile files."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media_server.errors import LimitExceeded, Malformed, MediaError, Unavailable, Unsupported
from media_server.jobs.events import (
    MAX_BLOCKS,
    AlbumPlanned,
    Drawn,
    Failed,
    Finished,
    LadderMade,
    Planned,
    Progress,
    SegmentMade,
    failed,
    pack,
    unpack,
)
from pipeline.programme import BINS

PLAN = Planned(
    samples=5,
    channels=2,
    integrated_lufs=None,
    range_lu=None,
    true_peak_dbtp=None,
    gain_db=0.0,
    reason="silence",
)


@pytest.mark.parametrize(
    "event",
    [PLAN, Progress(stage="encode", fraction=0.5), LadderMade(warnings=("truncated",)), Finished(),
     SegmentMade(rendition="128k", number=3, pts=7, duration=9), Drawn(what="cover", media_type="a/b")],
)  # fmt: skip
@pytest.mark.parametrize("payload", [b"", b"\n", b"\x00\xff\n\n{}"])
def test_what_is_packed_is_unpacked(event: object, payload: bytes) -> None:
    assert unpack(pack(event, payload)) == (event, payload)  # type: ignore[arg-type]


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(message: bytes) -> None:
    try:
        unpack(message)
    except Unavailable as error:
        assert error.code == "child_protocol"


@pytest.mark.parametrize(
    "header",
    [b'{"event":"segment","rendition":"../x","number":0,"pts":0,"duration":1}',
     b'{"event":"segment","rendition":"128k","number":-1,"pts":0,"duration":1}',
     b'{"event":"progress","stage":"encode","fraction":2}',
     b'{"event":"progress","stage":"encode","fraction":NaN}',
     b'{"event":"failed","kind":"malformed","code":"UPPER","message":"x"}',
     b'{"event":"unknown"}', b"[]", b"null"],
)  # fmt: skip
def test_what_no_honest_child_says_is_refused(header: bytes) -> None:
    """A rendition becomes a part of a storage key."""
    with pytest.raises(Unavailable):
        unpack(header + b"\n")


@pytest.mark.parametrize("kind", [Malformed, Unsupported, LimitExceeded])
def test_an_error_comes_back_as_what_it_was(kind: type[MediaError]) -> None:
    event, _ = unpack(pack(failed(kind("too_long", "why", {"MAX_DURATION_S": 1.0}))))
    assert isinstance(event, Failed)
    error = event.error()
    assert (type(error), error.code, error.message, error.limits) == (
        kind,
        "too_long",
        "why",
        {"MAX_DURATION_S": 1.0},
    )


ALBUM = {"integrated_lufs": -12.5, "true_peak_dbtp": None, "most_gain_db": -1.15}


def test_what_a_track_brings_to_its_album_is_unpacked() -> None:
    """As many pairs as it has levels, in their order."""
    blocks = tuple((at, 7) for at in range(0, BINS, 4))
    event = PLAN.model_copy(update={"album": AlbumPlanned(**ALBUM, blocks=blocks)})
    assert unpack(pack(event)) == (event, b"")


@pytest.mark.parametrize("pair", [(-1, 1), (BINS, 1), (0, 0), (0, -1), (0, MAX_BLOCKS + 1), (0.5, 1)])
def test_blocks_that_no_meter_counts_are_refused(pair: tuple[float, int]) -> None:
    """They would be counted in the album of every track of its owner."""
    said = {**PLAN.model_dump(), "album": {**ALBUM, "blocks": [pair]}}
    with pytest.raises(Unavailable):
        unpack(orjson.dumps(said) + b"\n")
