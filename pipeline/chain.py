"""Stages in a row, as one stage."""

from __future__ import annotations

from pipeline.media import Block
from pipeline.stage import Stage


class Chain:
    """Each stage is fed with what the one before it gives; flushed from the first to the last."""

    def __init__(self, *stages: Stage[Block, Block]) -> None:
        self._stages = stages

    def push(self, item: Block) -> list[Block]:
        return self._through([item], self._stages)

    def flush(self) -> list[Block]:
        blocks: list[Block] = []
        for stage in self._stages:
            blocks = self._through(blocks, (stage,)) + stage.flush()
        return blocks

    @staticmethod
    def _through(blocks: list[Block], stages: tuple[Stage[Block, Block], ...]) -> list[Block]:
        for stage in stages:
            blocks = [made for block in blocks for made in stage.push(block)]
        return blocks
