"""A trial before the plan is final: the loudest ten seconds, encoded, decoded and measured.

Lossy coding moves peaks; a track planned to just touch the ceiling would pass it. What the excerpt shows
lowers the plan before the first byte is encoded for real.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from pipeline.audit import DECODERS, Audit, is_faithful
from pipeline.encode import Encoder
from pipeline.grid import RATE_HZ
from pipeline.ladder import Ladder
from pipeline.level import Level
from pipeline.media import Block, Pcm
from pipeline.normalize import MARGIN_DB, GainPlan, lowered

EXCERPT_PIECES = 10
PIECE_SAMPLES = RATE_HZ

PEAK_STEPS_PER_DB = 10
"""Peaks within a step count as alike, and power decides: a clipped master has its peak everywhere."""

TRIALS = 3
"""A lowered plan is tried again: at another level a coder decides otherwise, and its peaks with it."""

ROOM_DB = 1.5
"""That far below the ceiling a trial is spared: coding lifted the peaks of 60 files by 0.7 dB at most.

Hard clipping can cost more (3.7 dB were measured), but brings a track near its target only far below the
ceiling; the measuring of what was really coded finds the rest.
"""


@dataclass(frozen=True, slots=True)
class _Piece:
    pcm: Pcm
    peak: float
    power: float


class LoudestExcerpt:
    """A meter: finds the ten seconds with the highest sample peak, of several the one with most power.

    On a grid of a second, in constant memory.
    """

    def __init__(self, channels: int) -> None:
        self._waiting: Pcm = np.zeros((channels, 0), np.float32)
        self._last: deque[_Piece] = deque(maxlen=EXCERPT_PIECES)
        self._best: tuple[_Piece, ...] = ()
        self._best_rank = (-1, -1.0)

    def push(self, block: Block) -> None:
        pcm = np.concatenate([self._waiting, block.pcm], axis=1)
        whole = pcm.shape[1] // PIECE_SAMPLES * PIECE_SAMPLES
        for start in range(0, whole, PIECE_SAMPLES):
            self._take(pcm[:, start : start + PIECE_SAMPLES].copy())
        self._waiting = pcm[:, whole:]

    def result(self) -> Pcm:
        """Shape (channels, samples), at most ten seconds; all of a shorter track."""
        if self._waiting.shape[1]:
            self._take(self._waiting)
            self._waiting = self._waiting[:, :0]
        return np.concatenate([self._waiting, *(piece.pcm for piece in self._best)], axis=1)

    def _take(self, pcm: Pcm) -> None:
        peak = float(np.abs(pcm).max(initial=0.0))
        self._last.append(_Piece(pcm, peak, float(np.vdot(pcm, pcm))))
        highest = max(piece.peak for piece in self._last)
        step = math.ceil(20 * math.log10(highest) * PEAK_STEPS_PER_DB) if highest else -(1 << 30)
        rank = (step, sum(piece.power for piece in self._last))
        if not self._best or rank > self._best_rank:
            self._best, self._best_rank = tuple(self._last), rank


def with_headroom(plan: GainPlan, true_peak_dbtp: float | None, excerpt: Pcm, ladder: Ladder) -> GainPlan:
    """The plan, lowered by what coding adds to the excerpt's true peak beyond the ceiling.

    The lowest rung of each codec that is held to the plan is tried: it adds the most.

    Args:
        true_peak_dbtp: of the whole source.
        excerpt: of the source, without gain.
    """
    if plan.reason == "off" or true_peak_dbtp is None:
        return plan
    if true_peak_dbtp + plan.gain_db < plan.ceiling_dbtp - ROOM_DB:
        return plan
    for _ in range(TRIALS):
        over_db = _coded_peak_dbtp(plan, excerpt, ladder) - plan.ceiling_dbtp
        if over_db <= -MARGIN_DB / 2:
            break
        plan = lowered(plan, over_db + MARGIN_DB)
    return plan


def _coded_peak_dbtp(plan: GainPlan, excerpt: Pcm, ladder: Ladder) -> float:
    level = Level(plan, len(excerpt))
    blocks = [*level.push(Block(pts=0, pcm=excerpt)), *level.flush()]
    highest = -math.inf
    for codec in DECODERS:
        rungs = [rung for rung in ladder if rung.codec is codec and is_faithful(rung)]
        if not rungs:
            continue
        encoder = Encoder(min(rungs, key=lambda rung: rung.bitrate_bps))
        packets = [packet for block in blocks for packet in encoder.push(block)] + encoder.flush()
        audit = Audit(encoder.rendition, encoder.codec_config)
        audit.push(packets)
        peak_dbtp = audit.result().true_peak_dbtp
        highest = max(highest, -math.inf if peak_dbtp is None else peak_dbtp)
    return highest
