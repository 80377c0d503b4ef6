"""The writer that makes a file of a format."""

from __future__ import annotations

from typing import Protocol

from pipeline.about import About
from pipeline.container import ContainerWriter
from pipeline.media import Block
from pipeline.outputs import Format, Output
from pipeline.sink import Piece
from pipeline.vorbis import VorbisWriter


class FileWriter(Protocol):
    """A stage: Blocks at the output's rate and channels in, Pieces of the file out."""

    def push(self, item: Block) -> list[Piece]: ...
    def flush(self) -> list[Piece]: ...


def writer_for(output: Output, about: About, samples: int) -> FileWriter:
    """The writer of this file.

    Args:
        samples: how many there will be of each channel, at the output's rate.
    """
    if output.format is Format.OGG:
        return VorbisWriter(output, about)
    return ContainerWriter(output, about, samples)
