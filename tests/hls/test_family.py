"""Which codecs share a multivariant playlist, and what it is called."""

from __future__ import annotations

from hls.family import Family
from pipeline.ladder import Codec


def test_every_codec_has_a_family_of_its_own() -> None:
    """hls.md 1.3: players stop at a switch to another codec, so none is offered."""
    assert [family.codec for family in Family] == list(Codec)


def test_masters_are_called_as_the_contract_has_it() -> None:
    assert {str(family): family.master for family in Family} == {
        "aac": "master.m3u8",
        "opus": "master-opus.m3u8",
        "flac": "master-lossless.m3u8",
    }
