"""Comments and lyrics of an MP3 are where players look for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import signals
import whole_files

from pipeline.id3 import language_frames, tag_end

WORDS = {"title": "T", "comment": "K\u00f6ln, \u30c6\u30b9\u30c8", "lyrics": "eins\nzwei"}


@pytest.mark.parametrize("cover", [False, True])
def test_comment_and_lyrics_are_frames_of_their_own(tmp_path: Path, cover: bool) -> None:
    """ID3v2.3.0 4.9, 4.11: read by an FFprobe that is not ours, which names lyrics by their language."""
    said = replace(whole_files.about(cover=cover), tags=WORDS)
    data = whole_files.made(whole_files.output("mp3-128"), signals.music(0.2), said)
    _, tags = whole_files.seen(data, tmp_path)
    assert {name: tags.get(name) for name in ("title", "comment", "lyrics-xxx")} == {
        "title": "T", "comment": WORDS["comment"], "lyrics-xxx": WORDS["lyrics"]
    }  # fmt: skip
    tag = data[: tag_end(data)]
    assert (tag.count(b"COMM"), tag.count(b"USLT")) == (1, 1)
    assert data[len(tag)] == 0xFF, "the frame with LAME's tag comes right behind"


def test_a_comment_frame_is_of_no_language_and_no_description() -> None:
    """ID3v2.3.0 4.11: encoding, language, description, text."""
    frame = language_frames(replace(whole_files.about(), tags={"comment": "ab"}))
    assert frame == b"COMM\0\0\0\x0e\0\0" + b"\1XXX\xff\xfe\0\0" + b"\xff\xfea\0b\0"


def test_without_such_texts_there_is_no_frame() -> None:
    assert language_frames(replace(whole_files.about(), tags={"title": "T", "comment": ""})) == b""


@pytest.mark.parametrize("head", [b"", b"ID3\3\0\0\0\0\0", b"\xff\xfb\x90\x64" + bytes(10)])
def test_what_begins_with_no_tag_has_no_end_of_one(head: bytes) -> None:
    assert tag_end(b"ID3\3\0\0\0\0\1\2") == 140
    with pytest.raises(ValueError, match="expected an ID3v2 tag"):
        tag_end(head)
