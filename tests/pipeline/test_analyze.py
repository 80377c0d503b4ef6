"""One pass measures everything, however the Blocks are cut."""

from __future__ import annotations

import pytest
import signals

from pipeline.analyze import Analyzer
from pipeline.media import Block


def analysed(size: int, channels: int = 2):  # type: ignore[no-untyped-def]
    pcm = signals.music(4.0, 48_000, channels)
    analyzer = Analyzer(channels)
    for start in range(0, pcm.shape[1], size):
        analyzer.push(Block(pts=start, pcm=pcm[:, start : start + size]))
    return analyzer.result()


@pytest.mark.parametrize("channels", [1, 2])
def test_the_cut_of_the_blocks_changes_nothing(channels: int) -> None:
    one, other = analysed(4_096, channels), analysed(9_973, channels)
    assert one.samples == other.samples == 192_000
    assert one.loudness == other.loudness
    assert one.true_peak_dbtp == pytest.approx(other.true_peak_dbtp, abs=1e-4)
    assert one.waveform.to_dat(16) == other.waveform.to_dat(16)
