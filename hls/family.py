"""Families of renditions: what a player may switch between while it plays.

Owns: which codec belongs to which, and the name of each family's multivariant playlist. Players stop at a
switch to another codec, and codecs are cut at other samples (their priming differs), so each family has a
playlist of its own. The first family is what is offered where nobody asks for another.
"""

from __future__ import annotations

from enum import StrEnum

from pipeline.ladder import Codec


class Family(StrEnum):
    """The codec's common name, in lower case, as MSE and WebCodecs spell it."""

    AAC = "aac"
    OPUS = "opus"
    FLAC = "flac"

    @property
    def master(self) -> str:
        """The file name of its multivariant playlist."""
        return {
            Family.AAC: "master.m3u8",
            Family.OPUS: "master-opus.m3u8",
            Family.FLAC: "master-lossless.m3u8",
        }[self]

    @property
    def codec(self) -> Codec:
        """What all its renditions are coded with."""
        return {Family.AAC: Codec.AAC, Family.OPUS: Codec.OPUS, Family.FLAC: Codec.FLAC}[self]
