"""K-weighted power meter: the second meter beside `loudness`, made another way.

Owns: gated integrated loudness and the highest momentary and short-term loudness of a 48 kHz stream, in
80 bytes a second. libavfilter's `biquad` weights, everything after it is arithmetic here and in `programme`:
power in steps of 10 ms, windows of 400 ms and 3 s that slide by a step, the two gates over a histogram.
Source: ITU-R BS.1770-5 Annex 1; EBU Tech 3341 (momentary, short-term). Steps of 100 ms, as `ebur128` has
them, would miss up to 0.6 LU of a tone as short as the window (Tech 3341 case 13).
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.filter import Graph

from pipeline.grid import RATE_HZ
from pipeline.media import Block
from pipeline.programme import (
    ABSOLUTE_GATE_LUFS,
    BINS,
    OFFSET_LU,
    Powers,
    Programme,
    bins_of,
    gated_lufs,
    lufs_of,
    programme_of,
)

STEP_SAMPLES = RATE_HZ // 100
MOMENTARY_STEPS = 40
SHORT_TERM_STEPS = 300
GATING_HOP_STEPS = 10
"""Gating blocks are 400 ms long and overlap by 75 %."""

SHELF = (
    "b0=1.53512485958697:b1=-2.69169618940638:b2=1.19839281085285"
    ":a0=1:a1=-1.69065929318241:a2=0.73248077421585"
)
LOW_CUT = "b0=1:b1=-2:b2=1:a0=1:a1=-1.99004745483398:a2=0.99007225036621"
"""BS.1770-5 tables 1 and 2, at 48 kHz."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """In LUFS, finite. None for silence, and for a stream shorter than the window (0.4 s; short-term 3 s)."""

    integrated_lufs: float | None
    momentary_max_lufs: float | None
    short_term_max_lufs: float | None


class PowerMeter:
    """A meter over 48 kHz Blocks of one or two channels, whose samples are finite."""

    def __init__(self, channels: int) -> None:
        self._weighting = _Weighting(channels)
        self._weighted: Powers = np.zeros((channels, 0))
        self._powers: Powers = np.zeros(0)  # of the last steps, as many as the longest window reaches back
        self._steps = 0
        self._momentary = self._short_term = 0.0
        self._count = np.zeros(BINS, np.int64)
        self._power = np.zeros(BINS)
        self._blocks = array("d")

    def push(self, block: Block) -> None:
        if not block.samples:
            return
        weighted = np.concatenate([self._weighted, *self._weighting.push(block)], axis=1)
        steps = weighted.shape[1] // STEP_SAMPLES
        whole, self._weighted = weighted[:, : steps * STEP_SAMPLES], weighted[:, steps * STEP_SAMPLES :]
        if steps:
            by_step = whole.reshape(len(whole), steps, STEP_SAMPLES)
            self._take(np.einsum("cst,cst->s", by_step, by_step) / STEP_SAMPLES)

    @property
    def programme(self) -> Programme:
        """The gating blocks so far."""
        return programme_of(self._count)

    @property
    def blocks(self) -> Powers:
        """The power of each gating block so far, heard or not; ten a second."""
        return np.array(self._blocks)

    def result(self) -> Levels:
        return Levels(
            integrated_lufs=gated_lufs(self._count, self._power),
            momentary_max_lufs=_heard(self._momentary),
            short_term_max_lufs=_heard(self._short_term),
        )

    def _take(self, powers: Powers) -> None:
        """The mean square of each new step, all channels together."""
        known = np.concatenate([self._powers, powers])
        momentary = _windows(known, MOMENTARY_STEPS, len(powers))
        self._momentary = max(self._momentary, float(momentary.max(initial=0.0)))
        short_term = _windows(known, SHORT_TERM_STEPS, len(powers))
        self._short_term = max(self._short_term, float(short_term.max(initial=0.0)))
        # the windows that end with this push, by the number of the step they end before
        ends = self._steps + len(powers) - len(momentary) + 1 + np.arange(len(momentary))
        self._gate(momentary[ends % GATING_HOP_STEPS == 0])
        self._steps += len(powers)
        self._powers = known[-(SHORT_TERM_STEPS - 1) :]

    def _gate(self, blocks: Powers) -> None:
        """Absolute gate: only what is above it gets into the histogram."""
        self._blocks.frombytes(blocks.tobytes())
        lufs = OFFSET_LU + 10 * np.log10(np.maximum(blocks, 1e-30))
        above = lufs > ABSOLUTE_GATE_LUFS
        at = bins_of(lufs[above])
        self._count += np.bincount(at, minlength=BINS)
        self._power += np.bincount(at, weights=blocks[above], minlength=BINS)


def _windows(powers: Powers, steps: int, new: int) -> Powers:
    """The mean power of each window of that many steps that ends in one of the `new` last steps."""
    within = powers[-(new + steps - 1) :]
    if len(within) < steps:
        return np.zeros(0)
    summed = np.concatenate([[0.0], np.cumsum(within)])
    return np.asarray((summed[steps:] - summed[:-steps]) / steps)


def _heard(power: float) -> float | None:
    """A highest level in LUFS; under the absolute gate it is silence, as for the integrated one."""
    level = lufs_of(power) if power > 0 else ABSOLUTE_GATE_LUFS
    return level if level > ABSOLUTE_GATE_LUFS else None


class _Weighting:
    """The two filters of the Annex in double precision: Blocks in, PCM of shape (channels, samples) out."""

    def __init__(self, channels: int) -> None:
        if channels not in (1, 2):
            raise ValueError(f"power of {channels} channels, measured are 1 or 2")
        self._layout = "mono" if channels == 1 else "stereo"
        self._graph = Graph()
        self._graph.threads = 1  # a thread for each of two channels costs more than it brings
        self._source = self._graph.add_abuffer(
            sample_rate=RATE_HZ, format="fltp", layout=self._layout, time_base=Fraction(1, RATE_HZ)
        )
        shelf = self._graph.add("biquad", f"{SHELF}:precision=f64")
        low_cut = self._graph.add("biquad", f"{LOW_CUT}:precision=f64")
        self._sink = self._graph.add("abuffersink")
        self._source.link_to(shelf)
        shelf.link_to(low_cut)
        low_cut.link_to(self._sink)
        self._graph.configure()

    def push(self, block: Block) -> list[Powers]:
        pcm = np.ascontiguousarray(block.pcm)
        frame = av.AudioFrame.from_ndarray(pcm, format="fltp", layout=self._layout)
        frame.sample_rate = RATE_HZ
        frame.pts = block.pts
        frame.time_base = Fraction(1, RATE_HZ)
        self._source.push(frame)
        out: list[Powers] = []
        while True:
            try:
                weighted = self._sink.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return out
            assert isinstance(weighted, av.AudioFrame)
            out.append(cast("Powers", weighted.to_ndarray()))
